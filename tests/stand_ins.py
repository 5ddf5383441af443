"""What the benchmark tests run instead of the real thing: a runner in C, a bundle it accepts;

and the steps that they share.
"""

from __future__ import annotations

import functools
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import onnx_bundle
import pytest

from arcmobile.bench.runner_stats import NativeStats
from arcmobile.bench.targets.base import RunRequest, Target
from arcmobile.bench.targets.runner_dist import RUNNER_NAME
from arcmobile.runtime.bundle import MANIFEST_NAME, Bundle
from arcmobile.runtime.errors import ArcMobileError

# What a shell would take apart if it were not quoted.
ODD_PROMPT: Final = """it's "rain"\n$(exit 3) `id` \\n %s ; naïve 雨 --seed 9"""
REQUEST: Final = RunRequest(ODD_PROMPT, seconds=1.0, steps=3, seed=7, threads=2)

SYSROOT: Final = Path("/usr/aarch64-linux-gnu")
_SOURCE: Final = Path(__file__).with_name("stand_in_runner.c")
_ANDROID_LOADER: Final = "/system/bin/linker64"
_COMPILERS: Final = {
    "host": ["cc"],
    "linux-arm64": ["aarch64-linux-gnu-gcc"],
    # For qemu with `phone_sysroot`, where a loader lies under this name.
    "android-arm64": ["aarch64-linux-gnu-gcc", f"-Wl,--dynamic-linker={_ANDROID_LOADER}"],
}
Preset = Literal["host", "linux-arm64", "android-arm64"]


@functools.cache
def _compiled(preset: Preset) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program"
        subprocess.run([*_COMPILERS[preset], "-o", program, _SOURCE], check=True)
        return program.read_bytes()


def make_dist(folder: Path, preset: Preset) -> Path:
    """A folder as the native build leaves it: the runner, and a library beside it."""
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "libstand_in.so").write_bytes(b"library")
    program = folder / RUNNER_NAME
    program.write_bytes(_compiled(preset))
    program.chmod(0o755)
    return folder


class Dists:
    """A folder of the runner for each preset, made when first asked for."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._make = functools.cache(lambda preset: make_dist(factory.mktemp("d") / "d", preset))

    def __call__(self, preset: Preset) -> Path:
        return self._make(preset)


def make_executorch_bundle(folder: Path) -> Path:
    """A bundle that says it is for ExecuTorch; its programs are for nobody."""
    onnx_bundle.make_bundle(folder)
    path = folder / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    manifest["backend"] = "executorch"
    path.write_text(json.dumps(manifest))
    return folder


def phone_sysroot(folder: Path) -> Path:
    """Libraries under which qemu runs the ``android-arm64`` stand-in."""
    loader = folder / _ANDROID_LOADER.lstrip("/")
    loader.parent.mkdir(parents=True)
    loader.symlink_to(SYSROOT / "lib/ld-linux-aarch64.so.1")
    (folder / "lib").symlink_to(SYSROOT / "lib")
    return folder


def processes_with(text: str) -> list[str]:
    """Command lines of the processes of this machine that hold ``text``; zombies have none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


def refused(target: Target, bundle: Bundle, *words: str, request: RunRequest = REQUEST) -> str:
    """Opening, preparing or running fails with one line that holds the words."""
    with pytest.raises(ArcMobileError) as caught, target:  # noqa: PT012 (any of them may fail)
        target.prepare(bundle)
        target.run(request)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text
    return text


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it becomes true soon, as soon as a machine that is busy otherwise gets to it."""
    deadline = time.monotonic() + 40
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def run_once(target: Target, bundle: Bundle, request: RunRequest = REQUEST) -> NativeStats:
    with target:
        target.prepare(bundle)
        stats = target.run(request).stats
    assert isinstance(stats, NativeStats)
    return stats
