"""Filter banks to initialize long strided convolutions with.

A convolution that turns hundreds of samples into one frame, or back, has to become a transform
between time and frequency before any other layer can learn. Initialized as one, it lets the layers
at the frame rate learn spectra from their first step (the idea of Siuzdak 2024, "Vocos", within
Oobleck).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LOWEST_HERTZ = 40.0


def spaced_tones(tones: int, hop: int) -> Tensor:
    """Return windowed cosines to synthesize with, (tones, 2 * hop), of unit norm.

    All are multiples of the frame rate, so that frames of the same values join to a steady tone:
    magnitudes suffice, no phase has to be learned. Evenly spaced at the bottom, by equal ratios
    above: a hundred of them replace the thousand of a complete transform. Phases are random, or
    noise would be a pulse per frame.
    """
    multiples = tone_multiples(tones, hop)[:, None]
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, (tones, 1))
    time = np.arange(2 * hop) + 0.5
    window = np.sin(np.pi * time / (2 * hop)) ** 2  # adds up to 1 at this hop
    filters = window * np.cos(2 * np.pi * multiples * time / hop + phases)
    return torch.from_numpy(filters / np.linalg.norm(filters, axis=1, keepdims=True)).float()


def tone_multiples(tones: int, hop: int) -> NDArray[np.float64]:
    """Return the frequencies of :func:`spaced_tones` over the frame rate, (tones,), whole."""
    return _spaced(tones, 0.45 * hop)


def _spaced(count: int, top: float) -> NDArray[np.float64]:
    """Whole numbers from 1 up to ``top``: consecutive at first, then by a ratio."""

    def numbers(ratio: float) -> NDArray[np.float64]:
        exact = [1.0]
        while len(exact) < count:
            exact.append(max(exact[-1] + 1, exact[-1] * ratio))
        return np.round(exact)

    low, high = 1.0, 2.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if numbers(middle)[-1] > top else (middle, high)
    return numbers(low)


def mel_spaced_pairs(pairs: int, length: int, sample_rate: int) -> Tensor:
    """Return windowed cosines and sines at mel-spaced frequencies, (2 * pairs, length).

    Of unit norm. The higher the frequency, the shorter the window, so that neighbouring bands meet;
    but never much below the length, or sound between two frames would be missed.
    """
    top = 2595 * np.log10(1 + 0.45 * sample_rate / 700)
    bottom = 2595 * np.log10(1 + _LOWEST_HERTZ / 700)
    hertz = 700 * (10 ** (np.linspace(bottom, top, pairs) / 2595) - 1)
    spacing = np.gradient(hertz)
    time = np.arange(length) - (length - 1) / 2
    rows = []
    for frequency, width in zip(hertz, spacing, strict=True):
        support = np.clip(2 * sample_rate / width, 0.8 * length, length)
        window = np.where(np.abs(time) < support / 2, np.cos(np.pi * time / support), 0) ** 2
        angle = 2 * np.pi * frequency / sample_rate * time
        rows += [window * np.cos(angle), window * np.sin(angle)]
    filters = np.stack(rows)
    return torch.from_numpy(filters / np.linalg.norm(filters, axis=1, keepdims=True)).float()
