"""Judges rows on held-out prompts: prompts ─► sounds ─► figures, kept in one record per row.

Of every row: adherence to the captions, Frechet distance to the prompts' own drawn sounds, and
diversity, the mean distance between sounds of one prompt with different seeds. Drawn sounds are
judged first, so that each figure stands beside what is best attainable. Sounds are judged row by
row; of each row only the examples are kept.
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
from arcmobile.posttrain.judgement.held_out_prompts import Prompt, drawn_sound, one_of_each
from arcmobile.posttrain.judgement.rows import Row
from arcmobile.posttrain.judgement.sound_classifier import SoundClassifier
from arcmobile.runtime.errors import InputError

FEWEST_PROMPTS = 2
_WORST_CONFUSIONS = 5
Audio = npt.NDArray[np.float32]
Advance = Callable[[str, int, int], None]
"""Name of a row, sounds made, sounds to make."""


@dataclass(frozen=True)
class Mean:
    """A mean over prompts and its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
        return cls(float(np.mean(values)), spread / math.sqrt(len(values)))


@dataclass(frozen=True)
class RowResult:
    """Everything measured of one row; ``examples`` are its sounds of the example prompts.

    ``diversity`` is None where the row's sounds do not depend on the seed; ``seconds`` is what
    making the sounds took, loading included.
    """

    row: Row
    verdicts: Sequence[Verdict]
    frechet: float
    diversity: Mean | None
    seconds: float
    examples: Sequence[Audio]

    @property
    def adherence(self) -> dict[str, Tally]:
        return tallies(self.verdicts)

    @property
    def by_class(self) -> dict[str, Tally]:
        return tallies_by_class(self.verdicts)

    def record(self) -> dict[str, Any]:
        """All figures as JSON."""
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
                {"asked": asked, "heard": heard, "times": times}
                for asked, heard, times in worst_confusions(self.verdicts, _WORST_CONFUSIONS)
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
    """Prompts, their drawn sounds as the reference, and the judge.

    Args:
        prompts: two or more.
        classifier: names the class of a sound.
        seed: of every row's sounds; others are counted up from it.
        variants: sounds of one prompt that diversity compares; 1: none.
        examples: sounds of so many prompts are kept, spread evenly over the classes.
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
        drawn = [drawn_sound(prompt) for prompt in prompts]
        kept = min(examples, len(self.varied))
        self.examples = [
            prompts.index(self.varied[index * len(self.varied) // kept]) for index in range(kept)
        ]
        """Places of the example prompts."""
        self.drawn_examples = [drawn[place] for place in self.examples]
        self.reference = Reference.of(sound_features(drawn))

    def judge(self, row: Row, advance: Advance = lambda name, done, total: None) -> RowResult:
        """Makes the row's sounds and judges them; errors of the row's engine are passed on."""
        total = len(self.prompts) + (self.variants - 1) * len(self.varied)
        done, begin = 0, time.perf_counter()

        def made(prompts: Sequence[Prompt], seed: int) -> list[Audio]:
            nonlocal done
            sounds = []
            for sound in row.generate(prompts, seed):
                sounds.append(sound)
                done += 1
                advance(row.name, done, total)
            return sounds

        sounds = made(self.prompts, self.seed)
        others = [
            sound_features(made(self.varied, self.seed + extra))
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
        """What all rows share, and the record of each, as JSON."""
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
