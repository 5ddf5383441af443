"""Measures the words of a sound from its signal: pitch, speed, brightness, side and length.

Uses neither captions nor classes, so generated audio is judged by the same rules as synthesized
audio. Every measure gives a word where the signal allows one; whether the word applies to a class
is up to the caller (:class:`.sound_class.SoundClass`). Boundaries between words are the geometric
means of the edges of the gap between them (:mod:`.attributes`), or are given below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import signal

from arcmobile.posttrain.sounds.attributes import (
    LONG_SECONDS,
    MODEL_SAMPLE_RATE,
    PITCH_HERTZ,
    SHORT_SECONDS,
    SPEED_EVENTS,
    Brightness,
    Length,
    Mono,
    Pitch,
    Side,
    Speed,
    Stereo,
)
from arcmobile.posttrain.sounds.synthesis import bin_hertz
from arcmobile.runtime.errors import InputError

SIDE_BOUNDARY_DECIBELS = 7.0
"""Half of the least level difference of a panned sound."""
DARK_BELOW_HERTZ = 800.0
BRIGHT_ABOVE_HERTZ = 1300.0
"""Spectral centroids; between them neither word applies."""
SHORT_BELOW_SECONDS = (SHORT_SECONDS[1] * LONG_SECONDS) ** 0.5
"""Boundary of the length words: short sounds are always shorter, long ones always longer."""

_LOWEST_HERTZ, _HIGHEST_HERTZ = 60.0, 3000.0
_PARTIAL_DECIBELS = 15.0
_PARTIAL_WIDTH_HERTZ = 22.0  # half the main lobe of the analysis window
_ACTIVE_DECIBELS = 30.0
_HIDDEN_DECIBELS = 50.0
_ONSET_FLOOR_DECIBELS = 32.0
_RISE_FRAMES = 3
_OCTAVE_BINS = np.array([0, 2, 4, 8, 16, 32, 64, 128, 256])
_LEAST_INTERVAL, _MOST_INTERVAL = 0.1, 1.1
_SAME_PERIOD = 0.64
_TOLERANCE = 0.16
_SILENT = 1e-5
_Word = TypeVar("_Word", bound=str)
_Real = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MeasuredWords:
    """Measures of a sound, and the words for them.

    Attributes:
        side: word for the balance.
        left_over_right_decibels: by which the left channel is louder.
        pitch: word for ``hertz``.
        hertz: lowest strong partial.
        confidence: share (0 to 1) of the energy at multiples of ``hertz``.
        speed: word for ``events``.
        events: per second; None with fewer than two onsets.
        brightness: word for the centroid.
        centroid_hertz: spectral centroid of the loudest moments.
        length: word for the audible duration.
        heard_seconds: audible duration.
    """

    side: Side
    left_over_right_decibels: float
    pitch: Pitch
    hertz: float
    confidence: float
    speed: Speed | None
    events: float | None
    brightness: Brightness | None
    centroid_hertz: float
    length: Length
    heard_seconds: float


def nearest_word(value: float, ranges: Mapping[_Word, tuple[float, float]]) -> _Word:
    """Return the word whose range holds ``value``, or is nearest on a log scale."""

    def distance(word: _Word) -> float:
        low, high = ranges[word]
        return max(np.log(low / value), np.log(value / high), 0.0)

    return min(ranges, key=distance)


def left_over_right(audio: Stereo) -> float:
    """Return the decibels by which the left channel is louder, over the whole clip."""
    energy = np.sum(np.asarray(audio, dtype=np.float64) ** 2, axis=1) + 1e-12
    return float(10 * np.log10(energy[0] / energy[1]))


def side_word(decibels: float) -> Side:
    """Return the word for a level difference."""
    if abs(decibels) < SIDE_BOUNDARY_DECIBELS:
        return "centre"
    return "left" if decibels > 0 else "right"


def _frame_energy(mono: Mono, hop: int) -> _Real:
    """(frames,) mean square of consecutive pieces."""
    frames = max(1, len(mono) // hop)
    padded = np.zeros(frames * hop)
    padded[: min(len(mono), len(padded))] = mono[: len(padded)]
    return np.mean(padded.reshape(frames, hop) ** 2, axis=1)


def heard_seconds(mono: Mono) -> float:
    """Return the seconds between the first and last 10 ms within 30 dB of the loudest."""
    hop = MODEL_SAMPLE_RATE // 100
    energy = _frame_energy(mono, hop)
    active = np.flatnonzero(energy > np.max(energy) * 10 ** (-_ACTIVE_DECIBELS / 10))
    if np.max(energy) < _SILENT**2 or active.size == 0:
        return 0.0
    return float((active[-1] - active[0] + 1) * hop / MODEL_SAMPLE_RATE)


def _loudest_spectrum(mono: Mono) -> tuple[_Real, _Real]:
    """Frequencies and mean power of the loudest frames (4096 samples, at most four)."""
    size, hop, padded_size = 4096, 1024, 32768
    padded = np.concatenate((np.zeros(hop), mono, np.zeros(size)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    loudest = np.argsort(np.sum(frames**2, axis=1))[-4:]
    window = signal.windows.hann(size, sym=False)
    power = np.mean(np.abs(np.fft.rfft(frames[loudest] * window, padded_size, axis=1)) ** 2, axis=0)
    return bin_hertz(padded_size), power


def pitch(mono: Mono) -> tuple[float, float]:
    """Return Hz of the lowest strong partial, and the share of energy at its multiples.

    Strong means within 15 dB of the strongest partial. Harmonic tones, chords over their root and
    bells have their named pitch there; trackers of a common period would find the fundamental of
    the overtone series that a chord belongs to.
    """
    hertz, power = _loudest_spectrum(mono)
    inside = (hertz >= _LOWEST_HERTZ) & (hertz <= _HIGHEST_HERTZ)
    decibels = 10 * np.log10(power + 1e-12)
    peaks, _ = signal.find_peaks(np.where(inside, decibels, -200.0), prominence=8.0)
    if peaks.size == 0:
        return float(hertz[np.argmax(np.where(inside, power, 0.0))]), 0.0
    strong = peaks[decibels[peaks] > np.max(decibels[peaks]) - _PARTIAL_DECIBELS]
    found = float(hertz[strong[0]])
    off = np.abs(hertz / found - np.maximum(1, np.round(hertz / found))) * found
    share = np.sum(power[off < _PARTIAL_WIDTH_HERTZ]) / (np.sum(power) + 1e-12)
    return found, float(share)


def _onset_strength(mono: Mono) -> tuple[_Real, float]:
    """Onset strength over time, and its frames per second: rises of log energy in octaves."""
    size, hop = 1024, 256
    padded = np.concatenate((np.zeros(size), mono, np.zeros(size)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    power = np.abs(np.fft.rfft(frames * signal.windows.hann(size, sym=False), axis=1)) ** 2
    bands = np.add.reduceat(power, _OCTAVE_BINS, axis=1)
    level = np.log10(bands / (np.max(bands) + 1e-12) + 10 ** (-_ONSET_FLOOR_DECIBELS / 10))
    rise = np.maximum(level[_RISE_FRAMES:] - level[:-_RISE_FRAMES], 0.0).sum(axis=1)
    smooth = signal.windows.hann(7)
    strength = np.concatenate((np.zeros(8), signal.convolve(rise, smooth / smooth.sum(), "same")))
    return strength, MODEL_SAMPLE_RATE / hop


def onsets(mono: Mono) -> tuple[_Real, _Real]:
    """Return onset times in seconds, and their strengths (the root of the rise)."""
    strength, per_second = _onset_strength(mono)
    most = float(np.max(strength))
    if most <= 0 or np.max(np.abs(mono)) < _SILENT:
        return np.zeros(0), np.zeros(0)
    peaks, _ = signal.find_peaks(
        strength,
        height=0.18 * most,
        prominence=0.15 * most,
        distance=max(1, int(_LEAST_INTERVAL * per_second)),
    )
    return peaks / per_second, np.sqrt(strength[peaks])


def events_per_second(mono: Mono) -> float | None:
    """Return one over the period of the onsets; None with fewer than two.

    The period is the shortest interval after which onsets of the same strength follow nearly as
    often as at the best interval: so the two thumps of a heartbeat, or heel and toe of a step, are
    one event, and uneven rows are measured by their mean.
    """
    times, strengths = onsets(mono)
    if times.size < 2:
        return None
    gaps = times[None, :] - times[:, None]
    products = strengths[None, :] * strengths[:, None]
    periods = np.geomspace(0.9 * _LEAST_INTERVAL, _MOST_INTERVAL, 140)
    scores = np.zeros(periods.size)
    for index, period in enumerate(periods):
        near = np.exp(-0.5 * ((gaps - period) / (_TOLERANCE * period)) ** 2)
        reach = times + period < times[-1] + _TOLERANCE * period
        most = np.sum(strengths[reach] ** 2)
        best_partner = np.max(near * products, axis=1)[reach]
        scores[index] = np.sum(best_partner) / most if np.any(reach) else 0.0
    good, _ = signal.find_peaks(np.concatenate(([0.0], scores, [0.0])))
    if good.size == 0 or np.max(scores) < 0.05:
        return float(1.0 / np.median(np.diff(times)))
    best = next(peak - 1 for peak in good if scores[peak - 1] > _SAME_PERIOD * np.max(scores))
    distance = (gaps - periods[best]) / (_TOLERANCE * periods[best])
    near = np.exp(-0.5 * distance**2) * products
    return float(np.sum(near) / np.sum(near * gaps))


def centroid_hertz(mono: Mono) -> float:
    """Return the centroid of the amplitude spectrum of the loudest moments, in Hz.

    What is 50 dB below the strongest partial does not count: broad inaudible noise would make a
    dark tone bright.
    """
    hertz, power = _loudest_spectrum(mono)
    amplitude = np.sqrt(power)
    audible = np.maximum(amplitude - np.max(amplitude) * 10 ** (-_HIDDEN_DECIBELS / 20), 0.0)
    return float(np.sum(hertz * audible) / (np.sum(audible) + 1e-12))


def brightness_word(hertz: float) -> Brightness | None:
    """Return the word for a spectral centroid."""
    if hertz < DARK_BELOW_HERTZ:
        return "dark"
    return "bright" if hertz > BRIGHT_ABOVE_HERTZ else None


def measure_words(audio: Stereo) -> MeasuredWords:
    """Measure float audio (2, samples) at the model's rate.

    Raises:
        InputError: it has another shape.
    """
    if audio.ndim != 2 or audio.shape[0] != 2 or audio.shape[1] == 0:
        raise InputError(f"audio is {audio.shape}; wanted (2, samples)")
    balance = left_over_right(audio)
    mono: Mono = audio.mean(axis=0)
    hertz, confidence = pitch(mono)
    events = events_per_second(mono)
    centroid = centroid_hertz(mono)
    heard = heard_seconds(mono)
    return MeasuredWords(
        side=side_word(balance),
        left_over_right_decibels=balance,
        pitch=nearest_word(hertz, PITCH_HERTZ),
        hertz=hertz,
        confidence=confidence,
        speed=None if events is None else nearest_word(events, SPEED_EVENTS),
        events=events,
        brightness=brightness_word(centroid),
        centroid_hertz=centroid,
        length="short" if heard < SHORT_BELOW_SECONDS else "long",
        heard_seconds=heard,
    )
