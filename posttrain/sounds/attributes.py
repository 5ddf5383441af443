"""What can be said about a sound and checked from its signal: words and the ranges they mean.

Every number behind a word is defined here. Between the ranges of two words of one kind is a gap
that no synthesized sound falls into, and the boundary between the words (:mod:`.signal_words`) is
inside that gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

MODEL_SAMPLE_RATE = 44100
"""Samples per second and channel of everything in this package."""

DEFAULT_SECONDS = (1.0, 3.7)
"""Shortest and longest duration when none is given."""

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
"""Audible seconds of a short sound."""
LONG_SECONDS = 1.3
"""Least audible seconds of a long sound."""
SIDE_DECIBELS = (14.0, 30.0)
"""By how much the named channel of a panned sound is louder."""


@dataclass(frozen=True)
class Attributes:
    """One sound in words and numbers; None where a word does not apply to it.

    Attributes:
        sound: name of the class.
        seconds: duration, of a pair where there is a second sound.
        side: where it is.
        pitch: word for ``hertz``.
        hertz: fundamental frequency.
        speed: word for ``events``.
        events: per second, of a row of events.
        bpm: tempo, where the sound has one.
        brightness: of its spectrum.
        length: of its sound.
        joined: whether a pair sounds together or one after the other.
        second: the other sound of a pair.
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
        """Seconds of this sound alone: until the second sound of a pair starts."""
        if self.second is None or self.joined != "then":
            return self.seconds
        return round(self.seconds - self.second.seconds, 2)


@dataclass(frozen=True)
class CaptionedSound:
    """A synthesized sound.

    Attributes:
        audio: float32 (2, samples) at :data:`MODEL_SAMPLE_RATE`, its peak below 1.
        caption: one true wording of the attributes.
        attributes: of the sound.
        seconds: its duration.
    """

    audio: Stereo
    caption: str
    attributes: Attributes
    seconds: float
