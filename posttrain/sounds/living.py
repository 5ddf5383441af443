"""The living: heartbeat, footsteps, bubbles, birds, cricket."""

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
    place,
    sample_count,
    scattered,
    sine,
)
from arcmobile.posttrain.sounds.voicing import (
    events_of,
    hits,
)


def _heartbeat(sound: Attributes, rng: np.random.Generator) -> Mono:
    hertz = between(rng, 48, 60)
    gap = min(0.3 / events_of(sound), 0.24)

    def thump(start: float, falls: float) -> Mono:
        count = sample_count(1.2 * falls)
        pitch = start * (0.8 + 0.5 * np.exp(-clock(count) / 0.03))
        return faded(sine(cycles(pitch, count)) * fall(count, falls), 0.012, 0.03)

    def beat() -> Mono:
        both = [thump(hertz, 0.16), thump(1.2 * hertz, 0.11) * np.float32(0.38)]
        return place(sample_count(gap + 0.2), [0.0, gap], both)

    return hits(sound, rng, beat, jitter=0.01, softest=0.92)


def _footsteps(sound: Attributes, rng: np.random.Generator) -> Mono:
    def step() -> Mono:
        heel = sample_count(0.12)
        knock = coloured(heel, band(90, 320, 2), rng) * fall(heel, 0.07)
        tap = coloured(heel, band(700, 2600, 1), rng) * fall(heel, 0.02) * np.float32(0.5)
        toe = coloured(heel, band(1000, 4500, 1), rng) * np.float32(0.22)
        toe = faded(toe * fall(heel, 0.1), 0.02, 0.03)
        return place(sample_count(0.22), [0.0, between(rng, 0.07, 0.09)], [knock + tap, toe])

    return hits(sound, rng, step, jitter=0.04, softest=0.7)


def _bubbles(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    onsets = scattered(sound.seconds, between(rng, 14, 20), rng)
    grains = []
    for _ in onsets:
        length = sample_count(between(rng, 0.04, 0.08))
        pitch = log_between(rng, 260, 800) * (1 + 0.9 * clock(length) / 0.06)
        blip = sine(cycles(pitch, length)) * fall(length, 0.08)
        grains.append(faded(blip, 0.006, 0.02) * np.float32(between(rng, 0.3, 1.0)))
    return faded(place(count, onsets, grains), 0.01, 0.05)


def _birds(sound: Attributes, rng: np.random.Generator) -> Mono:
    centre = log_between(rng, 3000, 4200)
    length = min(0.55 / events_of(sound), between(rng, 0.1, 0.15))
    count = sample_count(length)

    def tweet() -> Mono:
        turn = clock(count) / length
        bend = 1 + 0.28 * np.sin(np.pi * turn) + 0.1 * np.sin(2 * np.pi * 28 * clock(count))
        call = sine(cycles(centre * between(rng, 0.9, 1.1) * bend, count))
        return faded(call, 0.3 * length, 0.4 * length)

    return hits(sound, rng, tweet, jitter=0.08, softest=0.7)


def _cricket(sound: Attributes, rng: np.random.Generator) -> Mono:
    hertz = between(rng, 4300, 4900)
    pulse = sample_count(0.02)
    gap = between(rng, 0.028, 0.034)
    pulses = 4 if events_of(sound) < 2.4 else 3

    def stridulation() -> Mono:
        one = faded(sine(cycles(hertz, pulse)), 0.006, 0.01)
        steps = [gap * index for index in range(pulses)]
        levels = np.linspace(0.6, 1.0, pulses).astype(np.float32)
        return place(sample_count(gap * pulses), steps, [one * level for level in levels])

    return hits(sound, rng, stridulation, jitter=0.02, softest=0.85)


SYNTHS: Mapping[str, Synth] = {
    "heartbeat": _heartbeat,
    "footsteps": _footsteps,
    "bubbles": _bubbles,
    "birds": _birds,
    "cricket": _cricket,
}
"""Synthesis of each class of this family, by name."""
