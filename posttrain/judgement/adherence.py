"""Whether sounds are what their captions ask for: the class, and every word that is stated.

The class is found by :mod:`.sound_classifier`. Words are measured by the rules of
:mod:`arcmobile.posttrain.sounds.signal_words`, which do not see captions; a word counts if the
caption states it and it applies to the class. Rules and classifier are not perfect on synthesized
sounds either, so every table shows what these reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from arcmobile.posttrain.judgement.held_out_prompts import Prompt
from arcmobile.posttrain.judgement.sound_classifier import NAMES, SoundClassifier, classify
from arcmobile.posttrain.judgement.stated_words import KINDS, Kind, stated_words
from arcmobile.posttrain.sounds.signal_words import measure_words

MEASURES = ("class", *KINDS, "all")
"""Measures in the order of the tables; "all" is right where class and stated words are."""

_NORMAL_95 = 1.959964
Audio = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tally:
    """Cases that are right.

    Attributes:
        right: how many are right.
        count: of how many.
    """

    right: int
    count: int

    @property
    def share(self) -> float:
        """The share that is right, 0 to 1; NaN without cases."""
        return self.right / self.count if self.count else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % score interval of the share (Wilson 1927, "Probable inference")."""
        if not self.count:
            return 0.0, 1.0
        squared, share = _NORMAL_95**2 / self.count, self.share
        middle = (share + squared / 2) / (1 + squared)
        half = np.sqrt(share * (1 - share) * squared + squared**2 / 4) / (1 + squared)
        return max(0.0, float(middle - half)), min(1.0, float(middle + half))


@dataclass(frozen=True)
class Verdict:
    """What one clip sounds like.

    Attributes:
        prompt: what was asked for.
        heard: the class; None for silence.
        words: whether each stated word is right.
    """

    prompt: Prompt
    heard: str | None
    words: Mapping[Kind, bool] = field(default_factory=dict)

    @property
    def measures(self) -> dict[str, bool]:
        """Whether each measure that applies is right."""
        right: dict[str, bool] = {"class": self.heard == self.prompt.attributes.sound}
        right.update((kind, found) for kind, found in self.words.items())
        return {**right, "all": all(right.values())}


def judge(
    sounds: Sequence[Audio], prompts: Sequence[Prompt], classifier: SoundClassifier
) -> list[Verdict]:
    """Judge sounds (2, samples), each made for the prompt at its place."""
    guesses = classify(classifier, sounds)
    return [
        Verdict(prompt, guess.name, _words(sound, prompt, silent=guess.name is None))
        for sound, prompt, guess in zip(sounds, prompts, guesses, strict=True)
    ]


def _words(sound: Audio, prompt: Prompt, *, silent: bool) -> dict[Kind, bool]:
    stated = stated_words(prompt.caption)
    wanted = {kind: getattr(prompt.attributes, kind) for kind in KINDS if kind in stated}
    expected = {kind: word for kind, word in wanted.items() if word is not None}
    if silent:
        return dict.fromkeys(expected, False)
    measured = measure_words(sound)
    return {kind: getattr(measured, kind) == word for kind, word in expected.items()}


def tallies(verdicts: Sequence[Verdict]) -> dict[str, Tally]:
    """Count the right verdicts for each of :data:`MEASURES`."""
    found = [verdict.measures for verdict in verdicts]
    return {
        measure: Tally(
            sum(measures.get(measure, False) for measures in found),
            sum(measure in measures for measures in found),
        )
        for measure in MEASURES
    }


def tallies_by_class(verdicts: Sequence[Verdict]) -> dict[str, Tally]:
    """Count how often each class was recognised, in the order of ``NAMES``."""
    results = {}
    for name in NAMES:
        right = [v.heard == name for v in verdicts if v.prompt.attributes.sound == name]
        results[name] = Tally(sum(right), len(right))
    return results


def worst_confusions(verdicts: Sequence[Verdict], count: int) -> list[tuple[str, str, int]]:
    """Return the most frequent confusions: expected class, heard class, how often."""
    pairs: dict[tuple[str, str], int] = {}
    for verdict in verdicts:
        expected, heard = verdict.prompt.attributes.sound, verdict.heard or "silence"
        if expected != heard:
            pairs[expected, heard] = pairs.get((expected, heard), 0) + 1
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [(expected, heard, times) for (expected, heard), times in ranked[:count]]
