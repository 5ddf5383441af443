"""Writing a program file whole or not at all, and putting a toolchain's complaint into one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arcmobile.runtime.errors import OutputError


@contextmanager
def partial_file(destination: Path) -> Iterator[Path]:
    """Yields a hidden neighbour that becomes ``destination`` when the block ends without error.

    Raises:
        OutputError: the system refused to write it.
    """
    partial = destination.with_name(f".{destination.stem}.partial{destination.suffix}")
    try:
        yield partial
        partial.replace(destination)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(f"{destination}: cannot be written ({reason})") from error
    finally:
        partial.unlink(missing_ok=True)


def first_line(error: BaseException) -> str:
    """What the innermost cause of an exception says first."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
