"""Machines: engine, helicopter, clock, sonar, typewriter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from arcmobile.posttrain.sounds.attributes import Attributes, Mono
from arcmobile.posttrain.sounds.sound_class import Synth
from arcmobile.posttrain.sounds.synthesis import (
    band,
    between,
    coloured,
    cycles,
    event_times,
    faded,
    fall,
    harmonic_table,
    log_between,
    modes,
    place,
    sample_count,
    sine,
    wander,
    wave,
)
from arcmobile.posttrain.sounds.voicing import (
    START_SECONDS,
    events_of,
    hits,
)


def _engine(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    firing = between(rng, 50, 80)
    uneven = 1 + 0.05 * (wander(count, 2.5, rng) - 0.5)
    phase = cycles(firing * uneven, count)
    levels = rng.uniform(0.25, 1.0, 600)
    table = harmonic_table(
        lambda number: levels[: len(number)] / (1 + (number * firing / 260.0) ** 1.5), firing, rng
    )
    breath = coloured(count, band(150, 2500, 1), rng)
    pulse = (phase % 1.0).astype(np.float32)
    return faded(wave(phase, table) + np.float32(0.06) * breath * np.exp(-5 * pulse), 0.05, 0.08)


def _helicopter(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    whine = log_between(rng, 900, 1300)
    length = sample_count(min(0.8 / events_of(sound), 0.16))
    tone = sine(cycles(whine, count)) + sine(cycles(1.5 * whine, count))
    wash = coloured(count, band(200, 1200, 1), rng) * np.float32(0.05)

    def blade() -> Mono:
        return faded(coloured(length, band(50, 260, 2), rng) * fall(length, 0.13), 0.012, 0.02)

    rotor = hits(sound, rng, blade, jitter=0.01, softest=0.9)
    return faded(rotor + wash + np.float32(0.05) * tone, 0.01, 0.06)


def _clock(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    body = log_between(rng, 2100, 2900)
    length = sample_count(0.05)

    def click(shift: float, level: float) -> Mono:
        partials = np.array([0.42, 1.0, 1.63, 2.37]) * body * shift
        return faded(
            modes(length, partials, [0.02, 0.022, 0.014, 0.009], [0.4, 1.0, 0.6, 0.4])
            * np.float32(level),
            0.0003,
            0.01,
        )

    ticks = (click(1.0, 1.0), click(0.8, 0.85))
    onsets = event_times(sound.seconds, events_of(sound), 0.005, rng, START_SECONDS)
    return place(count, onsets, [ticks[index % 2] for index in range(len(onsets))])


def _sonar(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    hertz = log_between(rng, 850, 1250)
    length = min(count, sample_count(1.6))
    ping = sine(cycles(hertz, length)) * fall(length, between(rng, 0.5, 0.8))
    ping = faded(ping, 0.006, 0.1)
    gap = between(rng, 1.3, 1.8)
    onsets, grains = [], []
    for start in np.arange(START_SECONDS, max(sound.seconds - 0.3, gap), gap):
        for delay, level in ((0.0, 1.0), (0.23, 0.3), (0.46, 0.1)):
            onsets.append(float(start) + delay)
            grains.append(ping * np.float32(level))
    return faded(place(count, onsets, grains), 0.0, 0.05)


def _typewriter(sound: Attributes, rng: np.random.Generator) -> Mono:
    body = log_between(rng, 340, 480)

    def key() -> Mono:
        length = sample_count(0.06)
        strike = coloured(length, band(1500, 6500, 1), rng) * fall(length, 0.022)
        thud = modes(length, [body, 2.3 * body], [0.04, 0.025], [1.6, 0.8])
        lift = coloured(length, band(2500, 7000, 1), rng) * fall(length, 0.01) * np.float32(0.25)
        return place(sample_count(0.12), [0.0, between(rng, 0.045, 0.06)], [strike + thud, lift])

    return hits(sound, rng, key, jitter=0.14, softest=0.55)


SYNTHS: Mapping[str, Synth] = {
    "engine": _engine,
    "helicopter": _helicopter,
    "clock": _clock,
    "sonar": _sonar,
    "typewriter": _typewriter,
}
"""Synthesis of each class of this family, by name."""
