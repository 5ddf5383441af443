"""A small discriminator of sound on complex spectra at several scales, and its losses.

After the multi-scale STFT discriminator of Defossez et al. 2022, "High Fidelity Neural Audio
Compression" (section 3.4), made narrow enough for a CPU: hops of half a window, and a first
convolution that takes every fourth frequency. Real and imaginary part of each channel are the
input channels; their magnitudes are compressed, or the convolutions would see loud bins only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

FFT_SIZES = (2048, 512, 128)
"""Samples; the hop is half of it."""

_OVERLAP = 2
_KERNEL = (3, 9)  # frames, frequencies
_FREQUENCY_STRIDES = (4, 2, 2)
_COMPRESSION = 0.3  # exponent of magnitudes
_SMALLEST = 1e-4  # magnitude below which compression gives way to scaling
_LEAK = 0.2


@dataclass(frozen=True)
class Judgement:
    """What one scale makes of a batch: ``logits`` (B, 1, frames, bands) and its ``features``."""

    logits: Tensor
    features: tuple[Tensor, ...]

    def halves(self) -> tuple[Judgement, Judgement]:
        """Of a batch that was put together from two of one size."""
        count = len(self.logits) // 2
        return (
            Judgement(self.logits[:count], tuple(part[:count] for part in self.features)),
            Judgement(self.logits[count:], tuple(part[count:] for part in self.features)),
        )


def complex_spectra(audio: Tensor, size: int) -> Tensor:
    """Of (B, C, samples): (B, 2 * C, frames, bins), left real, left imaginary, right real, so on.

    Scaled as in :mod:`.spectral_losses`.
    """
    batch, channels, samples = audio.shape
    window = torch.hann_window(size, device=audio.device)
    spectra = torch.stft(
        audio.reshape(batch * channels, samples),
        size,
        size // _OVERLAP,
        window=window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    parts = torch.view_as_real(spectra) * (window.square().sum() ** -0.5)
    bins, frames = parts.shape[1:3]
    return parts.view(batch, channels, bins, frames, 2).permute(0, 1, 4, 3, 2).flatten(1, 2)


class ScaleDiscriminator(nn.Module):
    """Convolutions over frames and frequencies of one spectrogram."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        inputs = [2 * channels] + [width] * (len(_FREQUENCY_STRIDES) - 1)
        padding = (_KERNEL[0] // 2, _KERNEL[1] // 2)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(given, width, _KERNEL, (1, stride), padding))
            for given, stride in zip(inputs, _FREQUENCY_STRIDES, strict=True)
        )
        self.last = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, spectra: Tensor) -> tuple[Tensor, ...]:
        """Features of each layer, and the logits last, of (B, 2 * C, frames, bins)."""
        parts = spectra.unflatten(1, (-1, 2))
        energy = parts.square().sum(2, keepdim=True) + _SMALLEST**2
        x = (parts * energy ** ((_COMPRESSION - 1) / 2)).flatten(1, 2)
        x = x.contiguous(memory_format=torch.channels_last)
        outputs = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _LEAK)
            outputs.append(x)
        return (*outputs, self.last(x))


class WaveformDiscriminator(nn.Module):
    """One :class:`ScaleDiscriminator` per FFT size."""

    _judge: Callable[[Sequence[Tensor]], list[tuple[Tensor, ...]]]

    def __init__(self, width: int = 12, channels: int = 2, sizes: Sequence[int] = FFT_SIZES):
        super().__init__()
        self.sizes = tuple(sizes)
        self.scales = nn.ModuleList(ScaleDiscriminator(width, channels) for _ in sizes)
        self._judge = self.judge
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def judge(self, spectra: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """Features and logits of each scale, from :func:`complex_spectra` of each size."""
        return [scale(part) for scale, part in zip(self.scales, spectra, strict=True)]

    def compile_judges(self) -> None:
        """Worth it on CPUs from some hundred steps on."""
        self._judge = torch.compile(self.judge)

    def forward(self, audio: Tensor) -> list[Judgement]:
        judged = self._judge([complex_spectra(audio, size) for size in self.sizes])
        return [Judgement(logits, tuple(features)) for *features, logits in judged]


def discriminator_loss(real: Sequence[Judgement], made: Sequence[Judgement]) -> Tensor:
    """Hinge loss (Lim and Ye 2017, "Geometric GAN", eq. 13), mean over scales."""
    losses = [
        F.relu(1 - ours.logits).mean() + F.relu(1 + theirs.logits).mean()
        for ours, theirs in zip(real, made, strict=True)
    ]
    return torch.stack(losses).mean()


def adversarial_loss(made: Sequence[Judgement]) -> Tensor:
    """What the generator lowers: minus the logits of what it made, mean over scales."""
    return torch.stack([-judgement.logits.mean() for judgement in made]).mean()


def feature_distance(real: Sequence[Judgement], made: Sequence[Judgement]) -> Tensor:
    """L1 between features over the mean size of the real ones, mean over layers and scales.

    Defossez et al. 2022, eq. 2. No gradient goes into the real features.
    """
    distances = [
        (theirs - ours.detach()).abs().mean() / ours.detach().abs().mean().clamp_min(1e-6)
        for real_scale, made_scale in zip(real, made, strict=True)
        for ours, theirs in zip(real_scale.features, made_scale.features, strict=True)
    ]
    return torch.stack(distances).mean()
