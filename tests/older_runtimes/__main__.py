"""Whole sounds of bundles on older releases of ExecuTorch, weight cache off and on: one table.

    make older-runtimes                     the embedded checkpoint, every recipe
    make older-runtimes FULL=1              random weights of the full size too: hours and 6 GB

Each sound is compared with that of the installed release without the cache; below 60 dB is wrong,
and the exit code is 1. Bundles are removed once they have been heard.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np

from arcmobile.export.fidelity import Array, snr_db
from arcmobile.quant.recipes import RECIPES
from older_runtimes import environment

TESTS: Final = Path(__file__).parents[1]
RELEASES: Final = (None, "1.4.1", "1.3.1")  # None: the installed one
WAYS: Final = ("plain", "weight-cache")
MINIMUM_SNR_DB: Final = 60.0
_LONGEST_RUN: Final = 1800  # seconds


def hear(bundle: Path, release: str | None, way: str, control: Path) -> dict[str, Array] | str:
    """The sound and the control's output in a process of its own, or the line that refuses it.

    Raises:
        RuntimeError: the process ended otherwise.
    """
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "sound.npz"
        done = subprocess.run(
            [sys.executable, "-m", "older_runtimes.sound", bundle, way, out, control],
            cwd=TESTS,
            env=environment(release),
            capture_output=True,
            text=True,
            timeout=_LONGEST_RUN,
        )
        if done.returncode == 2:
            return done.stderr.splitlines()[-1]
        if done.returncode != 0:
            raise RuntimeError(f"{release} {way}: exit code {done.returncode}\n{done.stderr}")
        with np.load(out) as arrays:
            return dict(arrays)


def compare(name: str, bundle: Path, control: Path) -> bool:
    """Print a line for each release and way; whether every sound was right or refused.

    Raises:
        RuntimeError: the reference is refused or silent, or a control says that the weight cache
            was not as asked.
    """
    reference = hear(bundle, None, "plain", control)
    if isinstance(reference, str) or not np.abs(reference["audio"]).max() > 0:
        raise RuntimeError(f"{name}: the installed ExecuTorch gives no sound ({reference})")
    right = True
    for release in RELEASES:
        for way in WAYS:
            if (release, way) == (None, "plain"):
                continue
            found = hear(bundle, release, way, control)
            if isinstance(found, str):
                verdict = f"refused: {found}"
            else:
                if np.array_equal(found["control"], reference["control"]) != (way == "plain"):
                    raise RuntimeError(f"{release} {way}: the weight cache is not as asked")
                ratio = snr_db(reference["audio"], found["audio"])
                right &= ratio is None or ratio >= MINIMUM_SNR_DB
                verdict = "same bits" if ratio is None else f"{ratio:.1f} dB"
            shown = release or metadata.version("executorch")
            print(f"{name:30} {shown:8} {way:14} {verdict}", flush=True)
    return right


def export(checkpoint: Path, recipe: str, bundle: Path) -> None:
    command = ["export", checkpoint, "--recipe", recipe, "--out", bundle]
    subprocess.run([sys.executable, "-m", "arcmobile.cli", *command], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m older_runtimes", description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--scratch", type=Path, required=True, help="Folder for bundles.")
    given = parser.parse_args()
    given.scratch.mkdir(parents=True, exist_ok=True)
    right = True
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        control = Path(scratch).absolute() / "control.pte"
        subprocess.run(
            [sys.executable, "-m", "older_runtimes.control", control], cwd=TESTS, check=True
        )
        for checkpoint in given.checkpoints:
            for recipe in given.recipes:
                with tempfile.TemporaryDirectory(dir=scratch) as folder:
                    bundle = Path(folder).absolute() / "bundle"
                    export(checkpoint, recipe, bundle)
                    right &= compare(f"{checkpoint.name} {recipe}", bundle, control)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
