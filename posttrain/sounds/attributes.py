"""What can be said about a sound and checked from its signal: the words and the ranges they mean.

Every number that stands behind a word has its one home here. Between the ranges of two words of
one kind lies a gap that no drawn sound falls into, and the boundary that tells the words apart
(:mod:`.signal_words`) lies inside that gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

MODEL_SAMPLE_RATE = 44100
"""Samples per second and channel of everything in this package."""

DRAWN_SECONDS = (1.0, 3.7)
"""Shortest and longest duration drawn when none is asked for."""

Pitch = Literal["low", "mid", "high"]
Speed = Literal["slow", "medium", "fast"]
Brightness = Literal["dark", "bright"]
Side = Literal["left", "centre", "right"]
Length = Literal["short", "long"]
Joined = Literal["together", "then"]
Mono = npt.NDArray[np.float32]
"""One channel, (samples,)."""
Stereo = npt.NDArray[np.float32]
"""Left and right, (2, samples)."""

PITCH_HERTZ: Mapping[Pitch, tuple[float, float]] = {
    "low": (80.0, 180.0),
    "mid": (300.0, 600.0),
    "high": (1000.0, 2400.0),
}
SPEED_EVENTS: Mapping[Speed, tuple[float, float]] = {  # events per second
    "slow": (1.2, 2.0),
    "medium": (2.8, 4.0),
    "fast": (5.0, 8.0),
}
SHORT_SECONDS = (0.14, 0.36)
"""How long a short sound is heard."""
LONG_SECONDS = 1.3
"""A long sound is heard for at least this long."""
SIDE_DECIBELS = (14.0, 30.0)
"""How much louder the named channel of a panned sound is."""


@dataclass(frozen=True)
class Attributes:
    """One sound in words and numbers; None where a word does not apply to it.

    ``hertz`` stands behind ``pitch``, ``events`` (per second) behind ``speed``; ``bpm`` is the
    tempo where the sound has one. ``second`` is the other sound of a pair, and ``joined`` says
    whether the two sound together or one after the other; ``seconds`` is then that of the pair.
    """

    sound: str
    seconds: float
    side: Side = "centre"
    pitch: Pitch | None = None
    hertz: float | None = None
    speed: Speed | None = None
    events: float | None = None
    bpm: int | None = None
    brightness: Brightness | None = None
    length: Length | None = None
    joined: Joined | None = None
    second: Attributes | None = None

    @property
    def own_seconds(self) -> float:
        """Seconds of this sound alone: what the pair leaves before its second sound starts."""
        if self.second is None or self.joined != "then":
            return self.seconds
        return round(self.seconds - self.second.seconds, 2)


@dataclass(frozen=True)
class CaptionedSound:
    """``audio`` is float32 (2, samples) at :data:`MODEL_SAMPLE_RATE`, its peak under 1."""

    audio: Stereo
    caption: str
    attributes: Attributes
    seconds: float
