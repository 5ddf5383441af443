"""Captions with their labels, written a little as people write prompts: no audio is drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

import numpy as np

from arcmobile.posttrain.autoencoder.crops import HELD_OUT_SEED
from arcmobile.posttrain.sounds import Attributes, caption, corpus
from arcmobile.posttrain.sounds.choosing import choose
from arcmobile.posttrain.text.caption_reading import labels

_PAIRS = 0.5  # of the captions to learn from: more than are drawn, telling two apart is hard
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
    """A caption and its label per head of :data:`.caption_reading.HEADS`."""

    text: str
    labels: dict[str, int]


@cache
def unknown_words() -> tuple[str, ...]:
    """Words of prompts that no caption has: what a reader has to pass over."""
    prompts = resources.files("arcmobile.export.checkpoint").joinpath("preset_corpus.txt")
    free = set(_WORD.findall(prompts.read_text(encoding="utf-8").lower()))
    known = set(_WORD.findall(" ".join(corpus(_KNOWN_CAPTIONS, _KNOWN_SEED)).lower()))
    return tuple(sorted(word for word in free - known - _JOINING if len(word) > 2))


def loosened(text: str, rng: np.random.Generator) -> str:
    """The same said loosely: without some small words and commas, with words that say nothing."""
    spare = unknown_words()
    words: list[str] = []
    for word in text.rstrip(".").split(" "):
        if word.lower() in _FUNCTION and rng.random() < _DROPPED:
            continue
        # Not behind the joining words: "with vinyl, a bell" would be another second sound.
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


def example(rng: np.random.Generator) -> CaptionExample:
    """One to learn from. Labels are those of the caption as it was before it was loosened."""
    sound = _paired(rng) if rng.random() < _PAIRS else choose(rng)
    text = caption(sound, rng)
    read = labels(text, sound)
    return CaptionExample(loosened(text, rng) if rng.random() < _LOOSE else text, read)


def held_out_examples(count: int, *, loose: bool = False) -> list[CaptionExample]:
    """Captions to judge by, worded as those of drawn sounds, or all loosened."""
    rng = np.random.default_rng(HELD_OUT_SEED)
    examples = []
    for _ in range(count):
        sound = choose(rng)
        text = caption(sound, rng)
        read = labels(text, sound)
        examples.append(CaptionExample(loosened(text, rng) if loose else text, read))
    return examples


def batches_of(examples: Sequence[CaptionExample], size: int) -> list[list[CaptionExample]]:
    """In batches of captions of about one length, which need little padding."""
    ordered = sorted(examples, key=lambda one: len(one.text))
    return [list(ordered[start : start + size]) for start in range(0, len(ordered), size)]
