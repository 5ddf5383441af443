"""What is declared of a class of sounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from arcmobile.posttrain.sounds.attributes import (
    Attributes,
    Brightness,
    Length,
    Mono,
    Pitch,
    Speed,
)

Synth = Callable[[Attributes, np.random.Generator], Mono]
Repeats = Literal["never", "sometimes", "always"]


@dataclass(frozen=True)
class SoundClass:
    """A class of sounds; ``classes.toml`` explains its words.

    Attributes:
        name: of the class.
        nouns: what captions call it, with an article if it takes one.
        synth: synthesizes it.
        plurals: what captions call a row of events.
        pitches: words that may be said of it; likewise ``speeds``, ``brightness``, ``lengths``.
        speeds: words for the speed of a row.
        repeats: whether it is one event, may be, or is by nature a row of events.
        beats_per_event: events of a beat; 0 where nobody would name a tempo.
        brightness: words for its spectrum.
        lengths: words for its duration.
        wide: gets a narrow stereo image in the centre.
        minimum_seconds: shortest clip that it fits into.
    """

    name: str
    nouns: tuple[str, ...]
    synth: Synth
    plurals: tuple[str, ...] = ()
    pitches: tuple[Pitch, ...] = ()
    speeds: tuple[Speed, ...] = ()
    repeats: Repeats = "never"
    beats_per_event: float = 0.0
    brightness: tuple[Brightness, ...] = ()
    lengths: tuple[Length, ...] = ()
    wide: bool = False
    minimum_seconds: float = 0.0
