"""Where the native runner is built, and how tests call it: here, or on an emulated Arm CPU."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

NATIVE = Path(__file__).parent.parent / "build" / "native"
# Which build for this machine: host, or host-sanitized.
HOST = NATIVE / os.environ.get("ARCMOBILE_NATIVE", "host")
EMULATOR = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-cpu")

# SMOPA of QEMU before 9.0 is wrong (QEMU issue 2083), so sounds are compared without SME.
I8MM_CPU = "max,sme=off"


def require(path: Path, way: str = "run make native native-arm64") -> Path:
    if not path.exists():
        pytest.fail(f"{path} is not there: {way}", pytrace=False)
    return path


def call(
    program: str, arguments: Sequence[object], *, cpu: str | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run ``arcmobile-run`` or ``arcmobile-probe``, on ``cpu`` under emulation if given."""
    build = HOST if cpu is None else NATIVE / "linux-arm64"
    folder = build / "dist" if program == "arcmobile-run" else build
    command = [str(require(folder / program)), *map(str, arguments)]
    environment = dict(os.environ)
    if cpu is not None:
        command = [*EMULATOR, cpu, *command]
        # The probe is not installed; it finds its libraries where the runner keeps them.
        environment["QEMU_SET_ENV"] = f"LD_LIBRARY_PATH={build / 'dist' / 'lib'}"
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=300, env=environment
    )


def output(program: str, *arguments: object, cpu: str | None = None, stdin: str = "") -> str:
    """Standard output of a call that has to succeed."""
    done = call(program, arguments, cpu=cpu, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout
