"""Tones on the move: chirps, siren, laser, alarm, telephone, and a sweep of noise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from arcmobile.posttrain.sounds.attributes import Attributes, Mono
from arcmobile.posttrain.sounds.sound_class import Synth
from arcmobile.posttrain.sounds.synthesis import (
    Curve,
    between,
    clock,
    cycles,
    faded,
    fall,
    harmonic_table,
    log_between,
    modes,
    moving_noise,
    place,
    sample_count,
    sine,
    softened,
    wave,
)
from arcmobile.posttrain.sounds.tones import saw_levels, square_levels
from arcmobile.posttrain.sounds.voicing import (
    START_SECONDS,
    events_of,
    heard_seconds,
    hertz_of,
    hits,
    whole_clip,
)


def _glide(start: float, end: float, count: int) -> Curve:
    """Hz, moving at a steady rate in octaves."""
    return np.geomspace(start, end, count)


def _chirp(sound: Attributes, rng: np.random.Generator, rising: bool) -> Mono:
    count = sample_count(heard_seconds(sound, rng))
    low, high = log_between(rng, 180, 350), log_between(rng, 2200, 4200)
    phase = cycles(_glide(low, high, count) if rising else _glide(high, low, count), count)
    return whole_clip(sound, faded(sine(phase), 0.015, 0.03))


def _chirp_up(sound: Attributes, rng: np.random.Generator) -> Mono:
    return _chirp(sound, rng, rising=True)


def _chirp_down(sound: Attributes, rng: np.random.Generator) -> Mono:
    return _chirp(sound, rng, rising=False)


def _siren(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    low, high = between(rng, 480, 600), between(rng, 1150, 1450)
    turn = clock(count) * between(rng, 0.8, 1.6) + between(rng, 0, 1)
    height = 0.5 - 0.5 * np.cos(2 * np.pi * turn)
    table = harmonic_table(softened(saw_levels, 700.0, 2600.0), high)
    wail = wave(cycles(low * (high / low) ** height, count), table)
    return faded(wail, 0.03, 0.06)


def _laser(sound: Attributes, rng: np.random.Generator) -> Mono:
    top, bottom = log_between(rng, 4500, 7000), log_between(rng, 180, 320)
    slowness = between(rng, 0.16, 0.24)
    most = 1.0 if sound.events is None else 0.9 / sound.events
    count = sample_count(min(1.6 * slowness, most))
    table = harmonic_table(softened(square_levels, 1000.0, 5000.0), 2000.0)

    def zap() -> Mono:
        drop = bottom + (top - bottom) * np.exp(-clock(count) / (0.22 * slowness))
        tone = wave(cycles(drop * between(rng, 0.97, 1.03), count), table)
        return faded(tone * fall(count, 2.2 * slowness), 0.002, 0.02)

    return hits(sound, rng, zap)


def _alarm(sound: Attributes, rng: np.random.Generator) -> Mono:
    hertz = hertz_of(sound)
    count = sample_count(0.5 / events_of(sound))
    table = harmonic_table(softened(square_levels, hertz, 3.5 * hertz), hertz)
    beep = faded(wave(cycles(hertz, count), table), 0.004, 0.008)
    return hits(sound, rng, lambda: beep, jitter=0.0, softest=1.0)


def _telephone(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    stroke = between(rng, 20.0, 24.0)
    ring, pause = between(rng, 0.7, 1.0), between(rng, 0.35, 0.5)
    first = log_between(rng, 1250, 1500)
    grains: list[Mono] = []
    onsets: list[float] = []
    for gong in (first, first * between(rng, 1.18, 1.26)):
        grains.append(
            modes(
                sample_count(0.5),
                [gong, gong * 2.71, gong * 4.9],
                [0.45, 0.25, 0.12],
                [1.0, 0.5, 0.25],
            )
        )
    starts = np.arange(START_SECONDS, sound.seconds, ring + pause)
    for start in starts:
        strokes = int(ring * stroke)
        onsets += [float(start) + index / stroke for index in range(strokes)]
    rung = [grains[index % 2] for index in range(len(onsets))]
    return faded(place(count, onsets, rung), 0.0, 0.05)


def _whoosh(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    progress = clock(count) / sound.seconds
    top = between(rng, 0.45, 0.6)
    height = np.where(progress < top, progress / top, (1 - progress) / (1 - top))
    height = height * height * (3 - 2 * height)
    low, high = log_between(rng, 220, 350), log_between(rng, 5000, 8000)
    noise = moving_noise(count, low * (high / low) ** height, 0.9, rng)
    return faded(noise * (0.12 + 0.88 * height).astype(np.float32), 0.05, 0.08)


SYNTHS: Mapping[str, Synth] = {
    "chirp up": _chirp_up,
    "chirp down": _chirp_down,
    "siren": _siren,
    "laser": _laser,
    "alarm": _alarm,
    "telephone": _telephone,
    "whoosh": _whoosh,
}
"""Synthesis of each class of this family, by name."""
