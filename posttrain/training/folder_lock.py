"""Lets one process at a time write a folder of training data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from arcmobile.runtime.errors import OutputError
from arcmobile.runtime.output_claims import PARTIAL, Busy, claim_file, remove_dead

_CLAIM: Final = f".writer{PARTIAL}"


@contextmanager
def only_writer(folder: Path, option: str = "--out") -> Iterator[None]:
    """Make a folder and lock it while the block runs.

    Raises:
        OutputError: the folder cannot be written, or another process writes it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        claim = claim_file(folder / _CLAIM)
    except Busy:
        raise OutputError(
            f"{option} {folder}: another process is writing it; wait, or choose another folder"
        ) from None
    except OSError as error:
        raise OutputError(
            f"{option} {folder}: cannot be written ({error.strerror}); choose another folder"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            claim.remove()
        claim.close()


def is_being_written(folder: Path) -> bool:
    """Return whether another process is in :func:`only_writer` of the folder."""
    path = folder / _CLAIM
    try:
        return os.path.lexists(path) and not remove_dead(path)
    except OSError:  # no write access: nor had a process that died there
        return False
