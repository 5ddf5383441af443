"""Filter banks that long strided convolutions start from: spectra in, spectra out.

A convolution that turns 128 samples into one frame, or back, has to become some time-frequency
transform before anything behind it can learn. Started from one, the layers at the frame rate learn
to read and write spectra from their first step (the idea of Siuzdak 2024, "Vocos", within Oobleck).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LOWEST_HERTZ = 40.0


def lapped_cosines(bands: int) -> Tensor:
    """The modified discrete cosine transform of ``bands`` with a sine window, (bands, 2 * bands).

    Frames of a hop of ``bands`` samples, added up where they overlap, give any signal back, and
    keep its energy (Princen and Bradley 1986; the rows are orthonormal).
    """
    time = np.arange(2 * bands)
    band = np.arange(bands)[:, None] + 0.5
    window = np.sin(np.pi * (time + 0.5) / (2 * bands))
    rows = window * np.cos(np.pi / bands * (time + 0.5 + bands / 2) * band)
    return torch.from_numpy(rows * np.sqrt(2 / bands)).float()


def mel_spaced_pairs(pairs: int, length: int, sample_rate: int) -> Tensor:
    """Windowed cosines and sines at mel-spaced frequencies, (2 * pairs, length), of unit norm.

    The higher the frequency, the shorter the window, so that neighbours meet without a gap.
    """
    top = 2595 * np.log10(1 + 0.45 * sample_rate / 700)
    bottom = 2595 * np.log10(1 + _LOWEST_HERTZ / 700)
    hertz = 700 * (10 ** (np.linspace(bottom, top, pairs) / 2595) - 1)
    spacing = np.gradient(hertz)
    time = np.arange(length) - (length - 1) / 2
    rows = []
    for frequency, width in zip(hertz, spacing, strict=True):
        support = np.clip(2 * sample_rate / width, 8, length)
        window = np.where(np.abs(time) < support / 2, np.cos(np.pi * time / support), 0) ** 2
        angle = 2 * np.pi * frequency / sample_rate * time
        rows += [window * np.cos(angle), window * np.sin(angle)]
    filters = np.stack(rows)
    return torch.from_numpy(filters / np.linalg.norm(filters, axis=1, keepdims=True)).float()
