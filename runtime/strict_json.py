"""JSON from outside, read strictly: everything unusual is an error of one line.

Libraries accept what readers in other languages refuse: two equal keys, ``NaN``, numbers that
become infinite, a byte order mark. And deep nesting crashes some of them.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, Final

_BYTE_ORDER_MARK: Final = "\ufeff"
_MOST_VALUES: Final = 4_000_000  # of all kinds, so that memory stays below a gigabyte
# Strings first, so that brackets in them do not count.
_TOKENS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)


def parse_json(data: bytes | str, *, most_bytes: int, most_levels: int) -> Any:
    """Parse one document.

    Args:
        data: UTF-8, or text.
        most_bytes: its largest size.
        most_levels: deepest nesting of arrays and objects.

    Raises:
        ValueError: it is larger or deeper than that, not JSON, has a key twice or a number that is
            not finite; the text is one line.
    """
    if len(data) > most_bytes:
        raise ValueError(f"larger than {most_bytes} bytes")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte {error.start})") from None
    if text.startswith(_BYTE_ORDER_MARK):
        raise ValueError("begins with a byte order mark")
    _check_size(text, most_levels)
    try:
        document = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"not JSON ({error.msg} at line {error.lineno} column {error.colno})"
        ) from None
    _check_finite(document)
    return document


def _check_size(text: str, most_levels: int) -> None:
    if text.count(",") > _MOST_VALUES:
        raise ValueError(f"holds more than {_MOST_VALUES} values")
    level = 0
    for count, found in enumerate(_TOKENS.finditer(text)):
        if count > 2 * _MOST_VALUES:
            raise ValueError(f"holds more than {_MOST_VALUES} values")
        first = found[0][0]
        if first in "[{":
            level += 1
            if level > most_levels:
                raise ValueError(f"nested deeper than {most_levels} levels")
        elif first in "]}":
            level -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"key {key[:80]!r} stands twice in one object")
    for key, value in pairs:
        _check_finite(value, key)
    return found


def _check_finite(value: Any, key: str = "") -> None:
    # Objects have been checked when they were read. The key is for the message.
    if isinstance(value, list):
        for item in value:
            _check_finite(item, key)
    elif isinstance(value, float) and not math.isfinite(value):
        where = f"{key[:80]}: " if key else ""
        raise ValueError(f"{where}{value} is not a finite number")
