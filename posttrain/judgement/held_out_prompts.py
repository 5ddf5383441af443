"""Captions that no training has seen, each with the attributes of its sound.

A prompt is the caption of a synthesized sound: seeds from HELD_OUT_SEED on are kept out of every
training. All prompts are single sounds, and all classes have the same number of them (or one more),
in the order of their seeds: the first ``len(CLASSES)`` prompts are one of every class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from arcmobile.posttrain.autoencoder.crops import HELD_OUT_SEED
from arcmobile.posttrain.sounds import CLASSES, Attributes, caption, synthesize, synthesize_with
from arcmobile.posttrain.sounds.choosing import choose
from arcmobile.runtime.errors import InputError

SEEDS_PER_SET = 1 << 20
"""Prompt set n takes its sounds from seed HELD_OUT_SEED + n * SEEDS_PER_SET on."""

MAX_SET = HELD_OUT_SEED // SEEDS_PER_SET - 1
_TRIED_PER_PROMPT = 2000
Audio = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prompt:
    """A held-out caption.

    Attributes:
        seed: of the synthesized sound.
        caption: its caption.
        attributes: what the sound must be.
        seconds: to generate.
    """

    seed: int
    caption: str
    attributes: Attributes
    seconds: float


def held_out_prompts(count: int, number: int = 0, longest: float = np.inf) -> list[Prompt]:
    """Return ``count`` prompts of at most ``longest`` seconds, from the prompt set ``number``.

    Raises:
        InputError: count or set is out of range, or there are no sounds of that length.
    """
    if count < 1 or not 0 <= number <= MAX_SET:
        raise InputError(
            f"prompts: {count} of set {number}; wanted 1 or more, of set 0 to {MAX_SET}"
        )
    quota, extra = divmod(count, len(CLASSES))
    found: dict[str, list[Prompt]] = {name: [] for name in CLASSES}
    wanted = dict.fromkeys(CLASSES, quota + 1 if extra else quota)
    first = HELD_OUT_SEED + number * SEEDS_PER_SET
    for seed in range(first, first + _TRIED_PER_PROMPT * (quota + 1)):
        rng = np.random.Generator(np.random.PCG64(seed))
        attributes = choose(rng)
        taken = found[attributes.sound]
        if attributes.second is None and attributes.seconds <= longest:
            if len(taken) < wanted[attributes.sound]:
                text = caption(attributes, rng)
                taken.append(Prompt(seed, text, attributes, attributes.seconds))
            if all(len(found[name]) >= wanted[name] for name in CLASSES):
                break
    else:
        raise InputError(f"no held-out sounds of every class within {longest:.2f} s")
    rounds = range(quota + 1 if extra else quota)
    return [found[name][index] for index in rounds for name in CLASSES][:count]


def reference_sound(prompt: Prompt) -> Audio:
    """Synthesize the sound that the caption describes, (2, samples)."""
    return synthesize(prompt.seed).audio


def resynthesized(prompt: Prompt, seed: int) -> Audio:
    """Synthesize another sound of the same words, with new numbers, (2, samples)."""
    words = replace(prompt.attributes, hertz=None, events=None, bpm=None)
    return synthesize_with(words, np.random.default_rng([prompt.seed, seed])).audio


def one_of_each(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the first prompt of every class."""
    first: dict[str, Prompt] = {}
    for prompt in prompts:
        first.setdefault(prompt.attributes.sound, prompt)
    return list(first.values())
