"""Lowered programs by content hash, so that an interrupted or repeated export does no work twice.

The key covers everything a program depends on: the checkpoint, the component, its entry points, the
layer plan, the toolchain's versions and the source of the networks, the quantization and the
backends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import IO, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arcmobile.export.backends.base import Delegation, LoweringEntry, LoweringSummary
from arcmobile.runtime.errors import OutputError
from arcmobile.runtime.output_claims import Busy
from arcmobile.runtime.whole_output import whole_file

_LONGEST_NOTE: Final = 1 << 20
_BLOCK: Final = 1 << 20
_SOURCES = (Path(__file__).parent, Path(__file__).parents[1] / "quant")


@cache
def source_digest() -> str:
    """Return the sha256 over the Python files that decide what a program contains."""
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
    entries: Sequence[LoweringEntry],
    tools: Mapping[str, str],
) -> str:
    """Return the content hash of a lowered program."""
    shapes = {
        entry.name: {name: list(tensor.shape) for name, tensor in entry.inputs.items()}
        for entry in entries
    }
    facts = [checkpoint, component, backend, dict(plan), shapes, dict(tools), source_digest()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class _Delegation(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    delegates: int
    outside: dict[str, int]


class _Note(BaseModel):
    """The first line of an entry; the program follows it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    seconds: float
    peak_memory: int
    delegation: dict[str, _Delegation]


class ProgramCache:
    """A folder of programs, each a file of its own that begins with a line about it.

    Entries appear whole, are copied in and out, and are believed only when their digest is right:
    neither another export nor an editor can change the program of a bundle through the cache.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"--cache {folder}: cannot be made ({error.strerror}); give another folder"
            ) from error

    def take(self, key: str, destination: Path) -> LoweringSummary | None:
        """Put the cached program at ``destination`` and return its summary.

        Returns:
            None if there is no entry, or one that is damaged; nothing is at ``destination`` then.

        Raises:
            OSError: ``destination`` cannot be written.
        """
        try:
            with (self._folder / key).open("rb") as entry:
                note = _Note.model_validate_json(entry.readline(_LONGEST_NOTE))
                sound = _copy(entry, destination) == (note.sha256, note.bytes)
        except ValidationError:
            return None
        except OSError as error:
            if error.filename == str(destination):
                raise
            return None
        if not sound:
            destination.unlink(missing_ok=True)
            return None
        return LoweringSummary(
            bytes=note.bytes,
            seconds=note.seconds,
            peak_memory=note.peak_memory,
            delegation={n: Delegation(**d.model_dump()) for n, d in note.delegation.items()},
        )

    def keep(self, key: str, program: Path, summary: LoweringSummary) -> None:
        """Store a program; nothing happens where another export is storing the same just now.

        Raises:
            OutputError: the cache folder cannot be written.
        """
        with program.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        note = _Note.model_validate({"sha256": digest, **asdict(summary)})
        try:
            with (
                whole_file(self._folder / key, overwrite=True, option="--cache") as unfinished,
                unfinished.open("wb") as entry,
                program.open("rb") as file,
            ):
                entry.write(note.model_dump_json().encode() + b"\n")
                while block := file.read(_BLOCK):
                    entry.write(block)
        except OutputError as error:
            if not isinstance(error.__context__, Busy):
                raise


def _copy(source: IO[bytes], destination: Path) -> tuple[str, int]:
    """Copy the rest of a file; returns its sha256 (hex) and its bytes."""
    digest, size = hashlib.sha256(), 0
    with destination.open("wb") as file:
        while block := source.read(_BLOCK):
            file.write(block)
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size
