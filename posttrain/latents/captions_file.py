"""Reads the text file beside a sound: a caption per line."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Final

from arcmobile.runtime.errors import InputError

_LONGEST: Final = 1 << 16  # bytes
# Not str.splitlines(), which also breaks lines at form feeds and at U+2028.
_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_captions(path: Path, sound: Path) -> tuple[str, ...]:
    """Read the captions of ``sound``, in UTF-8 or in UTF-16 with a byte order mark.

    Raises:
        InputError: the file is missing, empty, too long or not text.
    """
    way_out = f"write the captions of {sound.name}, one per line"
    if not path.is_file():
        raise InputError(f"{path}: no such file; {way_out}")
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {way_out}") from error
    if len(data) > _LONGEST:
        raise InputError(f"{path}: over {_LONGEST >> 10} kB; {way_out}")
    try:
        text = data.decode("utf-16" if data.startswith(_UTF16_MARKS) else "utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; {way_out}") from None
    captions = tuple(line for raw in _LINE_END.split(text) if (line := raw.strip()))
    if not captions:
        raise InputError(f"{path}: is empty; {way_out}")
    if strange := next((c for c in text if ord(c) < 32 and c not in "\t\r\n"), None):
        raise InputError(f"{path}: holds the control character U+{ord(strange):04X}; {way_out}")
    return captions
