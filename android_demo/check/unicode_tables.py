"""Writes the tables of Unicode classes that the tokenizers in Kotlin and C++ read.

The normalizer of the ``tokenizers`` library works by grapheme clusters, and its added tokens can
ask for word boundaries. Both depend on the version of Unicode that the library was built with,
which is neither Python's nor Android's. So the classes are asked of the library: strings are
normalized whose result shows where clusters end. Run this when the pin of ``tokenizers`` moves and
:mod:`reference` (``unicode.json``) finds the tables in the way.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tokenizers import normalizers, pre_tokenizers

_ROOT: Final = Path(__file__).resolve().parents[2]
KOTLIN: Final = _ROOT / "android_demo/core/src/main/kotlin/org/arcmobile/tokenizer/UnicodeTables.kt"
CXX: Final = _ROOT / "runtime/native/src/tokenizer/unicode_tables.cc"

_NEWLINE: Final = ord("\n")
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_LINE: Final = 88

# Everything but ASCII and Hangul syllables, whose classes are rules, and what has none: ideographs,
# surrogates, private use.
_CLUSTERED: Final = (
    range(0x80, 0x3400),
    range(0xA000, 0xAC00),
    range(0xD7A4, 0xD800),
    range(0xF900, 0x20000),
    range(0xE0000, 0xE1000),
)


def grapheme_table() -> str:
    """Classes of characters that grapheme clusters depend on, as ``RangeTable.kt`` reads them."""
    points = [point for block in _CLUSTERED for point in block]
    attached = _Probe(points, "a@", 1)
    prepended = _Probe(points, "@a", 1)
    # Where the character at @ is joined to what is before, all is looked up one by one; else the
    # last character, short with its accent, is one unit.
    extends = _Probe(points, "©@\u200d©\u0301", 5)
    linker = _Probe(points, "क@क\u0301", 4)
    in_conjunct = _Probe(points, "क\u094d@क\u0301", 5)
    pictograph = _Probe(points, "©\u200d@\u0301", 4)
    consonant = _Probe(points, "@\u094dक\u0301", 4)
    control = _Probe(points, "@\u0301\u0301", 2)
    before_l = _Probe(points, "@\u1100\u0301", 3)
    before_v = _Probe(points, "@\u1161\u0301", 3)
    before_t = _Probe(points, "@\u11a8\u0301", 3)

    def class_of(point: int) -> str:
        if point == 0x200D:
            return "Z"
        if point in attached:
            if point not in extends:
                return "S"
            return "K" if point in linker else "E" if point in in_conjunct else "N"
        kinds = [
            ("C", control),  # first: it makes units of what is beside it, too
            ("P", prepended),
            ("X", pictograph),
            ("I", consonant),
            ("L", before_l),
            ("V", before_v),
            ("T", before_t),
        ]
        return next((letter for letter, probe in kinds if point in probe), "")

    return _encode((point, class_of(point)) for point in points)


def word_table() -> str:
    r"""Characters that Rust's ``\w`` matches, as ``RangeTable.kt`` reads them."""
    words = pre_tokenizers.Whitespace()  # runs of \w, and of what is neither \w nor \s
    points = [*range(1, 0xD800), *range(0xE000, 0x110000)]
    runs = words.pre_tokenize_str("".join(map(chr, points)))
    return _encode(
        (ord(character), "W")
        for run, _ in runs
        if len(words.pre_tokenize_str("a" + run[0])) == 1
        for character in run
    )


class _Probe:
    """The characters that, at the ``@`` of a template, make it ``units`` units."""

    def __init__(self, points: Sequence[int], template: str, units: int) -> None:
        # A line feed is a cluster of its own, and keeps the strings apart.
        strings = "\n".join(template.replace("@", chr(point)) for point in points)
        counts = map(len, _unit_normalizer().normalize_str(strings).split("\n"))
        self._points = {p for p, count in zip(points, counts, strict=True) if count == units}

    def __contains__(self, point: int) -> bool:
        return point in self._points


def _unit_normalizer() -> normalizers.Normalizer:
    """Makes ``1`` of every unit it looks up, by a table in which each first byte is a key."""
    children, values = 256, 512
    units = [0] * 768
    units[0] = children << 10
    replacements = b"1\0\n\0"
    for byte in range(1, 256):
        units[children + byte] = byte | 1 << 8 | (children ^ values) << 10
        units[values + byte] = 2 if byte == _NEWLINE else 0
    table = struct.pack(f"<I{len(units)}I", 4 * len(units), *units)
    return normalizers.Precompiled(table + replacements)


def _encode(classes: Iterable[tuple[int, str]]) -> str:
    ranges: list[tuple[str, int, int]] = []
    for point, kind in classes:
        if not kind:
            continue
        if ranges and ranges[-1][0] == kind and ranges[-1][2] == point - 1:
            ranges[-1] = (kind, ranges[-1][1], point)
        else:
            ranges.append((kind, point, point))
    encoded, after = [], 0
    for kind, start, end in ranges:
        more = f"-{_base36(end - start)}" if end > start else ""
        encoded.append(f"{kind}{_base36(start - after)}{more}")
        after = end + 1
    return "".join(encoded)


def _base36(number: int) -> str:
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


def kotlin() -> str:
    """The text of ``UnicodeTables.kt``."""
    return "\n\n".join(
        [
            "package org.arcmobile.tokenizer",
            "// Written by check/unicode_tables.py; see RangeTable for the format.",
            _kotlin_constant(
                "Classes that grapheme clusters depend on, of the library's version of Unicode.",
                "GRAPHEME_BREAKS",
                grapheme_table(),
            ),
            _kotlin_constant(r"The library's `\w`.", "WORD_CHARACTERS", word_table()) + "\n",
        ]
    )


def _kotlin_constant(about: str, name: str, value: str) -> str:
    lines = [value[start : start + _LINE] for start in range(0, len(value), _LINE)]
    text = " +\n".join(f'    "{line}"' for line in lines)
    return f"/** {about} */\ninternal const val {name}: String =\n{text}"


def cxx() -> str:
    """The text of ``unicode_tables.cc``."""
    return "\n\n".join(
        [
            '// Written by android_demo/check/unicode_tables.py.\n#include "unicode_tables.h"',
            "namespace arcmobile::tokenizer {",
            _cxx_constant("kGraphemeBreaks", grapheme_table()),
            _cxx_constant("kWordCharacters", word_table()),
            "}  // namespace arcmobile::tokenizer\n",
        ]
    )


def _cxx_constant(name: str, value: str) -> str:
    lines = [value[start : start + _LINE] for start in range(0, len(value), _LINE)]
    text = "\n".join(f'    "{line}"' for line in lines)
    return f"const std::string_view {name} =\n{text};"


if __name__ == "__main__":
    KOTLIN.write_text(kotlin(), encoding="utf-8")
    CXX.write_text(cxx(), encoding="utf-8")
