"""Finds out which of a sound's words a caption states.

Words that a caption leaves out do not count. The patterns are written independently of
:mod:`arcmobile.posttrain.sounds.captions`, for all of its wordings and similar ones, including
numbers: "at 120 BPM" states the speed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Kind = Literal["pitch", "speed", "brightness", "length", "side"]
KINDS: tuple[Kind, ...] = ("pitch", "speed", "brightness", "length", "side")

_WORDS: Mapping[Kind, str] = {
    "pitch": (
        r"(?:low|mid|medium|high)-pitched|low|deep|mid|mid-range|high|"
        r"(?:low|medium|high) (?:pitch|register)|middle register|\d+ hz"
    ),
    "speed": (
        r"slow|slowly|unhurried|medium-speed|medium-paced|moderately paced|"
        r"(?:slow|medium|moderate|fast) (?:pace|speed)|fast|quick|rapid|\d+ bpm|"
        r"(?:once|twice|times) (?:a|per) second"
    ),
    "brightness": r"dark|dull|muffled|bright|brilliant",
    "length": r"short|brief|long|sustained",
    "side": (
        r"left|right|left-panned|right-panned|cent(?:re|er)|cent(?:red|ered)|"
        r"(?:in )?the middle(?! register)"
    ),
}
_PATTERNS = {
    kind: re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE)
    for kind, words in _WORDS.items()
}


def stated_words(caption: str) -> frozenset[Kind]:
    """Return the kinds of words that a caption of one sound states."""
    return frozenset(kind for kind in KINDS if _PATTERNS[kind].search(caption))
