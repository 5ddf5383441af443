"""What the families of sounds share: how long a sound lasts, and one hit or a row of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from arcmobile.posttrain.sounds.attributes import SHORT_SECONDS, Attributes, Mono
from arcmobile.posttrain.sounds.synthesis import (
    between,
    event_times,
    faded,
    place,
    sample_count,
)

START_SECONDS = 0.012
"""Silence before the first event, so that its attack is complete."""
_DISTINCT_HITS = 3


def hertz_of(sound: Attributes) -> float:
    """Return the frequency of a class that always has a pitch."""
    assert sound.hertz is not None
    return sound.hertz


def events_of(sound: Attributes) -> float:
    """Return the events per second of a class that is always a row."""
    assert sound.events is not None
    return sound.events


def heard_seconds(sound: Attributes, rng: np.random.Generator) -> float:
    """Return the seconds of a steady sound: a blip if short, else the whole clip."""
    if sound.length == "short":
        return between(rng, *SHORT_SECONDS)
    return sound.seconds


def ring_seconds(sound: Attributes, rng: np.random.Generator, low: float, high: float) -> float:
    """Return seconds to fall by 30 dB: by the length word, else ``low`` to ``high``."""
    if sound.length == "short":
        return between(rng, *SHORT_SECONDS)
    if sound.length == "long":
        return between(rng, 1.6, 2.8)
    return between(rng, low, high)


def whole_clip(sound: Attributes, heard: Mono) -> Mono:
    """Pad a sound with silence to the length of its clip."""
    count = sample_count(sound.seconds)
    return place(count, [0.0], [heard])


def hits(
    sound: Attributes,
    rng: np.random.Generator,
    hit: Callable[[], Mono],
    *,
    jitter: float = 0.015,
    softest: float = 0.8,
) -> Mono:
    """Synthesize one hit, or a row of slightly uneven ones."""
    count = sample_count(sound.seconds)
    if sound.events is None:
        return place(count, [START_SECONDS], [hit()])
    onsets = event_times(sound.seconds, sound.events, jitter, rng, START_SECONDS)
    kinds = [hit() for _ in range(min(_DISTINCT_HITS, len(onsets)))]
    grains = [
        kinds[index % len(kinds)] * np.float32(between(rng, softest, 1.0))
        for index in range(len(onsets))
    ]
    return place(count, onsets, grains)


def damped(grain: Mono, seconds: float) -> Mono:
    """Cut a grain to ``seconds`` with a soft end."""
    return faded(grain[: sample_count(seconds)], 0.0, 0.25 * seconds)
