"""Several threads, pipelines and processes on one engine, long use, and programs with flipped bits.

Every engine gets a bundle of the micro checkpoint. For longer: ``make long-use BUNDLE=...``.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import long_use
import numpy as np
import pytest

from arcmobile.runtime.backends import BACKENDS, DEFAULT_BACKEND
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.engine import EngineOptions
from arcmobile.runtime.engines.native_log import native_log
from arcmobile.runtime.errors import ArcMobileError, EngineError
from arcmobile.runtime.generate import GenerationRequest, Pipeline


@pytest.fixture(scope="module", params=BACKENDS)
def bundle(
    request: pytest.FixtureRequest,
    micro_checkpoint: Path,
    micro_bundles: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    from arcmobile.export.pipeline import ExportRequest, export_bundle

    if request.param == DEFAULT_BACKEND:
        return micro_bundles["fp32"]
    folder = tmp_path_factory.mktemp("engine") / request.param
    export_bundle(
        ExportRequest(
            checkpoint=micro_checkpoint,
            text_encoder=micro_checkpoint / "text_encoder",
            backend=request.param,
            recipe="fp32",
            destination=folder,
        )
    )
    return folder


def sound(pipeline: Pipeline, index: int) -> np.ndarray:
    return pipeline.generate(GenerationRequest(f"rain {index}", steps=2, seed=index)).audio


def test_threads_take_turns_and_stderr_stays(bundle: Path) -> None:
    """Four threads on one pipeline, then each on its own; programs load while others run."""
    options = EngineOptions(threads=2)
    with Pipeline.open(bundle, options) as pipeline:
        wanted = [sound(pipeline, index) for index in range(4)]
    before = Path("/proc/self/fd/2").readlink()
    faults: list[object] = []

    def work(pipeline: Pipeline, index: int) -> None:
        try:
            for _ in range(3):
                if not np.array_equal(sound(pipeline, index), wanted[index]):
                    faults.append(f"sound {index} is another")
        except Exception as error:  # noqa: BLE001 (whatever it is, it is a fault)
            faults.append(error)

    for count in (1, 4):
        pipelines = [Pipeline.open(bundle, options, low_memory=True) for _ in range(count)]
        threads = [
            threading.Thread(target=work, args=(pipelines[index % count], index))
            for index in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for pipeline in pipelines:
            pipeline.close()
    assert not faults
    assert Path("/proc/self/fd/2").readlink() == before


def test_memory_files_and_threads_stay_flat(bundle: Path) -> None:
    growth = long_use.growth(bundle, warm_up=5, sounds=15)
    assert growth.descriptors == 0
    assert growth.threads == 0
    assert growth.bytes < 20e6  # of a process that has hundreds of megabytes


def test_flipped_bits_are_refused_when_the_bundle_is_opened(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    dice = random.Random(7)
    programs = [
        copy / component.file for component in Bundle.open(copy).manifest.components.values()
    ]
    for _ in range(60):
        program = dice.choice(programs)
        long_use.flip_bit(program, place := dice.randrange(8 * program.stat().st_size))
        with pytest.raises(ArcMobileError, match=program.name) as raised:
            Bundle.open(copy)
        assert "\n" not in str(raised.value)
        long_use.flip_bit(program, place)
    Bundle.open(copy)


def test_a_forked_process_is_told_so_instead_of_hanging(bundle: Path) -> None:
    with Pipeline.open(bundle, EngineOptions(threads=2)) as pipeline:
        sound(pipeline, 1)
        said = multiprocessing.get_context("fork").SimpleQueue()

        def child() -> None:
            try:
                sound(pipeline, 1)
            except EngineError as error:
                said.put(str(error))

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join(60)
        assert process.exitcode == 0
        assert "forked" in said.get()
        sound(pipeline, 1)


def test_executorch_has_one_number_of_threads(micro_bundles: dict[str, Path]) -> None:
    with (
        Pipeline.open(micro_bundles["fp32"], EngineOptions(threads=2)),
        pytest.raises(EngineError, match=r"--threads 3: another ExecuTorch engine .* with 2"),
    ):
        Pipeline.open(micro_bundles["fp32"], EngineOptions(threads=3))
    with Pipeline.open(micro_bundles["fp32"], EngineOptions(threads=3)) as pipeline:
        sound(pipeline, 1)


def test_a_log_belongs_to_one_block_and_others_lines_arrive(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def write(line: str) -> None:
        subprocess.run([sys.executable, "-c", f"import os; os.write(2, {line!r}.encode())"])

    def block() -> None:
        with native_log() as last_line:
            write("[program.cpp:1] a reason\n")
            assert last_line() == "a reason"
            write("a line of another thread\n")

    threads = [threading.Thread(target=block) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    write("afterwards\n")
    assert capfd.readouterr().err == "a line of another thread\n" * 3 + "afterwards\n"
