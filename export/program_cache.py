"""Lowered programs by content hash, so that an interrupted or repeated export does no work twice.

The key covers everything a program depends on: the checkpoint, the component, its entry points, the
layer plan, the toolchain's versions and the source of the networks, the quantization and the
backends.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from arcmobile.export.backends.base import Delegation, LoweringEntry, LoweringSummary
from arcmobile.runtime.errors import OutputError

_SOURCES = (Path(__file__).parent, Path(__file__).parents[1] / "quant")


@cache
def source_digest() -> str:
    """sha256 over the Python files that decide what a program contains."""
    total = hashlib.sha256()
    for root in _SOURCES:
        for path in sorted(root.rglob("*.py")):
            total.update(path.name.encode())
            total.update(path.read_bytes())
    return total.hexdigest()


def program_key(
    *,
    checkpoint: str,
    component: str,
    backend: str,
    plan: Mapping[str, str],
    entries: list[LoweringEntry],
    tools: Mapping[str, str],
) -> str:
    """The content hash of a lowered program."""
    shapes = {
        entry.name: {name: list(tensor.shape) for name, tensor in entry.inputs.items()}
        for entry in entries
    }
    facts = [checkpoint, component, backend, dict(plan), shapes, dict(tools), source_digest()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class ProgramCache:
    """A folder of programs, each with a JSON summary written after it."""

    def __init__(self, folder: Path):
        self._folder = folder

    def take(self, key: str, destination: Path) -> LoweringSummary | None:
        """Put the cached program at ``destination`` and return its summary, or None."""
        program, note = self._folder / key, self._folder / f"{key}.json"
        try:
            stored: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
            delegation = {n: Delegation(**d) for n, d in stored.pop("delegation").items()}
            summary = LoweringSummary(**stored, delegation=delegation)
            if program.stat().st_size != summary.bytes:
                return None
        except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
            return None
        _link_or_copy(program, destination)
        return summary

    def keep(self, key: str, program: Path, summary: LoweringSummary) -> None:
        """Store a program; the note comes last, so half an entry is never taken.

        Raises:
            OutputError: the cache folder cannot be written.
        """
        note = self._folder / f"{key}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = self._folder / f".{key}.partial"
            partial.unlink(missing_ok=True)
            _link_or_copy(program, partial)
            partial.replace(self._folder / key)
            partial.write_text(json.dumps(asdict(summary)), encoding="utf-8")
            partial.replace(note)
        except OSError as error:
            raise OutputError(
                f"--cache {self._folder}: cannot be written ({error.strerror}); give another folder"
            ) from error


def _link_or_copy(source: Path, destination: Path) -> None:
    # Programs are never changed in place, so one copy on disk can serve cache and bundle.
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)
