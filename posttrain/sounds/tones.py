"""Steady tones: sine, square, saw, organ, pad, and a synth arpeggio."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from arcmobile.posttrain.sounds.attributes import Attributes, Mono
from arcmobile.posttrain.sounds.sound_class import Synth
from arcmobile.posttrain.sounds.synthesis import (
    Curve,
    between,
    cycles,
    event_times,
    faded,
    fall,
    harmonic_table,
    log_between,
    place,
    sample_count,
    sine,
    softened,
    wander,
    wave,
)
from arcmobile.posttrain.sounds.voicing import (
    START_SECONDS,
    events_of,
    heard_seconds,
    hertz_of,
    whole_clip,
)

_ORGAN_STOPS = {1: 1.0, 2: 0.55, 3: 0.4, 4: 0.3, 6: 0.18, 8: 0.14}
_BRIGHT_LIFT = 0.35
_TRIADS = ((1.0, 1.25, 1.5), (1.0, 1.2, 1.5))


def saw_levels(number: Curve) -> Curve:
    """Return the amplitudes of a saw wave's harmonics."""
    return 1.0 / number


def square_levels(number: Curve) -> Curve:
    """Return the amplitudes of a square wave's harmonics."""
    return np.where(number % 2 == 1, 1.0 / number, 0.0)


def _buzz_table(
    sound: Attributes,
    levels: Callable[[Curve], Curve],
    rng: np.random.Generator,
    phases: np.random.Generator | None = None,
) -> Curve:
    """A cycle whose harmonics end early where it is dark and are lifted where it is bright."""
    hertz = hertz_of(sound)
    lift = _BRIGHT_LIFT if sound.brightness == "bright" else 0.0
    if sound.brightness == "dark":
        cutoff = max(between(rng, 250, 380), 0.9 * hertz)
    elif sound.brightness == "bright":
        cutoff = between(rng, 12000, 16000)
    else:
        cutoff = max(between(rng, 2000, 2600), 2.0 * hertz)
    return harmonic_table(
        softened(lambda number: levels(number) * number**lift, hertz, cutoff), hertz, phases
    )


def _tremolo(count: int, per_second: float, depth: float, rng: np.random.Generator) -> Mono:
    swing = sine(cycles(per_second, count, between(rng, 0, 1)))
    return np.float32(1.0 - depth / 2) + np.float32(depth / 2) * swing


def _sine_tone(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(heard_seconds(sound, rng))
    phase = cycles(hertz_of(sound), count)
    tone = sine(phase) + np.float32(between(rng, 0.0, 0.02)) * sine(2 * phase)
    return whole_clip(sound, faded(tone, between(rng, 0.005, 0.03), between(rng, 0.02, 0.06)))


def _square_buzz(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(heard_seconds(sound, rng))
    hertz = hertz_of(sound)
    tone = wave(cycles(hertz, count), _buzz_table(sound, square_levels, rng))
    return whole_clip(sound, faded(tone, 0.004, between(rng, 0.01, 0.03)))


def _saw_synth(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(heard_seconds(sound, rng))
    hertz = hertz_of(sound)
    table = _buzz_table(sound, saw_levels, rng)
    spread = between(rng, 0.002, 0.005)
    tone = np.zeros(count, dtype=np.float32)
    for detune in (-spread, 0.0, spread):
        tone += wave(cycles(hertz * (1 + detune), count, between(rng, 0, 1)), table)
    return whole_clip(sound, faded(tone, between(rng, 0.005, 0.03), between(rng, 0.03, 0.08)))


def _organ_levels(number: Curve) -> Curve:
    return np.array([_ORGAN_STOPS.get(int(value), 0.0) for value in number])


def _organ_chord(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(heard_seconds(sound, rng))
    hertz = hertz_of(sound)
    table = harmonic_table(_organ_levels, hertz * 1.5)
    chord = np.zeros(count, dtype=np.float32)
    for ratio, level in zip(_TRIADS[int(rng.integers(2))], (1.0, 0.5, 0.5), strict=True):
        chord += np.float32(level) * wave(cycles(hertz * ratio, count, between(rng, 0, 1)), table)
    chord *= _tremolo(count, between(rng, 5.5, 6.8), between(rng, 0.2, 0.4), rng)
    return whole_clip(sound, faded(chord, 0.02, between(rng, 0.04, 0.1)))


def _pad(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    hertz = hertz_of(sound)
    table = _buzz_table(sound, saw_levels, rng, phases=rng)
    layers = ((1.0, 1.0), (1.004, 0.8), (0.996, 0.8), (1.5, 0.35), (2.003, 0.3))
    pad = np.zeros(count, dtype=np.float32)
    for ratio, level in layers:
        drift = hertz * ratio * (1 + 0.003 * (wander(count, 1.0, rng) - 0.5))
        pad += np.float32(level) * wave(cycles(drift, count, between(rng, 0, 1)), table)
    rise = min(between(rng, 0.35, 0.6), 0.4 * sound.seconds)
    return faded(pad, rise, 0.6 * rise)


def _arpeggio(sound: Attributes, rng: np.random.Generator) -> Mono:
    count = sample_count(sound.seconds)
    root = log_between(rng, 260, 420)
    steps = (1.0, _TRIADS[int(rng.integers(2))][1], 1.5, 2.0)
    note = sample_count(0.9 / events_of(sound))
    table = harmonic_table(softened(square_levels, root, 2500.0), 2 * root)
    decay = fall(note, 0.9 / events_of(sound))
    grains = [
        faded(wave(cycles(root * ratio, note), table) * decay, 0.003, 0.02) for ratio in steps
    ]
    onsets = event_times(sound.seconds, events_of(sound), 0.0, rng, START_SECONDS)
    return place(count, onsets, [grains[index % 4] for index in range(len(onsets))])


SYNTHS: Mapping[str, Synth] = {
    "sine tone": _sine_tone,
    "square buzz": _square_buzz,
    "saw synth": _saw_synth,
    "organ chord": _organ_chord,
    "pad": _pad,
    "arpeggio": _arpeggio,
}
"""Synthesis of each class of this family, by name."""
