"""Does the Android build of ExecuTorch sound as Python's? ``gate.py BUNDLE LIBRARIES CLASS_PATH``.

``LIBRARIES`` is what ``android_on_glibc.py`` made, ``CLASS_PATH`` holds the Kotlin engine and its
test classes. Kotlin makes the sounds of ``_REQUESTS`` with the Android libraries, weight cache and
all; each has to be within 60 dB of what Python makes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arcmobile.runtime.engine import EngineOptions
from arcmobile.runtime.errors import ArcMobileError
from arcmobile.runtime.generate import GenerationRequest, Pipeline

LEAST_SNR_DB: Final = 60.0
# Prompt, steps, seed.
_REQUESTS: Final = (("fast footsteps, on the left", 8, 1), ("thunder", 3, 42))
_MAIN: Final = "org.arcmobile.executorch.GateKt"
_HEADER_BYTES: Final = 44
_LONGEST_RUN: Final = 600  # seconds


def snr_db(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """How far ``found`` is from ``wanted``, arrays of one shape; infinite if it is the same."""
    noise = float(np.square(wanted.astype(np.float64) - found).sum())
    signal = float(np.square(wanted.astype(np.float64)).sum())
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if np.isfinite(noise) else float("-inf")


def passes(bundle: Path, libraries: Path, class_path: str) -> bool:
    """Whether every sound is right; prints a line for each.

    Raises:
        ArcMobileError: If Python cannot use the bundle.
        subprocess.SubprocessError: If Kotlin fails, or the libraries do.
    """
    right = True
    with (
        tempfile.TemporaryDirectory() as scratch,
        Pipeline.open(bundle, EngineOptions(threads=2)) as pipeline,
    ):
        for prompt, steps, seed in _REQUESTS:
            request = GenerationRequest(prompt, steps=steps, seed=seed)
            wanted = pipeline.generate(request).audio.T
            wav = Path(scratch) / "sound.wav"
            _run_android(libraries, class_path, [bundle, wav, prompt, steps, seed])
            samples = np.frombuffer(wav.read_bytes()[_HEADER_BYTES:], "<f4")
            found = samples.reshape(wanted.shape)
            snr = snr_db(wanted, found)
            right &= snr >= LEAST_SNR_DB
            print(
                f"{bundle.name}: {prompt!r}, {steps} steps: {snr:.1f} dB"
                f" (peak {np.abs(found).max():.3f}, Python's {np.abs(wanted).max():.3f})"
            )
    return right


def _run_android(libraries: Path, class_path: str, arguments: list[object]) -> None:
    command = ["java", f"-Djava.library.path={libraries}", "-cp", class_path, _MAIN]
    environment = os.environ | {"LD_LIBRARY_PATH": str(libraries)}
    subprocess.run(
        [*command, *map(str, arguments)], env=environment, check=True, timeout=_LONGEST_RUN
    )


def main(arguments: list[str]) -> int:
    """Exit code 1 for a sound that is wrong, 2 and one line for what could not be run."""
    if len(arguments) != 3:
        print("usage: gate.py BUNDLE LIBRARIES CLASS_PATH", file=sys.stderr)
        return 2
    bundle, libraries, class_path = arguments
    try:
        right = passes(Path(bundle), Path(libraries).absolute(), class_path)
    except (ArcMobileError, OSError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not right:
        print(f"error: {bundle}: under {LEAST_SNR_DB:.0f} dB on the Android build", file=sys.stderr)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
