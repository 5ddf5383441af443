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

from arcmobile.posttrain.autoencoder.spectral_losses import short_time_spectra

FFT_SIZES = (2048, 512, 128)
"""Samples; the hop is half of it."""

_OVERLAP = 2
_KERNEL = (3, 9)  # frames, frequencies
_FREQUENCY_STRIDES = (4, 2, 2)
_COMPRESSION = 0.3  # exponent of magnitudes
_SMALLEST = 1e-4  # magnitude below which compression gives way to scaling
_LEAK = 0.2


@dataclass(frozen=True)
class ScaleOutput:
    """Output of one scale.

    Attributes:
        logits: (B, 1, frames, bands).
        features: outputs of the layers before.
    """

    logits: Tensor
    features: tuple[Tensor, ...]

    def halves(self) -> tuple[ScaleOutput, ScaleOutput]:
        """Split the output of a batch that was joined from two of one size."""
        count = len(self.logits) // 2
        return (
            ScaleOutput(self.logits[:count], tuple(part[:count] for part in self.features)),
            ScaleOutput(self.logits[count:], tuple(part[count:] for part in self.features)),
        )


def complex_spectra(audio: Tensor, size: int) -> Tensor:
    """Map (B, C, samples) to (B, 2 * C, frames, bins): real and imaginary part of each channel.

    Scaled as in :mod:`.spectral_losses`.
    """
    spectra = short_time_spectra(audio, size, size // _OVERLAP)
    return spectra.permute(0, 1, 4, 3, 2).flatten(1, 2)


class ScaleDiscriminator(nn.Module):
    """Convolutions over frames and frequencies of one spectrogram."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        inputs = [2 * channels] + [width] * (len(_FREQUENCY_STRIDES) - 1)
        padding = (_KERNEL[0] // 2, _KERNEL[1] // 2)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, width, _KERNEL, (1, stride), padding))
            for before, stride in zip(inputs, _FREQUENCY_STRIDES, strict=True)
        )
        self.last = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, spectra: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 2 * C, frames, bins) to the features of each layer and, last, the logits."""
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

    _scores: Callable[[Sequence[Tensor]], list[tuple[Tensor, ...]]]

    def __init__(self, width: int = 12, channels: int = 2, sizes: Sequence[int] = FFT_SIZES):
        super().__init__()
        self.sizes = tuple(sizes)
        self.scales = nn.ModuleList(ScaleDiscriminator(width, channels) for _ in sizes)
        self._scores = self.scores
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def scores(self, spectra: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """Return features and logits of each scale, from :func:`complex_spectra` of each size."""
        return [scale(part) for scale, part in zip(self.scales, spectra, strict=True)]

    def compile_scores(self) -> None:
        """Compile the networks: worth it on CPUs from some hundred steps on."""
        self._scores = torch.compile(self.scores)

    def forward(self, audio: Tensor) -> list[ScaleOutput]:
        """Score sounds (B, C, samples)."""
        outputs = self._scores([complex_spectra(audio, size) for size in self.sizes])
        return [ScaleOutput(logits, tuple(features)) for *features, logits in outputs]


def discriminator_loss(real: Sequence[ScaleOutput], fake: Sequence[ScaleOutput]) -> Tensor:
    """Return the hinge loss (Lim and Ye 2017, "Geometric GAN", eq. 13), mean over scales."""
    losses = [
        F.relu(1 - ours.logits).mean() + F.relu(1 + theirs.logits).mean()
        for ours, theirs in zip(real, fake, strict=True)
    ]
    return torch.stack(losses).mean()


def adversarial_loss(fake: Sequence[ScaleOutput]) -> Tensor:
    """Return the generator's loss: minus the logits of its output, mean over scales."""
    return torch.stack([-output.logits.mean() for output in fake]).mean()


def feature_distance(real: Sequence[ScaleOutput], fake: Sequence[ScaleOutput]) -> Tensor:
    """Return the L1 distance of features over the mean size of the real ones.

    The mean over layers and scales (Defossez et al. 2022, eq. 2). No gradient goes into the real
    features.
    """
    distances = [
        (theirs - ours.detach()).abs().mean() / ours.detach().abs().mean().clamp_min(1e-6)
        for real_scale, fake_scale in zip(real, fake, strict=True)
        for ours, theirs in zip(real_scale.features, fake_scale.features, strict=True)
    ]
    return torch.stack(distances).mean()
