"""Noise and weather: noise, wind, rain, drips, waves, thunder, fire."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from arcmobile.posttrain.sounds.attributes import Attributes, Mono
from arcmobile.posttrain.sounds.sound_class import Synth
from arcmobile.posttrain.sounds.synthesis import (
    band,
    between,
    clock,
    coloured,
    cycles,
    faded,
    fall,
    log_between,
    modes,
    moving_noise,
    place,
    sample_count,
    scattered,
    sine,
    wander,
)
from arcmobile.posttrain.sounds.voicing import (
    heard_seconds,
    hits,
    whole_clip,
)

_NOISE_BANDS = {"dark": (30.0, 350.0), "bright": (5000.0, 16000.0), None: (30.0, 16000.0)}


def _noise(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(heard_seconds(sound, rng))
    noise = coloured(count, band(*_NOISE_BANDS[sound.brightness], 4), rng)
    return whole_clip(sound, faded(noise, 0.005, 0.02))


def _wind(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    gust = wander(count, 1.2, rng)
    howl = moving_noise(count, 380.0 * 2.4**gust, 0.22, rng)
    breath = coloured(count, band(60, 500, 1), rng)
    wind = (0.25 + 0.75 * gust).astype(np.float32) * howl + np.float32(0.25) * breath
    return faded(wind, 0.15, 0.15)


def _drop(hertz: float, rise: float, falls: float) -> Mono:
    """A bubble of air in water: a sine that rises while it decays."""
    count = sample_count(1.2 * falls)
    pitch = hertz * (1 + rise * clock(count) / falls)
    return faded(sine(cycles(pitch, count)) * fall(count, falls), 0.002, 0.2 * falls)


def _rain(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    hiss = coloured(count, band(2500, 11000, 1), rng) * np.float32(0.16)
    onsets = scattered(sound.seconds, between(rng, 90, 150), rng)
    kinds = [
        modes(sample_count(0.02), [log_between(rng, 1500, 6000)], [between(rng, 0.006, 0.014)], [1])
        for _ in range(12)
    ]
    forces = 0.25 + 0.75 * rng.uniform(0, 1, len(onsets)) ** 3
    grains = [
        kinds[int(kind)] * np.float32(force)
        for kind, force in zip(rng.integers(12, size=len(onsets)), forces, strict=True)
    ]
    return faded(hiss + place(count, onsets, grains), 0.06, 0.1)


def _drips(sound: Attributes, rng: np.random.Generator) -> Mono:
    def drip() -> Mono:
        hertz = log_between(rng, 700, 1500)
        first = _drop(hertz, between(rng, 0.15, 0.35), between(rng, 0.05, 0.08))
        echo = _drop(hertz * 1.3, 0.2, 0.04) * np.float32(0.3)
        return place(sample_count(0.14), [0.0, between(rng, 0.04, 0.06)], [first, echo])

    return hits(sound, rng, drip, jitter=0.12, softest=0.6)


def _waves(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    period = between(rng, 2.2, 3.2)
    turn = (clock(count) / period + between(rng, 0.0, 0.15)) % 1.0
    swell = np.where(turn < 0.45, turn / 0.45, np.exp(-(turn - 0.45) * 5.0))
    wash = coloured(count, band(150, 1600, 1), rng)
    foam = coloured(count, band(1500, 7000, 1), rng)
    level = swell.astype(np.float32)
    return faded((np.float32(0.1) + level) * wash + level**3 * foam * 0.7, 0.08, 0.12)


def _thunder(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    rumble = coloured(count, band(25, 130, 2), rng)
    roll = 0.35 + 0.65 * wander(count, 4.0, rng)
    crack_count = min(count, sample_count(0.5))
    crack = coloured(crack_count, band(120, 2200, 1), rng) * fall(crack_count, 0.45)
    thunder = rumble * roll.astype(np.float32) * fall(count, between(rng, 2.6, 4.0))
    thunder[:crack_count] += np.float32(0.9) * crack
    return faded(thunder, 0.02, 0.2)


def _fire(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    onsets = scattered(sound.seconds, between(rng, 16, 26), rng)
    grains = []
    for _ in onsets:
        snap = sample_count(between(rng, 0.004, 0.018))
        noise = coloured(snap, band(1200, 9000, 1), rng) * fall(snap, 0.006)
        grains.append(noise * np.float32(0.15 + 0.85 * rng.uniform() ** 3))
    roar = coloured(count, band(60, 260, 2), rng) * np.float32(0.09)
    flicker = (0.4 + 0.6 * wander(count, 5.0, rng)).astype(np.float32)
    return faded(place(count, onsets, grains) + roar * flicker, 0.05, 0.08)


SYNTHS: Mapping[str, Synth] = {
    "noise": _noise,
    "wind": _wind,
    "rain": _rain,
    "drips": _drips,
    "waves": _waves,
    "thunder": _thunder,
    "fire": _fire,
}
"""Synthesis of each class of this family, by name."""
