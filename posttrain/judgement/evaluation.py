"""Judges rows on held-out prompts: prompts ─► sounds ─► figures, kept in one record per row.

For every row: adherence to the captions, Fréchet distance to the prompts' own synthesized sounds,
and diversity, the mean distance between sounds of one prompt with different seeds. Synthesized
sounds are judged first and show the best possible figures. Only the examples of each row are kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from arcmobile.posttrain.judgement.adherence import (
    MEASURES,
    Tally,
    Verdict,
    judge,
    tallies,
    tallies_by_class,
    worst_confusions,
)
from arcmobile.posttrain.judgement.frechet import Reference, sound_features
from arcmobile.posttrain.judgement.held_out_prompts import Prompt, one_of_each, reference_sound
from arcmobile.posttrain.judgement.rows import Row
from arcmobile.posttrain.judgement.sound_classifier import SoundClassifier
from arcmobile.runtime.errors import InputError

FEWEST_PROMPTS = 2
_WORST_CONFUSIONS = 5
Audio = npt.NDArray[np.float32]
Advance = Callable[[str, int, int], None]
"""Called with the name of a row, the sounds made and the sounds to make."""


@dataclass(frozen=True)
class Mean:
    """A mean over prompts.

    Attributes:
        value: the mean.
        error: its standard error.
    """

    value: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Return the mean of values."""
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
        return cls(float(np.mean(values)), spread / math.sqrt(len(values)))


@dataclass(frozen=True)
class RowResult:
    """Everything measured of one row.

    Attributes:
        row: what made the sounds.
        verdicts: on each prompt's sound.
        frechet: Fréchet distance to synthesized sounds.
        diversity: between seeds; None where sounds do not depend on the seed.
        seconds: to make the sounds, loading included.
        examples: sounds of the example prompts.
    """

    row: Row
    verdicts: Sequence[Verdict]
    frechet: float
    diversity: Mean | None
    seconds: float
    examples: Sequence[Audio]

    @property
    def adherence(self) -> dict[str, Tally]:
        """Share right by measure."""
        return tallies(self.verdicts)

    @property
    def by_class(self) -> dict[str, Tally]:
        """Share recognised by class."""
        return tallies_by_class(self.verdicts)

    def record(self) -> dict[str, Any]:
        """Return all figures as JSON."""
        return {
            "name": self.row.name,
            "how": self.row.how,
            "ceiling": self.row.ceiling,
            "seconds": round(self.seconds, 2),
            "adherence": {name: _tally(tally) for name, tally in self.adherence.items()},
            "classes": {
                name: {"right": tally.right, "of": tally.count}
                for name, tally in self.by_class.items()
            },
            "confusions": [
                {"expected": expected, "heard": heard, "times": times}
                for expected, heard, times in worst_confusions(self.verdicts, _WORST_CONFUSIONS)
            ],
            "frechet": round(self.frechet, 4),
            "diversity": None
            if self.diversity is None
            else {
                "mean": round(self.diversity.value, 4),
                "standard_error": _finite(self.diversity.error),
            },
            "heard": [verdict.heard for verdict in self.verdicts],
        }


def _tally(tally: Tally) -> dict[str, Any]:
    low, high = tally.interval
    return {
        "right": tally.right,
        "of": tally.count,
        "share": _finite(tally.share),
        "low": round(low, 4),
        "high": round(high, 4),
    }


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


class Evaluation:
    """Prompts, their synthesized sounds as the reference, and the classifier.

    Args:
        prompts: two or more.
        classifier: finds the class of a sound.
        seed: of every row's sounds; those of diversity count up from it.
        variants: sounds of one prompt that diversity compares; 1: none.
        examples: number of prompts whose sounds are kept, spread evenly over the classes.

    Attributes:
        examples: indices of the example prompts.
        reference_examples: their synthesized sounds.

    Raises:
        InputError: there are too few prompts.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        classifier: SoundClassifier,
        *,
        seed: int = 0,
        variants: int = 2,
        examples: int = 0,
    ):
        if len(prompts) < FEWEST_PROMPTS:
            raise InputError(f"{len(prompts)} prompts; give at least {FEWEST_PROMPTS}")
        self.prompts, self.classifier = prompts, classifier
        self.seed, self.variants = seed, variants
        self.varied = one_of_each(prompts)
        synthesized = [reference_sound(prompt) for prompt in prompts]
        kept = min(examples, len(self.varied))
        self.examples = [
            prompts.index(self.varied[index * len(self.varied) // kept]) for index in range(kept)
        ]
        self.reference_examples = [synthesized[place] for place in self.examples]
        self.reference = Reference.of(sound_features(synthesized))

    def judge(self, row: Row, advance: Advance = lambda name, done, total: None) -> RowResult:
        """Make the row's sounds and judge them."""
        total = len(self.prompts) + (self.variants - 1) * len(self.varied)
        done, begin = 0, time.perf_counter()

        def generate(prompts: Sequence[Prompt], seed: int) -> list[Audio]:
            nonlocal done
            sounds = []
            for sound in row.generate(prompts, seed):
                sounds.append(sound)
                done += 1
                advance(row.name, done, total)
            return sounds

        sounds = generate(self.prompts, self.seed)
        others = [
            sound_features(generate(self.varied, self.seed + extra))
            for extra in range(1, self.variants)
        ]
        seconds = time.perf_counter() - begin
        features = sound_features(sounds)
        first = features[[self.prompts.index(prompt) for prompt in self.varied]]
        diversity = None
        if others and not np.array_equal(first, others[0]):
            diversity = Mean.of(self.reference.diversity(np.stack([first, *others])))
        return RowResult(
            row=row,
            verdicts=judge(sounds, self.prompts, self.classifier),
            frechet=self.reference.distance(features),
            diversity=diversity,
            seconds=seconds,
            examples=[sounds[place] for place in self.examples],
        )

    def record(self, results: Sequence[RowResult]) -> dict[str, Any]:
        """Return what all rows share, and the record of each, as JSON."""
        return {
            "seed": self.seed,
            "variants": self.variants,
            "measures": list(MEASURES),
            "prompts": [
                {
                    "seed": prompt.seed,
                    "caption": prompt.caption,
                    "sound": prompt.attributes.sound,
                    "seconds": prompt.seconds,
                }
                for prompt in self.prompts
            ],
            "rows": [result.record() for result in results],
        }
