"""The readers that are given broken inputs; a module in this folder adds its own.

A reader is a function that is called once in a fresh process, with an empty folder, and returns an
attempt. The attempt is called once per case with a generator seeded for that case: it makes a
broken input and reads it. Returning means the input was accepted, an ``ArcMobileError`` of one line
that it was refused; anything else is a fault. Imports of heavy packages belong into the function:
every test run imports this folder.

    @reader("manifest")
    def manifest(folder: Path) -> Attempt: ...
"""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Attempt = Callable[[random.Random], object]
Prepare = Callable[[Path], Attempt]


@dataclass(frozen=True)
class Reader:
    """A reader and how many cases of it the test suite tries."""

    name: str
    prepare: Prepare
    cases: int


_READERS: dict[str, Reader] = {}


def reader(name: str, *, cases: int = 300) -> Callable[[Prepare], Prepare]:
    """Register the function under ``name``; the suite tries ``cases`` of it, `make faults` more.

    With 0 cases it is a reader with known faults, which `make faults` alone shows.
    """

    def register(prepare: Prepare) -> Prepare:
        if name in _READERS:
            raise ValueError(f"two readers are called {name}")
        _READERS[name] = Reader(name, prepare, cases)
        return prepare

    return register


def all_readers() -> dict[str, Reader]:
    """Every reader by name, of all modules of this folder."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_READERS.items()))
