"""Struck and plucked things: bell, chimes, marimba, glockenspiel, strings, wood block, gong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from arcmobile.posttrain.sounds.attributes import Attributes, Mono
from arcmobile.posttrain.sounds.sound_class import Synth
from arcmobile.posttrain.sounds.synthesis import (
    band,
    between,
    coloured,
    cycles,
    faded,
    fall,
    log_between,
    modes,
    place,
    sample_count,
    scattered,
    sine,
)
from arcmobile.posttrain.sounds.voicing import (
    damped,
    hertz_of,
    hits,
    ring_seconds,
)

# Partials over the strike note, and how loud and how lasting each is.
_BELL = ((1.0, 1.0, 1.0), (1.2, 0.5, 0.8), (1.5, 0.3, 0.6), (2.0, 0.65, 0.6), (2.51, 0.3, 0.4))
_BELL_TOP = ((3.01, 0.25, 0.3), (4.17, 0.2, 0.2), (5.43, 0.14, 0.14), (6.8, 0.1, 0.1))
_TUBE = (1.0, 2.76, 5.4, 8.93)
_GRAIN_SECONDS = 1.2


def _room(sound: Attributes) -> float:
    """Seconds a grain may take: the clip for one hit, a little over the interval in a row."""
    if sound.events is None:
        return sound.seconds
    return min(1.5 / sound.events, _GRAIN_SECONDS)


def _struck(
    sound: Attributes,
    rng: np.random.Generator,
    partials: Sequence[tuple[float, float, float]],
    rings: float,
) -> Mono:
    """Rows of ringing partials (ratio, level, share of the ring); slightly uneven each time."""
    count = sample_count(_room(sound))
    hertz = hertz_of(sound)

    def hit() -> Mono:
        levels = [level * between(rng, 0.8, 1.2) for _, level, _ in partials]
        ratios = [ratio * between(rng, 0.998, 1.002) for ratio, _, _ in partials]
        ratios[0] = partials[0][0]
        grain = modes(
            count, [hertz * r for r in ratios], [rings * d for _, _, d in partials], levels
        )
        return faded(grain, 0.001, 0.03)

    return hits(sound, rng, hit)


def _bell(sound: Attributes, rng: np.random.Generator) -> Mono:
    rings = ring_seconds(sound, rng, 0.8, 1.3)
    return _struck(sound, rng, _BELL + _BELL_TOP, rings)


def _marimba(sound: Attributes, rng: np.random.Generator) -> Mono:
    rings = between(rng, 0.3, 0.5) * (200.0 / hertz_of(sound)) ** 0.25
    return _struck(sound, rng, ((1.0, 1.0, 1.0), (3.98, 0.35, 0.3), (10.2, 0.12, 0.12)), rings)


def _glockenspiel(sound: Attributes, rng: np.random.Generator) -> Mono:
    rings = ring_seconds(sound, rng, 0.9, 1.3)
    partials = ((1.0, 1.0, 1.0), (2.76, 0.5, 0.45), (5.4, 0.3, 0.2), (8.93, 0.15, 0.1))
    return _struck(sound, rng, partials, rings)


def _chimes(sound: Attributes, rng: np.random.Generator) -> Mono:
    root = log_between(rng, 1000, 1300)
    scale = root * np.array([1.0, 9 / 8, 5 / 4, 3 / 2, 5 / 3, 2.0])
    onsets = [0.012, *scattered(sound.seconds, between(rng, 4.0, 6.0), rng)]
    length = sample_count(min(sound.seconds, 1.8))
    tubes = [
        modes(
            length,
            [hertz * ratio for ratio in _TUBE],
            [1.3, 0.8, 0.4, 0.2],
            [1.0, 0.7, 0.4, 0.2],
        )
        for hertz in scale
    ]
    grains = [
        tubes[int(rng.integers(len(tubes)))] * np.float32(between(rng, 0.3, 1.0)) for _ in onsets
    ]
    return faded(place(sample_count(sound.seconds), onsets, grains), 0.0, 0.12)


def _string(
    hertz: float, count: int, rings: float, softness: float, rng: np.random.Generator
) -> Mono:
    """Harmonics of a string plucked a fifth to a third along; high ones die sooner."""
    numbers = np.arange(1, max(2, min(90, int(12000 / hertz))) + 1)
    stiff = numbers * np.sqrt(1 + 6e-5 * numbers**2)
    levels = np.abs(np.sin(np.pi * numbers * between(rng, 0.19, 0.3))) / numbers**softness
    levels[0] = max(levels[0], 0.9)
    falls = np.asarray(rings / (1 + 0.22 * (numbers - 1)), dtype=np.float64)
    return modes(count, hertz * stiff, falls, levels)


def _pluck(sound: Attributes, rng: np.random.Generator) -> Mono:
    hertz = hertz_of(sound)
    rings = ring_seconds(sound, rng, 0.7, 1.2)
    softness = {"dark": 3.2, "bright": 0.3, None: 1.0}[sound.brightness]
    count = sample_count(_room(sound))
    return hits(sound, rng, lambda: faded(_string(hertz, count, rings, softness, rng), 0.001, 0.02))


def _bass_pluck(sound: Attributes, rng: np.random.Generator) -> Mono:
    hertz = log_between(rng, 42, 70)
    rings = ring_seconds(sound, rng, 0.7, 1.1)
    count = sample_count(_room(sound))

    def hit() -> Mono:
        thump = coloured(sample_count(0.03), band(200, 900), rng) * np.float32(0.06)
        grain = _string(hertz, count, rings, 1.3, rng)
        numbers = sample_count(0.03)
        grain[:numbers] += thump * fall(numbers, 0.02)
        return faded(grain, 0.002, 0.03)

    return hits(sound, rng, hit)


def _wood_block(sound: Attributes, rng: np.random.Generator) -> Mono:
    hertz = hertz_of(sound)
    count = sample_count(0.15)

    def hit() -> Mono:
        grain = modes(count, [hertz, hertz * 1.53, hertz * 2.6], [0.07, 0.04, 0.02], [1, 0.5, 0.35])
        return damped(grain, 0.12)

    return hits(sound, rng, hit)


def _gong(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    base = log_between(rng, 70, 100)
    low = base * np.array([1.0, 1.52, 2.05, 2.61, 3.2, 3.87, 4.6])
    high = rng.uniform(500, 4500, 40)
    body = modes(count, low, rng.uniform(2.0, 3.2, 7), 1 / np.arange(1, 8) ** 0.6, rng)
    shimmer = modes(count, high, 700.0 / high + 0.6, rng.uniform(0.05, 0.2, 40), rng)
    bloom = 1 - fall(count, between(rng, 0.5, 0.9))
    start = sine(cycles(base * 0.5, count)) * fall(count, 0.1) * np.float32(0.5)
    return faded(body + shimmer * bloom + start, 0.006, 0.12)


SYNTHS: Mapping[str, Synth] = {
    "bell": _bell,
    "chimes": _chimes,
    "marimba": _marimba,
    "glockenspiel": _glockenspiel,
    "pluck": _pluck,
    "bass pluck": _bass_pluck,
    "wood block": _wood_block,
    "gong": _gong,
}
"""Synthesis of each class of this family, by name."""
