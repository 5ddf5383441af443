"""Resolve the pinned environment for every platform and Python that the README names.

uv resolves for machines it does not run on, so this says what pip would install there, from wheels
alone; only metadata is downloaded, and nothing is run. Extras are resolved together: what installs
with all of them installs with each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
ENGINES: Final = ("onnx", "litert", "executorch")
EVERYTHING: Final = (*ENGINES, "export", "bench", "posttrain", "dev")

# uv's name of a platform -> the extras that install there.
PLATFORMS: Final = {
    "x86_64-unknown-linux-gnu": EVERYTHING,
    "aarch64-unknown-linux-gnu": EVERYTHING,
    "aarch64-apple-darwin": EVERYTHING,
    "x86_64-pc-windows-msvc": ENGINES,
}
OLDEST_MACOS: Final = "14.0"  # that ONNX Runtime and ExecuTorch have wheels for

# Pure Python that is published as source only.
_FROM_SOURCE: Final = ("antlr4-python3-runtime",)


def resolve(uv: str, platform: str, python: str) -> str | None:
    """Resolve the extras of a platform for one Python.

    Returns:
        Why they cannot be installed, or None if they can.
    """
    command = [uv, "pip", "compile", "--quiet", "--only-binary", ":all:"]
    for package in _FROM_SOURCE:
        command += ["--no-binary", package]
    for extra in PLATFORMS[platform]:
        command += ["--extra", extra]
    command += ["--python-platform", platform, "--python-version", python]
    command += ["--constraints", "constraints.txt", "--output-file", os.devnull, "pyproject.toml"]
    environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": OLDEST_MACOS}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return None if ended.returncode == 0 else ended.stderr.strip()


def main() -> int:
    """Resolve everything; print a table, and what failed."""
    uv = sys.argv[1] if len(sys.argv) > 1 else "uv"
    wanted = list(product(PLATFORMS, PYTHONS))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(wanted, pool.map(lambda pair: resolve(uv, *pair), wanted), strict=True))
    print(f"{'platform':28}", *(f"{python:>6}" for python in PYTHONS), "  extras")
    for platform, extras in PLATFORMS.items():
        cells = (f"{'fails' if found[platform, python] else 'ok':>6}" for python in PYTHONS)
        print(f"{platform:28}", *cells, f"  {', '.join(extras)}")
    for (platform, python), why in found.items():
        if why is not None:
            print(f"\n{platform}, Python {python}:\n{why}")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
