"""Generates many sounds with a bundle and says what has grown: memory, open files, threads.

``python tests/long_use.py BUNDLE [SOUNDS]``; ``make long-use BUNDLE=...`` makes 200.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from arcmobile.runtime.engine import EngineOptions
from arcmobile.runtime.generate import GenerationRequest, Pipeline


@dataclass(frozen=True)
class Growth:
    """What the last sounds have added: bytes resident, open descriptors, threads of the process."""

    bytes: int
    descriptors: int
    threads: int


def growth(bundle: Path, *, warm_up: int, sounds: int) -> Growth:
    """Makes ``warm_up`` sounds, then ``sounds`` more, every fifth of them on a new pipeline."""
    _generate(bundle, warm_up)
    before = _now()
    _generate(bundle, sounds)
    after = _now()
    return Growth(*(last - first for first, last in zip(before, after, strict=True)))


def flip_bit(path: Path, place: int) -> None:
    """Flips one bit of a file where it is."""
    with path.open("r+b") as file:
        file.seek(place // 8)
        byte = file.read(1)[0]
        file.seek(place // 8)
        file.write(bytes([byte ^ 1 << place % 8]))


def _generate(bundle: Path, sounds: int) -> None:
    for first in range(0, sounds, 5):
        with Pipeline.open(bundle, EngineOptions(threads=2)) as pipeline:
            for index in range(first, min(first + 5, sounds)):
                pipeline.generate(GenerationRequest(f"rain {index}", steps=1, seed=index))


def _now() -> tuple[int, int, int]:
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    tasks = len(list(Path("/proc/self/task").iterdir()))
    assert threading.active_count() <= tasks
    return resident, len(list(Path("/proc/self/fd").iterdir())), tasks


def main() -> None:
    bundle = Path(sys.argv[1])
    sounds = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    grown = growth(bundle, warm_up=20, sounds=sounds)
    print(
        f"{bundle}: {sounds} sounds added {grown.bytes / 1e6:.1f} MB, "
        f"{grown.descriptors} open files, {grown.threads} threads"
    )
    sys.exit(grown.descriptors > 0 or grown.threads > 0 or grown.bytes > 20e6)


if __name__ == "__main__":
    main()
