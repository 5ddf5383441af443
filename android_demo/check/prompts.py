"""Prompts that are hard on a tokenizer: many scripts, marks, emoji, white space, special tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from random import Random
from typing import Final

_TEXT: Final = """
warm rain on a tin roof slow drums heavy bass piano, ambient pad 120 BPM; reverb guitar riff
haha banana aaaa abab jazz café naïve straße Ελλάδα привет мир こんにちは 音楽 노래 שלום
موسيقى संगीत ดนตรี nhạc 🎸 128bpm don't re-mix (live) [demo] "quote" a/b C# 3.14 ½ №7 ﬁlm Ａｂｃ
"""
_WORDS: Final = _TEXT.split()
_SPACES: Final = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2003\u2009\u2028\u2029\u202f\u205f\u3000"
_NO_SPACES: Final = "\u200b\u2060\ufeff\u00ad\u180e"
_MARKS: Final = "\u0300\u0301\u0323\u0308\u0327\u05bc\u064b\u093c\u20dd\u20e3\ufe0f\u3099\u1dc4"
_BASES: Final = "aeiounAESCk ﬁＡが가かक漢1©™\u0600"
_COMPATIBLE: Final = "ﬁﬂ½¼№™℠Ⅷ㎏㍿①⓪ªº²³¨´¸ŀŉǆ…‥Ω㈠ﾊﾟｶﾞﷺ이ſﬅ㌕𝐀𝓐！（）０９ａＺ"
_JAMO: Final = "\u1100\u1112\ua960\u1161\u1175\ud7b0\u11a8\u11c2\uac00\uac01\ud7a3\u3131\uffa1"
_INDIC: Final = (
    "\u0915\u0937\u0958\u094d\u093c\u093f\u0995\u09cd\u0d15\u0d4d\u1780\u17d2\u200d\u200c"
)
_SPECIAL: Final = (
    *("</s>", "<pad>", "<unk>", "<extra_id_0>", "<extra_id_99>", "<extra_id_100>"),
    *("</s", "<extra_id_", "</S>", "▁", "▁▁", "▁rain", "<0x41>"),
)
_EMOJI: Final = (
    *("🎸", "❤️", "👨‍👩‍👧‍👦", "👩🏽‍🚀", "🏳️‍🌈", "🇯🇵", "🇺🇸🇬🇧🇫", "1️⃣", "☔", "🤘🏿", "©️", "™️"),
    *("🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "\u200d", "🏽"),
)
# Starts of runs of 96 code points, over the planes that are in use.
_SCRIPTS: Final = (
    *(0x00C0, 0x0100, 0x0180, 0x0250, 0x0370, 0x0400, 0x0530, 0x0590, 0x0620, 0x0700, 0x0780),
    *(0x07C0, 0x08A0, 0x0900, 0x0980, 0x0A00, 0x0B80, 0x0C00, 0x0D00, 0x0E00, 0x0E80, 0x0F00),
    *(0x1000, 0x10A0, 0x1200, 0x13A0, 0x1780, 0x1800, 0x1E00, 0x1F00, 0x2000, 0x2070, 0x2100),
    *(0x2190, 0x2460, 0x2600, 0x2D30, 0x3040, 0x30A0, 0x3100, 0x3300, 0x4E00, 0xA640, 0xAC00),
    *(0xF900, 0xFB00, 0xFE70, 0xFF00, 0x10400, 0x11000, 0x1D400, 0x1F100, 0x1F300, 0x1F900),
    *(0x20000, 0xE0000),
)
_FIXED: Final = (
    *("", " ", "\n\t \u3000", "a", "\0", "\ufffd", "\U0010ffff", "\ufffe"),
    *("warm rain on a tin roof", "  warm \t rain\r\n on  a roof ", "rain</s>rain", "</s>"),
    *("ﬁ\u0301ne", "e\u0301\u0323", "™\u200d™\u0301", "क\u094d\u0958\u0301", "\u0600Ａ"),
    *("▁" * 9, "x" * 999, "日" * 999, "\u0301" * 99, "🎸" * 99, "\r\n" * 9, "</s>" * 99),
    "warm rain on a tin roof, slow drums, 120 BPM " * 99,
)


def make_prompts(count: int, seed: int) -> list[str]:
    """``count`` prompts, the same for a ``seed`` on every machine; all can be written as UTF-8."""
    random = Random(seed)
    return [*_FIXED, *(_prompt(random) for _ in range(count - len(_FIXED)))]


def _prompt(random: Random) -> str:
    parts = [random.choice(_PARTS)(random) for _ in range(random.choice((1, 2, 3, 5, 8, 13, 40)))]
    text = random.choice(("", "", " ", ", ")).join(parts)
    return unicodedata.normalize("NFD", text) if random.random() < 0.1 else text


def _some(characters: str, most: int) -> Callable[[Random], str]:
    return lambda random: "".join(random.choices(characters, k=random.randint(1, most)))


def _script(random: Random) -> str:
    start = random.choice(_SCRIPTS)
    return "".join(chr(start + random.randrange(96)) for _ in range(random.randint(1, 8)))


def _any(random: Random) -> str:
    point = random.randrange(0x110000 - 0x800)
    return chr(point if point < 0xD800 else point + 0x800)


_PARTS: Final[tuple[Callable[[Random], str], ...]] = (
    lambda random: " ".join(random.choices(_WORDS, k=random.randint(1, 6))),
    lambda random: random.choice(_WORDS).swapcase(),
    lambda random: random.choice(_BASES) + _some(_MARKS, 3)(random),
    lambda random: random.choice(_EMOJI) * random.randint(1, 2),
    lambda random: random.choice(_SPECIAL),
    lambda random: chr(random.randrange(0x20)) * random.randint(1, 2),
    _some(_SPACES, 3),
    _some(_NO_SPACES, 2),
    _some(_COMPATIBLE, 4),
    _some(_JAMO, 5),
    _some(_INDIC, 6),
    _script,
    _script,
    _any,
)
