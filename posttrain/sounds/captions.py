"""Captions: what is true of a sound, worded in many ways.

A caption states only what its attributes support, and not everything: the usual is often left out
(the centre, a long steady tone), the distinctive seldom, so that a missing word mostly means the
most common value.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arcmobile.posttrain.sounds.attributes import Attributes
from arcmobile.posttrain.sounds.catalogue import find_class

with Path(__file__).with_name("wordings.toml").open("rb") as _file:
    _WORDINGS: Mapping[str, Any] = tomllib.load(_file)
_BEFORE: Mapping[str, Sequence[str]] = _WORDINGS["before"]
_AFTER: Mapping[str, Sequence[str]] = _WORDINGS["after"]
_STATED: Mapping[str, float] = _WORDINGS["stated"]
_SINGLE = ("single", "one-shot", "lone")
_REPEATED = ("repeated", "repeating")
_NUMBERS = ("", "once", "twice", "three times", "four times", "five times", "six times")
_COUNTS = (*_NUMBERS, "seven times", "eight times")
_HIGHEST_BPM = 200
_OPENING = frozenset(
    ("in", "on", "at", "from", "to", "with", "panned", *(n.split()[0] for n in _COUNTS[1:]))
)
"""First words of phrases that may follow a noun without a comma."""


@dataclass(frozen=True)
class _Parts:
    """A sound ready to be worded.

    Attributes:
        article: of the noun, or empty.
        noun: without its article.
        before: words before the noun.
        after: phrases after it.
    """

    article: str
    noun: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def split_article(noun: str) -> tuple[str, str]:
    """Split "a bell" into ("a", "bell") and "rain" into ("", "rain")."""
    head, _, rest = noun.partition(" ")
    return (head, rest) if head in ("a", "an") else ("", noun)


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _likely(rng: np.random.Generator, chance: float) -> bool:
    return bool(rng.random() < chance)


def _tempo(events: float, bpm: int | None, rng: np.random.Generator) -> str | None:
    """A number for the speed, where one is true."""
    if bpm is not None and bpm <= _HIGHEST_BPM:
        return _pick(rng, ("at {} BPM", "{} BPM", "at {} bpm")).format(bpm)
    whole = round(events)
    if abs(events - whole) > 0.12 or not 1 <= whole < len(_COUNTS):
        return None
    return f"{_COUNTS[whole]} {_pick(rng, ('a second', 'per second'))}"


def _frequency(hertz: float) -> str:
    """Hz to the nearest ten, or the nearest fifty where they are many."""
    step = 50 if hertz > 1000 else 10
    return f"at {step * round(hertz / step)} Hz"


def _number(word: str, sound: Attributes, rng: np.random.Generator) -> str | None:
    """Sometimes a number in place of a pitch or speed word."""
    if word == sound.speed and sound.events is not None and _likely(rng, _STATED["tempo"]):
        return _tempo(sound.events, sound.bpm, rng)
    if word == sound.pitch and sound.hertz is not None and _likely(rng, _STATED["frequency"]):
        return _frequency(sound.hertz)
    return None


def _words_said(sound: Attributes, rng: np.random.Generator) -> list[str]:
    """The attribute values to state, in random order."""
    said = []
    for kind in ("pitch", "speed", "brightness"):
        value = getattr(sound, kind)
        if value is not None and _likely(rng, _STATED[kind]):
            said.append(str(value))
    for value in (sound.length, sound.side):
        if value is not None and _likely(rng, _STATED[value]):
            said.append(value)
    return [said[index] for index in rng.permutation(len(said))]


def _noun(sound: Attributes, rng: np.random.Generator) -> tuple[str, str, str | None]:
    """Article, noun, and a word for one event or a row of them, if there is one."""
    declared = find_class(sound.sound)
    if declared.repeats == "sometimes" and sound.speed is not None and _likely(rng, 0.5):
        return "", _pick(rng, declared.plurals), None
    article, noun = split_article(_pick(rng, declared.nouns))
    if declared.repeats != "sometimes":
        return article, noun, None
    if sound.speed is not None:
        return article, noun, _pick(rng, _REPEATED)
    return article, noun, _pick(rng, _SINGLE) if _likely(rng, _STATED["single"]) else None


def _parts(sound: Attributes, rng: np.random.Generator, before_chance: float) -> _Parts:
    article, noun, counted = _noun(sound, rng)
    before: list[str] = [] if counted is None else [counted]
    after: list[str] = []
    for word in _words_said(sound, rng):
        number = _number(word, sound, rng)
        if number is not None:
            after.append(number)
            continue
        chance = 0.06 if word == sound.side else before_chance
        if _likely(rng, chance):
            before.insert(0, _pick(rng, _BEFORE[word]))
        else:
            after.append(_pick(rng, _AFTER[word]))
    return _Parts(article, noun, tuple(before), tuple(after))


def _with_article(article: str, words: str) -> str:
    if not article:
        return words
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _phrase(sound: Attributes, rng: np.random.Generator, article_chance: float = 0.75) -> str:
    """Such as "a low, bright saw synth on the left"."""
    parts = _parts(sound, rng, 0.8)
    comma = ", " if _likely(rng, 0.3) else " "
    words = comma.join(parts.before) + " " + parts.noun if parts.before else parts.noun
    article = parts.article if _likely(rng, article_chance) else ""
    commas = _likely(rng, 0.4)
    head = _with_article(article, words)
    for phrase in parts.after:
        bare = not commas and phrase.split()[0] in _OPENING
        head += f"{' ' if bare else ', '}{phrase}"
    return head


def _fronted(sound: Attributes, rng: np.random.Generator) -> str:
    """Such as "on the left, a low saw synth"."""
    parts = _parts(sound, rng, 0.6)
    words = " ".join((*parts.before, parts.noun))
    article = parts.article if _likely(rng, 0.75) else ""
    if not parts.after:
        return _with_article(article, words)
    return f"{', '.join(parts.after)}, {_with_article(article, words)}"


def _tags(sound: Attributes, rng: np.random.Generator) -> str:
    """Such as "saw synth, low, bright, left"."""
    _, noun, counted = _noun(sound, rng)
    tags = [] if counted is None else [counted]
    for word in _words_said(sound, rng):
        number = _number(word, sound, rng)
        if number is not None:
            tags.append(number)
        elif word == sound.side and _likely(rng, 0.6):
            tags.append(word if word != "centre" else _pick(rng, ("centre", "center")))
        else:
            tags.append(_pick(rng, _BEFORE[word] if _likely(rng, 0.6) else _AFTER[word]))
    return _pick(rng, (", ", ", ", " ")).join([noun, *tags])


def _sentence(sound: Attributes, rng: np.random.Generator) -> str:
    """Such as "the sound of a bell, low in pitch, from the left"."""
    lead = _pick(rng, ("the sound of ", "sound of ", "a recording of ", "there is "))
    return lead + _phrase(sound, rng, article_chance=1.0)


def _clause(sound: Attributes, rng: np.random.Generator) -> str:
    style = rng.random()
    if style < 0.55:
        return _phrase(sound, rng)
    if style < 0.72:
        return _fronted(sound, rng)
    if style < 0.92:
        return _tags(sound, rng)
    return _sentence(sound, rng)


def _lettered(text: str, rng: np.random.Generator) -> str:
    style = rng.random()
    if style < 0.4:
        text = text[0].upper() + text[1:]
    elif style < 0.45:
        text = text.upper()
    elif style < 0.6:
        text = text.lower()
    return text + ("." if style < 0.3 and _likely(rng, 0.5) else "")


def _pair(sound: Attributes, second: Attributes, rng: np.random.Generator) -> str:
    first_words, second_words = _phrase(sound, rng), _phrase(second, rng)
    if sound.joined == "then":
        glue = _pick(rng, (", then ", " then ", " followed by ", ", and then "))
    else:
        glue = _pick(rng, (" and ", " with ", " together with ", ", plus "))
    return first_words + glue + second_words


def caption(sound: Attributes, rng: np.random.Generator) -> str:
    """Return one true wording of the attributes, at random."""
    if sound.second is not None:
        return _lettered(_pair(sound, sound.second, rng), rng)
    return _lettered(_clause(sound, rng), rng)
