"""What a class of sounds declares."""

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
    """``nouns`` come with their article if they take one ("a bell", "rain").

    ``repeats`` says whether the sound is one event, may be, or is by nature a row of events;
    ``speeds`` then are the words it may carry. ``beats_per_event`` turns events into a tempo and
    is 0 where nobody would name one. ``wide`` sounds get a narrow stereo image when they stand in
    the centre. ``minimum_seconds`` keeps a sound that needs room out of short clips.
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
