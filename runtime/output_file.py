"""Text files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from arcmobile.runtime.errors import OutputError


def write_text_file(path: str | os.PathLike[str], text: str, *, option: str = "") -> None:
    """Writes UTF-8 text under a temporary name and renames it; makes the folder if need be.

    Raises :class:`OutputError` naming the file, and the ``option`` that chose it if given.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        named = f"{option} {path}" if option else str(path)
        raise OutputError(
            f"{named}: cannot be written ({error.strerror}); choose another file"
        ) from error
