"""Write a program file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arcmobile.runtime.errors import OutputError


@contextmanager
def partial_file(destination: Path) -> Iterator[Path]:
    """Yield a hidden neighbour that becomes ``destination`` when the block ends without error.

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
