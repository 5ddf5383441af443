"""Captions with their labels, some reworded as people write prompts; no audio is made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from arcmobile.export.checkpoint.presets import preset_prompts
from arcmobile.posttrain.autoencoder.crops import HELD_OUT_SEED
from arcmobile.posttrain.sounds import Attributes, caption, corpus
from arcmobile.posttrain.sounds.choosing import choose
from arcmobile.posttrain.text.caption_reading import labels

_PAIRS = 0.5  # of the captions to learn from: more than of the sounds, two are hard to tell apart
_LOOSE = 0.5  # how many captions are loosened
_DROPPED, _ADDED = 0.35, 0.12  # function words dropped, and words put in front of a word
_LEADS = ("please make", "generate", "create", "give me", "i want", "i need", "play", "make")
_TAILS = ("please", "sound effect", "sfx", "recording", "high quality", "stereo", "clean", "loud")
_FUNCTION = frozenset(("a", "an", "the", "of", "in", "on", "at", "to", "from", "is", "there"))
_JOINING = frozenset(("and", "then", "with", "followed", "by", "plus", "together"))
_KNOWN_CAPTIONS, _KNOWN_SEED = 3000, 0
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class CaptionExample:
    """A caption and its labels.

    Attributes:
        text: the caption.
        labels: label per head of :data:`.caption_reading.HEADS`.
    """

    text: str
    labels: dict[str, int]


@cache
def unknown_words() -> tuple[str, ...]:
    """Return words of prompts that no caption has: what the encoder has to ignore."""
    free = set(_WORD.findall(" ".join(preset_prompts()).lower()))
    known = set(_WORD.findall(" ".join(corpus(_KNOWN_CAPTIONS, _KNOWN_SEED)).lower()))
    return tuple(sorted(word for word in free - known - _JOINING if len(word) > 2))


def loosened(text: str, rng: np.random.Generator) -> str:
    """Reword a caption loosely: fewer function words and commas, more words without meaning."""
    spare = unknown_words()
    words: list[str] = []
    for word in text.rstrip(".").split(" "):
        if word.lower() in _FUNCTION and rng.random() < _DROPPED:
            continue
        # Not after the joining words: "with vinyl, a bell" would be another second sound.
        if rng.random() < _ADDED and not (words and words[-1].lower() in _JOINING):
            words.append(spare[int(rng.integers(len(spare)))])
        words.append(word.rstrip(",") if rng.random() < _DROPPED else word)
    if rng.random() < _ADDED:
        words.insert(0, _LEADS[int(rng.integers(len(_LEADS)))])
    if rng.random() < _ADDED:
        words.append(_TAILS[int(rng.integers(len(_TAILS)))])
    return " ".join(words)


def _paired(rng: np.random.Generator) -> Attributes:
    first, second = choose(rng), choose(rng)
    if first.second is not None or second.second is not None or first.sound == second.sound:
        return _paired(rng)
    return replace(first, second=second, joined="then" if rng.random() < 0.5 else "together")


def random_example(rng: np.random.Generator) -> CaptionExample:
    """Make an example to learn from; its labels are those of the caption before rewording."""
    sound = _paired(rng) if rng.random() < _PAIRS else choose(rng)
    text = caption(sound, rng)
    return CaptionExample(
        loosened(text, rng) if rng.random() < _LOOSE else text, labels(text, sound)
    )


def held_out_examples(count: int, *, loose: bool = False) -> list[CaptionExample]:
    """Make captions to evaluate on, worded as those of sounds, or all reworded loosely."""
    rng = np.random.default_rng(HELD_OUT_SEED)
    examples = []
    for _ in range(count):
        sound = choose(rng)
        text = caption(sound, rng)
        examples.append(CaptionExample(loosened(text, rng) if loose else text, labels(text, sound)))
    return examples


def batches_of(examples: Sequence[CaptionExample], size: int) -> list[list[CaptionExample]]:
    """Split examples into batches of captions of about one length, which need little padding."""
    ordered = sorted(examples, key=lambda example: len(example.text))
    return [list(ordered[start : start + size]) for start in range(0, len(ordered), size)]
