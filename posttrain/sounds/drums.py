"""Drums, one by one and as a loop of kick, snare and hat at a tempo."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from arcmobile.posttrain.sounds.attributes import Attributes, Mono
from arcmobile.posttrain.sounds.sound_class import Synth
from arcmobile.posttrain.sounds.synthesis import (
    band,
    between,
    clock,
    coloured,
    cycles,
    event_times,
    faded,
    fall,
    harmonic_table,
    modes,
    place,
    sample_count,
    sine,
    wave,
)
from arcmobile.posttrain.sounds.tones import square_levels
from arcmobile.posttrain.sounds.voicing import (
    START_SECONDS,
    events_of,
    hits,
)

_SWELL = 0.0006  # seconds: the softest attack that still clicks


def _thump(start: float, end: float, drop: float, falls: float) -> Mono:
    """A membrane: a sine that drops from ``start`` to ``end`` Hz while it decays."""
    count = sample_count(1.1 * falls)
    hertz = end + (start - end) * np.exp(-clock(count) / drop)
    return sine(cycles(hertz, count)) * fall(count, falls)


def _burst(low: float, high: float, falls: float, rng: np.random.Generator) -> Mono:
    """A decaying band of noise, about as loud as a thump."""
    count = sample_count(1.1 * falls)
    return np.float32(0.3) * coloured(count, band(low, high, 3), rng) * fall(count, falls)


def _mixed(*layers: tuple[float, Mono]) -> Mono:
    result = np.zeros(max(len(layer) for _, layer in layers), dtype=np.float32)
    for level, layer in layers:
        result[: len(layer)] += np.float32(level) * layer
    return faded(result, _SWELL, 0.01)


def kick(rng: np.random.Generator) -> Mono:
    """Synthesize a kick drum."""
    body = _thump(between(rng, 150, 210), between(rng, 45, 58), 0.03, between(rng, 0.25, 0.38))
    return _mixed((1.0, body), (0.5, _burst(1500, 5000, 0.014, rng)))


def snare(rng: np.random.Generator) -> Mono:
    """Synthesize a snare drum."""
    body = _thump(between(rng, 260, 320), between(rng, 175, 210), 0.015, 0.11)
    return _mixed((0.6, body), (1.0, _burst(1200, 9000, between(rng, 0.15, 0.22), rng)))


def _hat(falls: float, rng: np.random.Generator) -> Mono:
    count = sample_count(1.1 * falls)
    metal = modes(count, rng.uniform(6500, 13000, 12), np.full(12, falls), np.full(12, 0.05), rng)
    return _mixed((1.0, _burst(7000, 14000, falls, rng)), (1.0, metal))


def closed_hat(rng: np.random.Generator) -> Mono:
    """Synthesize a closed hi-hat."""
    return _hat(between(rng, 0.035, 0.06), rng)


def open_hat(rng: np.random.Generator) -> Mono:
    """Synthesize an open hi-hat."""
    return _hat(between(rng, 0.4, 0.65), rng)


def clap(rng: np.random.Generator) -> Mono:
    """Synthesize a hand clap."""
    gap = between(rng, 0.009, 0.013)
    grains = [_burst(900, 2600, 0.012, rng) for _ in range(3)]
    grains.append(_burst(900, 2600, between(rng, 0.12, 0.18), rng))
    return faded(place(sample_count(0.25), [0, gap, 2 * gap, 3 * gap], grains), _SWELL, 0.01)


def tom(rng: np.random.Generator) -> Mono:
    """Synthesize a tom."""
    hertz, falls = between(rng, 110, 165), between(rng, 0.4, 0.55)
    overtone = _thump(1.9 * hertz, 1.59 * hertz, 0.06, 0.4 * falls)
    return _mixed((1.0, _thump(1.35 * hertz, hertz, 0.08, falls)), (0.35, overtone))


def cowbell(rng: np.random.Generator) -> Mono:
    """Synthesize a cowbell."""
    hertz, falls = between(rng, 530, 590), between(rng, 0.2, 0.3)
    count = sample_count(falls)
    table = harmonic_table(square_levels, 4 * hertz)
    tone = wave(cycles(hertz, count), table) + wave(cycles(1.5 * hertz, count), table)
    return _mixed((0.5, tone * fall(count, falls)))


def _row_of(hit: Callable[[np.random.Generator], Mono]) -> Synth:
    def synth(sound: Attributes, rng: np.random.Generator) -> Mono:
        return hits(sound, rng, lambda: hit(rng))

    return synth


def _drum_loop(sound: Attributes, rng: np.random.Generator) -> Mono:
    """Hats on every event, kick and snare in turn on every other one."""
    count = sample_count(sound.seconds)
    onsets = event_times(sound.seconds, events_of(sound), 0.0, rng, START_SECONDS)
    drums = [kick(rng), snare(rng)]
    hat = closed_hat(rng) * np.float32(between(rng, 0.6, 0.8))
    loop = place(count, onsets, [hat] * len(onsets))
    beats = onsets[::2]
    return loop + place(count, beats, [drums[index % 2] for index in range(len(beats))])


SYNTHS: Mapping[str, Synth] = {
    "kick": _row_of(kick),
    "snare": _row_of(snare),
    "closed hat": _row_of(closed_hat),
    "open hat": _row_of(open_hat),
    "clap": _row_of(clap),
    "tom": _row_of(tom),
    "cowbell": _row_of(cowbell),
    "drum loop": _drum_loop,
}
"""Synthesis of each class of this family, by name."""
