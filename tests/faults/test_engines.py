"""Engines under load: several threads on one pipeline, many generations, a fork in between."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.errors import ArcMobileError, BundleError
from faults.inputs import BundleCopy, bundle_of, run_native
from faults.mutations import flip_bits

BACKENDS = ("onnx", "executorch", "litert")
# Two generations each; `make faults` asks for more than the suite.
TURNS = int(os.environ.get("ARCMOBILE_FAULTS_TURNS", "10"))

THREADS = """
import json, sys, threading
import numpy as np
from arcmobile.runtime.engine import EngineOptions
from arcmobile.runtime.generate import GenerationRequest, Pipeline

def sound(pipeline, index):
    return pipeline.generate(GenerationRequest(prompt=f"rain {index}", steps=2, seed=index)).audio

wrong = []
def work(pipeline, wanted, first):
    for index in (first, (first + 3) % 8) * 3:
        try:
            if not np.array_equal(sound(pipeline, index), wanted[index]):
                wrong.append(f"sound {index} differs")
        except BaseException as error:
            wrong.append(repr(error))

with Pipeline.open(sys.argv[1], EngineOptions(1)) as pipeline:
    wanted = [sound(pipeline, index) for index in range(8)]
    threads = [threading.Thread(target=work, args=(pipeline, wanted, k)) for k in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print("said on standard error", file=sys.stderr)
print(json.dumps(wrong))
"""

GENERATIONS = """
import gc, json, os, sys
from arcmobile.runtime.engine import EngineOptions
from arcmobile.runtime.generate import GenerationRequest, Pipeline

def figures():
    gc.collect()
    memory = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return memory, len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

measured = []
for turn in range(int(sys.argv[2])):
    with Pipeline.open(sys.argv[1], EngineOptions(1), low_memory=turn % 2 == 1) as pipeline:
        for seed in range(2):
            pipeline.generate(GenerationRequest(prompt="rain", steps=1, seed=seed))
    measured.append(figures())
print(json.dumps(measured))
"""

FORK = """
import json, os, signal, sys
from arcmobile.runtime.engine import EngineOptions
from arcmobile.runtime.errors import ArcMobileError
from arcmobile.runtime.generate import GenerationRequest, Pipeline

def sound():
    with Pipeline.open(sys.argv[1], EngineOptions(2)) as pipeline:
        pipeline.generate(GenerationRequest(prompt="rain", steps=1, seed=1))

sound()
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        sound()
    except ArcMobileError as error:
        os._exit(2 if len(str(error).splitlines()) == 1 else 1)
    os._exit(0)
print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
"""


def printed(code: str, *arguments: object) -> Any:
    """What a piece of Python printed as JSON in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    assert "Traceback" not in done.stderr
    assert ("said on standard error" in done.stderr) == (code is THREADS)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(params=BACKENDS)
def bundle(request: pytest.FixtureRequest, shared_inputs: Path) -> Path:
    return bundle_of(request.param)


def test_four_threads_on_one_pipeline(bundle: Path) -> None:
    assert printed(THREADS, bundle) == []


def test_many_generations_are_flat(bundle: Path) -> None:
    measured = printed(GENERATIONS, bundle, TURNS)
    settled, last = measured[3], measured[-1]
    # Allocators settle within 8 MB, however many turns there are.
    assert last[0] - settled[0] < 8 << 20, measured
    assert last[1:] == settled[1:]


def test_a_fork_makes_sound_or_says_that_it_cannot(bundle: Path) -> None:
    assert printed(FORK, bundle) in (0, 2)


def test_a_program_with_a_flipped_bit_is_refused_by_its_digest(
    bundle: Path, tmp_path: Path
) -> None:
    copy = BundleCopy(bundle, tmp_path / "bundle")
    rng = random.Random(1)
    for _ in range(60):
        name = rng.choice(copy.programs)
        good = copy.read(name)
        copy.put(name, flip_bits(rng, good, within=len(good)), recorded=False)
        with pytest.raises(BundleError, match=f"{name}: sha256"):
            Bundle.open(copy.folder)
        if copy.manifest["backend"] == "executorch":
            with pytest.raises(ArcMobileError, match=f"{name}: sha256"):
                run_native(copy.folder)
        copy.put(name, good, recorded=False)
    Bundle.open(copy.folder)
