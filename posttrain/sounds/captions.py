"""Captions: what is true of a sound, said in many ways.

A caption never says a word that its attributes do not bear out. Not everything is said: what
goes without saying is left out often (the centre, a long steady tone), what sets a sound apart
is left out seldom, so that a word left unsaid mostly means its commonest value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from arcmobile.posttrain.sounds.attributes import Attributes
from arcmobile.posttrain.sounds.catalogue import find_class

# Words before the noun, and words after it.
_BEFORE: Mapping[str, tuple[str, ...]] = {
    "low": ("low", "low", "low-pitched", "deep"),
    "mid": ("mid", "mid-range", "mid-pitched", "medium-pitched"),
    "high": ("high", "high", "high-pitched"),
    "slow": ("slow", "slow", "unhurried"),
    "medium": ("medium-speed", "medium-paced", "moderately paced"),
    "fast": ("fast", "fast", "quick", "rapid"),
    "dark": ("dark", "dark", "dull", "muffled"),
    "bright": ("bright", "bright", "brilliant"),
    "short": ("short", "short", "brief"),
    "long": ("long", "long", "sustained"),
    "left": ("left-panned",),
    "centre": ("centred", "centered"),
    "right": ("right-panned",),
}
_AFTER: Mapping[str, tuple[str, ...]] = {
    "low": ("low in pitch", "at a low pitch", "in a low register"),
    "mid": ("mid in pitch", "at a medium pitch", "in the middle register"),
    "high": ("high in pitch", "at a high pitch", "in a high register"),
    "slow": ("at a slow pace", "slow", "slowly repeated"),
    "medium": ("at a medium pace", "at a moderate pace", "at medium speed"),
    "fast": ("at a fast pace", "in quick succession", "fast"),
    "dark": ("dark", "with a dark tone", "muffled"),
    "bright": ("bright", "with a bright tone", "bright and clear"),
    "short": ("short", "cut short"),
    "long": ("long", "held long"),
    "left": (
        "on the left",
        "on the left",
        "panned left",
        "panned hard left",
        "from the left",
        "on the left side",
        "in the left channel",
        "to the left",
    ),
    "centre": ("in the centre", "in the center", "in the middle", "centred", "panned centre"),
    "right": (
        "on the right",
        "on the right",
        "panned right",
        "panned hard right",
        "from the right",
        "on the right side",
        "in the right channel",
        "to the right",
    ),
}
_SINGLE = ("single", "one-shot", "lone")
_REPEATED = ("repeated", "repeating")
_NUMBERS = ("", "once", "twice", "three times", "four times", "five times", "six times")
_COUNTS = (*_NUMBERS, "seven times", "eight times")
_HIGHEST_BPM = 200
_OPENING = frozenset(
    ("in", "on", "at", "from", "to", "with", "panned", *(n.split()[0] for n in _COUNTS[1:]))
)
"""First words of phrases that may follow a noun without a comma."""
_SAID = {
    "pitch": 0.9,
    "speed": 0.9,
    "brightness": 0.9,
    "short": 0.95,
    "long": 0.4,
    "left": 0.97,
    "right": 0.97,
    "centre": 0.35,
    "single": 0.15,
    "tempo": 0.35,
    "frequency": 0.1,
}


@dataclass(frozen=True)
class _Parts:
    """A sound ready to be worded: ``noun`` without its ``article``."""

    article: str
    noun: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def split_article(noun: str) -> tuple[str, str]:
    """("a", "bell") of "a bell", ("", "rain") of "rain"."""
    head, _, rest = noun.partition(" ")
    return (head, rest) if head in ("a", "an") else ("", noun)


def _one(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _likely(rng: np.random.Generator, chance: float) -> bool:
    return bool(rng.random() < chance)


def _tempo(events: float, bpm: int | None, rng: np.random.Generator) -> str | None:
    """A number for the speed, where one is true."""
    if bpm is not None and bpm <= _HIGHEST_BPM:
        return _one(rng, ("at {} BPM", "{} BPM", "at {} bpm")).format(bpm)
    whole = round(events)
    if abs(events - whole) > 0.12 or not 1 <= whole < len(_COUNTS):
        return None
    return f"{_COUNTS[whole]} {_one(rng, ('a second', 'per second'))}"


def _frequency(hertz: float) -> str:
    """Hz to the nearest ten, or the nearest fifty where they are many."""
    step = 50 if hertz > 1000 else 10
    return f"at {step * round(hertz / step)} Hz"


def _number(word: str, sound: Attributes, rng: np.random.Generator) -> str | None:
    """A number in the place of a pitch or speed word, now and then."""
    if word == sound.speed and sound.events is not None and _likely(rng, _SAID["tempo"]):
        return _tempo(sound.events, sound.bpm, rng)
    if word == sound.pitch and sound.hertz is not None and _likely(rng, _SAID["frequency"]):
        return _frequency(sound.hertz)
    return None


def _words_said(sound: Attributes, rng: np.random.Generator) -> list[str]:
    """The attribute values to say, in a random order."""
    said = []
    for kind in ("pitch", "speed", "brightness"):
        value = getattr(sound, kind)
        if value is not None and _likely(rng, _SAID[kind]):
            said.append(str(value))
    for value in (sound.length, sound.side):
        if value is not None and _likely(rng, _SAID[value]):
            said.append(value)
    return [said[index] for index in rng.permutation(len(said))]


def _noun(sound: Attributes, rng: np.random.Generator) -> tuple[str, str, str | None]:
    """Article, noun, and the word that tells one event from a row, if one is wanted."""
    declared = find_class(sound.sound)
    if declared.repeats == "sometimes" and sound.speed is not None and _likely(rng, 0.5):
        return "", _one(rng, declared.plurals), None
    article, noun = split_article(_one(rng, declared.nouns))
    if declared.repeats != "sometimes":
        return article, noun, None
    if sound.speed is not None:
        return article, noun, _one(rng, _REPEATED)
    return article, noun, _one(rng, _SINGLE) if _likely(rng, _SAID["single"]) else None


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
            before.insert(0, _one(rng, _BEFORE[word]))
        else:
            after.append(_one(rng, _AFTER[word]))
    return _Parts(article, noun, tuple(before), tuple(after))


def _with_article(article: str, words: str) -> str:
    if not article:
        return words
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _phrase(sound: Attributes, rng: np.random.Generator, article_chance: float = 0.75) -> str:
    """ "a low, bright saw synth on the left"."""
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
    """ "on the left, a low saw synth"."""
    parts = _parts(sound, rng, 0.6)
    words = " ".join((*parts.before, parts.noun))
    article = parts.article if _likely(rng, 0.75) else ""
    if not parts.after:
        return _with_article(article, words)
    return f"{', '.join(parts.after)}, {_with_article(article, words)}"


def _tags(sound: Attributes, rng: np.random.Generator) -> str:
    """ "saw synth, low, bright, left"."""
    _, noun, counted = _noun(sound, rng)
    tags = [] if counted is None else [counted]
    for word in _words_said(sound, rng):
        number = _number(word, sound, rng)
        if number is not None:
            tags.append(number)
        elif word == sound.side and _likely(rng, 0.6):
            tags.append(word if word != "centre" else _one(rng, ("centre", "center")))
        else:
            tags.append(_one(rng, _BEFORE[word] if _likely(rng, 0.6) else _AFTER[word]))
    return _one(rng, (", ", ", ", " ")).join([noun, *tags])


def _sentence(sound: Attributes, rng: np.random.Generator) -> str:
    """ "the sound of a bell, low in pitch, from the left"."""
    lead = _one(rng, ("the sound of ", "sound of ", "a recording of ", "there is "))
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
        glue = _one(rng, (", then ", " then ", " followed by ", ", and then "))
    else:
        glue = _one(rng, (" and ", " with ", " together with ", ", plus "))
    return first_words + glue + second_words


def caption(sound: Attributes, rng: np.random.Generator) -> str:
    """One true wording of the attributes; other draws from ``rng`` word it otherwise."""
    if sound.second is not None:
        return _lettered(_pair(sound, sound.second, rng), rng)
    return _lettered(_clause(sound, rng), rng)
