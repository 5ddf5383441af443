"""What a caption states: the labels that the text encoder learns to predict.

Captions leave words out, and :mod:`.sounds.captions` does not report which. Each attribute value
has words of its own, so captions can be parsed. What is not stated, or does not apply, gets the
label None; what is ambiguous (one "left" in a caption of two sounds on the left) is
:data:`UNKNOWN`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from arcmobile.posttrain.sounds import CLASSES, Attributes

UNKNOWN: Final = -100
"""Label of an ambiguous attribute; torch's losses ignore it."""

_NUMBERS = ("three", "four", "five", "six", "seven", "eight")
_COUNTS = ("once", "twice", *(f"{number} times" for number in _NUMBERS))
_PATTERNS: Mapping[str, Mapping[str, str]] = {
    "side": {
        "left": "left",
        "centre": r"cent(?:re|er)(?:ed|d)?|in the middle(?! register)",
        "right": "right",
    },
    "pitch": {
        "low": "low|deep",
        "mid": "mid|medium-pitched|medium pitch|middle register",
        "high": "high",
    },
    "speed": {
        "slow": "slow|slowly|unhurried",
        "medium": "medium[- ](?:speed|paced?)|moderate pace|moderately paced",
        "fast": "fast|quick|rapid",
    },
    "brightness": {"dark": "dark|dull|muffled", "bright": "bright|brilliant"},
    "length": {"short": "short|brief", "long": "long|sustained"},
}
_COMPILED = {
    kind: {value: re.compile(rf"\b(?:{pattern})\b") for value, pattern in values.items()}
    for kind, values in _PATTERNS.items()
}
_BEATS, _EVENTS, _HERTZ = (
    re.compile(r"\b(\d+) bpm\b"),
    re.compile(rf"\b({'|'.join(_COUNTS)}) (?:a|per) second\b"),
    re.compile(r"\bat (\d+) hz\b"),
)
_FREQUENCY_TOLERANCE = 0.05

_OF_ONE: Mapping[str, tuple[str | bool | None, ...]] = {
    **{kind: (None, *values) for kind, values in _PATTERNS.items()},
    "repeated": (None, True, False),
}
HEADS: Mapping[str, tuple[str | bool | None, ...]] = {
    "sound": tuple(CLASSES),
    "second sound": (None, *CLASSES),
    "joined": (None, "together", "then"),
    **_OF_ONE,
    **{f"second {kind}": values for kind, values in _OF_ONE.items()},
}
"""Attributes of a caption with their values; a label is an index into the values."""


def labels(text: str, sound: Attributes) -> dict[str, int]:
    """Return the label per head of :data:`HEADS` of a caption of ``sound``."""
    folded, second = text.lower(), sound.second
    found: dict[str, int] = {
        "sound": HEADS["sound"].index(sound.sound),
        "second sound": HEADS["second sound"].index(second and second.sound),
        "joined": HEADS["joined"].index(sound.joined),
    }
    for kind in _PATTERNS:
        said = _times_said(folded, kind, sound)
        if second is None:
            found[kind] = _label(kind, sound, said > 0)
            found[f"second {kind}"] = 0
        elif getattr(sound, kind) != getattr(second, kind):
            found[kind] = _label(kind, sound, said > 0)
            found[f"second {kind}"] = _label(kind, second, _times_said(folded, kind, second) > 0)
        else:
            # Said once it may be of either sound.
            found[kind] = UNKNOWN if said == 1 else _label(kind, sound, said > 1)
            found[f"second {kind}"] = found[kind]
    for prefix, part in (("", sound), ("second ", second)):
        repeated = None if part is None else part.speed is not None
        found[f"{prefix}repeated"] = _OF_ONE["repeated"].index(repeated)
    return found


def _label(kind: str, sound: Attributes, said: bool) -> int:
    return HEADS[kind].index(getattr(sound, kind)) if said else 0


def _times_said(folded: str, kind: str, sound: Attributes) -> int:
    """How often a caption contains the words, or the number, of this attribute."""
    value = getattr(sound, kind)
    if value is None:
        return 0
    count = len(_COMPILED[kind][value].findall(folded))
    if kind == "speed":
        count += sum(int(beats) == sound.bpm for beats in _BEATS.findall(folded))
        events = round(sound.events or 0)
        count += sum(_COUNTS.index(times) + 1 == events for times in _EVENTS.findall(folded))
    elif kind == "pitch" and sound.hertz is not None:
        count += sum(
            abs(int(hertz) / sound.hertz - 1) < _FREQUENCY_TOLERANCE
            for hertz in _HERTZ.findall(folded)
        )
    return count
