"""Spectral losses between stereo sounds: multi-resolution STFT (left, right, mid, side), log-mel.

As in the training of Stable Audio's autoencoder (Evans et al. 2024, "Long-form music generation
with latent diffusion", section 3.1; Steinmetz et al. 2021, "Automatic multitrack mixing with a
differentiable mixing console of neural audio effects", for the sum and the difference): at each of
several FFT sizes, spectral convergence plus the L1 distance of log magnitudes (Yamamoto et al.
2020, "Parallel WaveGAN", eq. 4 to 6).

Mid and side are made from the spectra, which are linear, so they cost no transform. Spectra are
divided by the root of the window's energy: white noise of rms r has magnitudes of about r at every
FFT size, so one floor in the logs means the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from arcmobile.posttrain.sounds import MODEL_SAMPLE_RATE

FFT_SIZES = (4096, 2048, 1024, 512, 256, 128)
"""Samples; the hop is a quarter of it."""

FLOOR = 1e-3
"""Magnitude at which a logarithm no longer separates quiet from silent: -60 dB of full-scale noise.

At -80 dB the silence between sounds made up most of the loss.
"""

LOGARITHM = 0.2
"""Weight of the logs' distance."""

_OVERLAP = 4
QUIETEST = 0.03  # spectral convergence relates errors to no less than this rms
_MEL_BANDS, _MEL_FFT = 80, 2048


def short_time_spectra(audio: Tensor, size: int, hop: int | None = None) -> Tensor:
    """Map (B, C, samples) to Hann-windowed spectra: real (B, C, size // 2 + 1, frames, 2).

    The hop is a quarter of the size by default; samples before the start and after the end are 0.
    """
    window = torch.hann_window(size, device=audio.device)
    batch, channels, samples = audio.shape
    spectra = torch.stft(
        audio.reshape(batch * channels, samples),
        size,
        hop or size // _OVERLAP,
        window=window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    scaled = torch.view_as_real(spectra) * (window.square().sum() ** -0.5)
    return scaled.view(batch, channels, *scaled.shape[1:])


def left_right_mid_side(spectra: Tensor) -> Tensor:
    """Map (B, 2, ...) to (B, 4, ...): mid and side are sum and difference over sqrt(2).

    A single channel, (B, 1, ...), stays as it is.
    """
    if spectra.shape[1] == 1:
        return spectra
    left, right = spectra[:, 0], spectra[:, 1]
    half = math.sqrt(0.5)
    return torch.stack((left, right, (left + right) * half, (left - right) * half), dim=1)


def magnitudes(spectra: Tensor, floor: float = FLOOR) -> Tensor:
    """Map (..., 2) to absolute values (...), smoothly kept above ``floor``."""
    return (spectra.square().sum(-1) + floor**2).sqrt()


def convergence(estimate: Tensor, target: Tensor, quietest: float) -> Tensor:
    """Return the spectral convergence of magnitudes (B, signals, F, T), mean over both.

    Each signal is measured by its own size, so that a quiet channel, or a silent side, counts as
    much as a loud one. ``quietest`` is the root mean square that a target counts as at least.
    """
    error = (estimate - target).flatten(2).norm(dim=2)
    size = target.flatten(2).norm(dim=2)
    return (error / size.clamp_min(quietest * math.sqrt(target[0, 0].numel()))).mean()


def spectral_distance(estimate: Tensor, target: Tensor, logarithm: float = LOGARITHM) -> Tensor:
    """Return the distance of magnitudes (B, signals, F, T), of their roots, and of their logs.

    The logs' L1 distance (Yamamoto et al.) is least at the median, which is silence for sparse
    spectrograms; the convergence of compressed magnitudes is least at their mean, and so gets a
    training off the ground.
    """
    ours, theirs = estimate.sqrt(), target.sqrt()  # about as loudness grows
    distance = convergence(estimate, target, QUIETEST)
    distance = distance + convergence(ours, theirs, math.sqrt(QUIETEST))
    if logarithm:
        distance = distance + logarithm * (estimate.log() - target.log()).abs().mean()
    return distance


def stereo_distance(
    estimate: Tensor, target: Tensor, floor: float = FLOOR, logarithm: float = LOGARITHM
) -> Tensor:
    """Return :func:`spectral_distance` of left, right, mid and side, of spectra (B, 2, F, T, 2)."""
    ours, theirs = (
        magnitudes(left_right_mid_side(spectra), floor) for spectra in (estimate, target)
    )
    return spectral_distance(ours, theirs, logarithm)


@dataclass(frozen=True)
class StftLoss:
    """Multi-resolution STFT distance of stereo sounds, (B, 2, samples).

    Attributes:
        sizes: FFT sizes in samples; the loss is the mean over them.
        floor: magnitude at which a logarithm no longer separates quiet from silent.
        logarithm: weight of the logs' distance.
        distance: :func:`stereo_distance`, or a compiled form of it (six times as fast on CPUs).
    """

    sizes: Sequence[int] = FFT_SIZES
    floor: float = FLOOR
    logarithm: float = LOGARITHM
    distance: Callable[[Tensor, Tensor, float, float], Tensor] = stereo_distance

    def __call__(
        self, estimate: Tensor, target: Tensor, sizes: Sequence[int] | None = None
    ) -> Tensor:
        """Return the loss, over some of the sizes only where ``sizes`` are given."""
        chosen = self.sizes if sizes is None else sizes
        distances = [self._distance(estimate, target, size) for size in chosen]
        return torch.stack(distances).mean()

    def _distance(self, estimate: Tensor, target: Tensor, size: int) -> Tensor:
        spectra = [short_time_spectra(audio, size) for audio in (estimate, target)]
        return self.distance(spectra[0], spectra[1], self.floor, self.logarithm)


def mel_matrix(bands: int, size: int, sample_rate: int) -> Tensor:
    """Return triangles on the mel scale 2595 log10(1 + f / 700), (bands, size // 2 + 1).

    Rows sum to 1. A band narrower than the distance of two bins takes the bin nearest to its
    centre.
    """
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    bins = np.arange(size // 2 + 1) * (sample_rate / size)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.clip(np.minimum(rising, falling), 0, None)
    empty = triangles.sum(axis=1) == 0
    nearest = np.abs(bins - edges[1:-1, None]).argmin(axis=1)
    triangles[empty, nearest[empty]] = 1
    return torch.from_numpy(triangles / triangles.sum(axis=1, keepdims=True)).float()


class LogMel(nn.Module):
    """Log-mel bands in nepers of amplitude."""

    matrix: Tensor

    def __init__(
        self,
        sample_rate: int = MODEL_SAMPLE_RATE,
        bands: int = _MEL_BANDS,
        size: int = _MEL_FFT,
        floor: float = FLOOR,
    ):
        super().__init__()
        self.size, self.floor = size, floor
        self.register_buffer("matrix", mel_matrix(bands, size, sample_rate), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Map (B, C, samples) to (B, C, bands, frames)."""
        energy = short_time_spectra(audio, self.size).square().sum(-1)
        bands = torch.einsum("mf,bcft->bcmt", self.matrix, energy)
        return 0.5 * (bands + self.floor**2).log()

    def distance(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Return the mean L1 distance of the log-mels of two batches."""
        return (self(estimate) - self(target)).abs().mean()
