"""Values and names from untrusted files, in the one line of an error message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_LISTED: Final = 8  # names in a one-line message; `checkpoint check` lists them all
_LONGEST_VALUE: Final = 80
_LONGEST_NAME: Final = 120


def shown_value(value: object) -> str:
    """Return a value as Python writes it, cut where it is long: for ``key is VALUE``."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, lists without end
        text = f"a {type(value).__name__} too large to print"
    return _cut(text, _LONGEST_VALUE)


def shown_name(name: str) -> str:
    """Return a name from a file as it is, or escaped where it holds control characters."""
    return _cut(name if name.isprintable() else repr(name)[1:-1], _LONGEST_NAME)


def shown_names(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    listed = ", ".join(shown_name(name) for name in names[:_LISTED])
    return listed if len(names) <= _LISTED else f"{listed} and {len(names) - _LISTED} more"


def first_line(error: BaseException) -> str:
    """Return what the innermost cause of an exception says first, or the name of its class."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return _cut(text, 2 * _LONGEST_NAME) or type(error).__name__


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
