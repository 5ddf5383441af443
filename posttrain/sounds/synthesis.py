"""The building blocks of all sounds: oscillators, ringing modes, coloured noise, rows of events."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

from arcmobile.posttrain.sounds.attributes import MODEL_SAMPLE_RATE, Mono

Curve = npt.NDArray[np.float64]
Spectrum = Callable[[Curve], Curve]
"""Gain over frequency in Hz."""

_TABLE = 4096
_HIGHEST_PARTIAL = 17000.0
_BLOCK = 512
_DECADE_30_DB = np.log(10.0 ** (30.0 / 20.0))


def sample_count(seconds: float) -> int:
    """Return the number of samples of a duration."""
    return round(seconds * MODEL_SAMPLE_RATE)


def clock(count: int) -> Curve:
    """Return seconds since the first sample, (count,)."""
    return np.arange(count) / MODEL_SAMPLE_RATE


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number, uniformly."""
    return float(rng.uniform(low, high))


def log_between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number, uniformly on a log scale, as pitch is perceived."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


# Oscillators


def cycles(hertz: float | Curve, count: int, start: float = 0.0) -> Curve:
    """Return the phase (count,) in cycles of an oscillator whose frequency may change."""
    if isinstance(hertz, np.ndarray):
        return np.asarray(np.cumsum(hertz) / MODEL_SAMPLE_RATE + start)
    return clock(count) * hertz + start


def sine(phase: Curve) -> Mono:
    """Return the sine of a phase in cycles."""
    turns: Mono = (phase % 1.0).astype(np.float32)
    return np.sin(np.float32(2 * np.pi) * turns)


def harmonic_table(
    levels: Callable[[Curve], Curve], hertz: float, rng: np.random.Generator | None = None
) -> Curve:
    """Make one band-limited cycle of the harmonics 1, 2, ... of ``hertz``, peak 1.

    ``levels`` maps their numbers to amplitudes. With ``rng`` their phases are random, which makes
    a softer wave of the same spectrum.
    """
    count = max(1, min(int(_HIGHEST_PARTIAL / hertz), _TABLE // 8))
    numbers = np.arange(1, count + 1, dtype=np.float64)
    spectrum = np.zeros(_TABLE // 2 + 1, dtype=np.complex128)
    phases = np.zeros(count) if rng is None else rng.uniform(0, 2 * np.pi, count)
    spectrum[1 : count + 1] = -1j * levels(numbers) * np.exp(1j * phases)
    table = np.fft.irfft(spectrum)
    table /= np.max(np.abs(table)) + 1e-12
    return np.append(table, table[0])


def wave(phase: Curve, table: Curve) -> Mono:
    """Read one cycle at a changing phase, by linear interpolation."""
    place = (phase % 1.0) * _TABLE
    whole = place.astype(np.int32)
    part = (place - whole).astype(np.float32)
    table32 = table.astype(np.float32)
    low = table32[whole]
    return low + part * (table32[whole + 1] - low)


def softened(levels: Callable[[Curve], Curve], hertz: float, cutoff: float) -> Callable[..., Curve]:
    """Return harmonic levels after a second-order low-pass at ``cutoff`` Hz."""
    return lambda number: levels(number) / np.sqrt(1.0 + (number * hertz / cutoff) ** 4)


def modes(
    count: int,
    hertz: Sequence[float] | Curve,
    fall_30_db: Sequence[float] | Curve,
    levels: Sequence[float] | Curve,
    rng: np.random.Generator | None = None,
) -> Mono:
    """Return the sum (count,) of decaying sines: Hz, seconds to fall by 30 dB, amplitude.

    Powers of one complex number per mode, split into blocks and remainders, so that the sum of
    all modes is a single matrix product.
    """
    frequencies = np.asarray(hertz, dtype=np.float64)
    audible = frequencies < _HIGHEST_PARTIAL
    frequencies = frequencies[audible]
    falls = np.asarray(fall_30_db, dtype=np.float64)[audible]
    amplitudes = np.asarray(levels, dtype=np.float64)[audible].astype(np.complex128)
    if rng is not None:
        amplitudes = amplitudes * np.exp(1j * rng.uniform(0, 2 * np.pi, len(amplitudes)))
    exponent = (2j * np.pi * frequencies - _DECADE_30_DB / falls) / MODEL_SAMPLE_RATE
    blocks = -(-count // _BLOCK)
    starts = amplitudes[:, None] * np.exp(exponent[:, None] * (np.arange(blocks) * _BLOCK))
    steps = np.exp(exponent[:, None] * np.arange(_BLOCK))
    product = starts.astype(np.complex64).T @ steps.astype(np.complex64)
    return np.ascontiguousarray(product.imag.reshape(-1)[:count])


# Envelopes


def fall(count: int, fall_30_db: float) -> Mono:
    """Return an exponential decay (count,) by 30 dB in the given seconds."""
    return np.exp(clock(count) * (-_DECADE_30_DB / fall_30_db)).astype(np.float32)


def faded(audio: Mono, attack: float, release: float) -> Mono:
    """Apply a raised-cosine start and end, in seconds, each at most half the sound."""
    result = audio.copy()
    half = len(audio) // 2
    for seconds, part in ((attack, slice(None)), (release, slice(None, None, -1))):
        length = min(sample_count(seconds), half)
        if length > 0:
            ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(length) / length)
            result[part][:length] *= ramp.astype(np.float32)
    return result


def wander(count: int, per_second: float, rng: np.random.Generator) -> Curve:
    """Return a smooth random curve (count,) from 0 to 1 with about so many turns per second."""
    knots = max(4, int(count / MODEL_SAMPLE_RATE * per_second * 2) + 3)
    heights = rng.uniform(0, 1, knots)
    place = np.linspace(0, knots - 1.001, count)
    whole = place.astype(np.int64)
    part = place - whole
    part = part * part * (3 - 2 * part)
    return heights[whole] * (1 - part) + heights[whole + 1] * part


# Noise


def white(count: int, rng: np.random.Generator) -> Mono:
    """Return white noise (count,), standard deviation 1."""
    return rng.standard_normal(count, dtype=np.float32)


def coloured(count: int, gain: Spectrum, rng: np.random.Generator) -> Mono:
    """Return noise (count,) of the given spectrum, standard deviation 1."""
    length = fft.next_fast_len(max(count, 64), real=True)
    bins = length // 2 + 1
    spectrum = (white(bins, rng) + 1j * white(bins, rng)).astype(np.complex64)
    spectrum *= gain(bin_hertz(length)).astype(np.float32)
    spectrum[0] = 0
    audio: Mono = fft.irfft(spectrum, length)[:count].astype(np.float32)
    return audio / np.float32(np.std(audio) + 1e-12)


def bin_hertz(length: int) -> Curve:
    """Return the frequencies of a real Fourier transform, (length / 2 + 1,)."""
    return np.asarray(fft.rfftfreq(length, 1 / MODEL_SAMPLE_RATE), dtype=np.float64)


def band(low: float, high: float, order: int = 2) -> Spectrum:
    """Return a Butterworth-like gain between two edges in Hz; 0 or infinity: no edge."""

    def gain(hertz: Curve) -> Curve:
        above = 1.0 / (1.0 + (low / np.maximum(hertz, 1e-3)) ** (2 * order))
        below = 1.0 / (1.0 + (hertz / high) ** (2 * order))
        return np.sqrt(above * below)

    return gain


def moving_noise(
    count: int, centre: Curve, octaves: float, rng: np.random.Generator, floor: float = 0.0
) -> Mono:
    """Return noise (count,) in a band that follows ``centre`` (count,) in Hz.

    The band is ``octaves`` wide, ``floor`` the gain far from it. White noise in overlapping
    windows, each shaped by its own Gaussian over log frequency.
    """
    window, hop = 1024, 256
    frames = count // hop + 5
    source = white((frames - 1) * hop + window, rng)
    windows = np.lib.stride_tricks.sliding_window_view(source, window)[::hop]
    taper = signal.windows.hann(window, sym=False).astype(np.float32)
    spectra = fft.rfft(windows * taper, axis=1)
    at = np.clip((np.arange(frames) - 2) * hop, 0, count - 1)
    octave = np.log2(np.maximum(bin_hertz(window), 10.0))
    distance = (octave[None, :] - np.log2(centre[at])[:, None]) / (octaves / 2)
    spectra *= (floor + np.exp(-0.5 * distance**2)).astype(np.float32)
    shaped: npt.NDArray[np.float32] = fft.irfft(spectra, window, axis=1).astype(np.float32) * taper
    lanes = window // hop
    result = np.zeros((frames + lanes - 1, hop), dtype=np.float32)
    for lane in range(lanes):
        result[lane : lane + frames] += shaped[:, lane * hop : (lane + 1) * hop]
    audio = result.reshape(-1)[window : window + count]
    return audio / np.float32(np.std(audio) + 1e-12)


# Rows of events


def event_times(
    seconds: float, events: float, jitter: float, rng: np.random.Generator, start: float = 0.01
) -> list[float]:
    """Return onsets from ``start`` at ``events`` per second, with jitter in intervals."""
    count = int((seconds - start - 0.03) * events) + 1
    offsets = rng.uniform(-jitter, jitter, count)
    offsets[0] = max(0.0, offsets[0])
    return [start + (index + float(offset)) / events for index, offset in enumerate(offsets)]


def place(count: int, onsets: Sequence[float], grains: Sequence[Mono]) -> Mono:
    """Place a grain at each onset in seconds, in a clip (count,) that cuts the last ones."""
    result = np.zeros(count, dtype=np.float32)
    for onset, grain in zip(onsets, grains, strict=True):
        at = sample_count(onset)
        length = min(len(grain), count - at)
        if length > 0:
            result[at : at + length] += grain[:length]
    return result


def scattered(seconds: float, per_second: float, rng: np.random.Generator) -> list[float]:
    """Return random onsets, about so many per second, at least one."""
    count = max(1, int(rng.poisson(seconds * per_second)))
    return sorted(float(onset) for onset in rng.uniform(0.0, max(seconds - 0.05, 0.01), count))
