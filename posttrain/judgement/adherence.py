"""Whether sounds are what their captions ask for: the class, and every word that is stated.

The class is named by :mod:`.sound_classifier`. Words are heard by the rules of
:mod:`arcmobile.posttrain.sounds.signal_words`, which know nothing of captions; only those count
that the caption states and that the class can carry. Rules and classifier err now and then on drawn
sounds too, so every table shows what drawn sounds reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from arcmobile.posttrain.judgement.held_out_prompts import Prompt
from arcmobile.posttrain.judgement.sound_classifier import NAMES, SoundClassifier, classify
from arcmobile.posttrain.judgement.stated_words import KINDS, Kind, stated_words
from arcmobile.posttrain.sounds.signal_words import hear

MEASURES = ("class", *KINDS, "all")
"""Of a table, in order; "all" is right where the class and every stated word are."""

_NORMAL_95 = 1.959964
Audio = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tally:
    """``right`` of ``count`` cases."""

    right: int
    count: int

    @property
    def share(self) -> float:
        """0 to 1; nan of no cases."""
        return self.right / self.count if self.count else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """95 % score interval of the share (Wilson 1927, "Probable inference")."""
        if not self.count:
            return 0.0, 1.0
        squared, share = _NORMAL_95**2 / self.count, self.share
        middle = (share + squared / 2) / (1 + squared)
        half = np.sqrt(share * (1 - share) * squared + squared**2 / 4) / (1 + squared)
        return max(0.0, float(middle - half)), min(1.0, float(middle + half))


@dataclass(frozen=True)
class Verdict:
    """What was heard in one clip: the class (None in silence), and whether each word is right."""

    prompt: Prompt
    heard: str | None
    words: Mapping[Kind, bool] = field(default_factory=dict)

    @property
    def measures(self) -> dict[str, bool]:
        """Right or not by measure; those that do not apply are left out."""
        right: dict[str, bool] = {"class": self.heard == self.prompt.attributes.sound}
        right.update((kind, found) for kind, found in self.words.items())
        return {**right, "all": all(right.values())}


def judge(
    sounds: Sequence[Audio], prompts: Sequence[Prompt], classifier: SoundClassifier
) -> list[Verdict]:
    """A verdict on each sound (2, samples), made for the prompt at its place."""
    guesses = classify(classifier, sounds)
    return [
        Verdict(prompt, guess.name, _words(sound, prompt, silent=guess.name is None))
        for sound, prompt, guess in zip(sounds, prompts, guesses, strict=True)
    ]


def _words(sound: Audio, prompt: Prompt, *, silent: bool) -> dict[Kind, bool]:
    stated = stated_words(prompt.caption)
    wanted = {kind: getattr(prompt.attributes, kind) for kind in KINDS if kind in stated}
    asked = {kind: word for kind, word in wanted.items() if word is not None}
    if silent:
        return dict.fromkeys(asked, False)
    heard = hear(sound)
    return {kind: getattr(heard, kind) == word for kind, word in asked.items()}


def tallies(verdicts: Sequence[Verdict]) -> dict[str, Tally]:
    """A tally for each of MEASURES."""
    found = [verdict.measures for verdict in verdicts]
    return {
        measure: Tally(
            sum(one.get(measure, False) for one in found), sum(measure in one for one in found)
        )
        for measure in MEASURES
    }


def tallies_by_class(verdicts: Sequence[Verdict]) -> dict[str, Tally]:
    """How often each class of sounds was recognised, in the order of NAMES."""
    results = {}
    for name in NAMES:
        right = [v.heard == name for v in verdicts if v.prompt.attributes.sound == name]
        results[name] = Tally(sum(right), len(right))
    return results


def worst_confusions(verdicts: Sequence[Verdict], count: int) -> list[tuple[str, str, int]]:
    """The pairs (asked for, heard) of different classes that occur most often, and how often."""
    pairs: dict[tuple[str, str], int] = {}
    for verdict in verdicts:
        asked, heard = verdict.prompt.attributes.sound, verdict.heard or "silence"
        if asked != heard:
            pairs[asked, heard] = pairs.get((asked, heard), 0) + 1
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [(asked, heard, times) for (asked, heard), times in ranked[:count]]
