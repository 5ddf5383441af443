"""Commands whose standard streams or signals are not as usual, on a bundle of hand-made graphs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import onnx_bundle
import pytest

ARCMOBILE = f"'{sys.executable}' -m arcmobile.cli"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_bundle.make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def shell(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "| head -c 1 >/dev/null", "2>/dev/full"])
def test_sounds_are_made_whatever_the_streams(folder: Path, tmp_path: Path, closed: str) -> None:
    made = shell(
        f"{ARCMOBILE} generate rain --bundle {folder} --batch 3 --seed 1 {closed}", tmp_path
    )
    assert made.returncode == 0, made.stderr
    assert len(list(tmp_path.glob("*.wav"))) == 3
    assert "Traceback" not in made.stderr


def test_output_that_cannot_be_written_is_one_line(folder: Path, tmp_path: Path) -> None:
    said = shell(f"{ARCMOBILE} inspect {folder} >/dev/full", tmp_path)
    assert said.returncode == 2
    assert said.stderr.count("\n") == 1
    assert "standard output: No space left" in said.stderr


def test_terminals_that_know_only_ascii(folder: Path, tmp_path: Path) -> None:
    command = f"{ARCMOBILE} inspect {folder} && {ARCMOBILE} generate '音楽 é' --bundle {folder}"
    said = shell(command, tmp_path, LC_ALL="C", PYTHONIOENCODING="ascii")
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("signals", [["SIGTERM"], ["SIGINT", "SIGINT"], ["SIGHUP", "SIGTERM"]])
def test_signals_end_a_command_cleanly_however_many(
    folder: Path, tmp_path: Path, signals: Sequence[str]
) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "arcmobile.cli", "generate", "rain", "--bundle", folder),
            *("--batch", "9999", "--format", "wav-float", "--out", "out/"),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()  # the first sound is there
    for name in signals:
        process.send_signal(signal.Signals[name])
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "stopped\n")
    assert not list((tmp_path / "out").glob(".*"))
