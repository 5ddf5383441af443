"""Distances between sets of sounds on documented features of sound, and variety within them.

Features of a clip, 37 numbers, by a fixed rule and no learnt network. Of 64 log-mel bands (nepers,
both channels' energies meaned; frames of 2048 samples every 512):

- the mean over time, the first 16 coefficients of its cosine transform along bands: timbre;
- the standard deviation over time, the first 8: what moves;
- the modulation spectrum of the lower and the upper half of the bands, 6 octaves from 0.5 to 32 Hz,
  logs of power: rhythm;
- the level of the left over the right channel, in nepers, within +-1: side.

Each is measured in standard deviations of the reference sounds. The Frechet distance is that of
Heusel et al. 2017, "GANs trained by a two time-scale update rule", section 2 (after Dowson and
Landau 1982), between Gaussians. Some hundred clips are few for a covariance, so that of each set is
shrunk towards its diagonal by :data:`SHRINKAGE`; what is left of the bias is the same for all sets
of one size, and drawn sounds judged against other drawn sounds show how large it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import dct

from arcmobile.posttrain.autoencoder.spectral_losses import FLOOR, LogMel
from arcmobile.posttrain.sounds import MODEL_SAMPLE_RATE

SHRINKAGE = 0.1
"""Share of every covariance between different features that is taken away."""

_BANDS, _FFT = 64, 2048
_FRAMES_PER_SECOND = MODEL_SAMPLE_RATE / (_FFT // 4)
_MEAN_COEFFICIENTS, _DEVIATION_COEFFICIENTS = 16, 8
_MODULATION_HERTZ = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_MODULATION_POINTS = 512
_LEAST_POWER = 1e-4  # of modulation, in squared nepers
_LEAST_DEVIATION = 1e-6

Audio = npt.NDArray[np.float32]
Real = npt.NDArray[np.float64]


def sound_features(sounds: Sequence[Audio]) -> Real:
    """(N, features) of sounds (2, samples); see the module's text."""
    mel = LogMel(MODEL_SAMPLE_RATE, _BANDS, _FFT)
    return np.stack([_features(sound, mel) for sound in sounds])


def _features(sound: Audio, mel: LogMel) -> Real:
    with torch.inference_mode():
        channels = mel(torch.from_numpy(sound)[None])[0].double().numpy()
    bands = 0.5 * np.log(np.mean(np.exp(2 * channels), axis=0))
    mean = dct(bands.mean(axis=1), norm="ortho")[:_MEAN_COEFFICIENTS]
    deviation = dct(bands.std(axis=1), norm="ortho")[:_DEVIATION_COEFFICIENTS]
    half = _BANDS // 2
    rhythm = [_modulation(part.mean(axis=0)) for part in (bands[:half], bands[half:])]
    energy = np.mean(sound.astype(np.float64) ** 2, axis=1) + FLOOR**2
    side = np.clip(0.5 * np.log(energy[0] / energy[1]), -1.0, 1.0)
    return np.concatenate((mean, deviation, *rhythm, [side]))


def _modulation(level: Real) -> Real:
    """Log power in each octave of modulation, of a level over time in nepers."""
    moving = (level - level.mean()) * np.hanning(len(level))
    points = max(_MODULATION_POINTS, len(level))
    power = np.abs(np.fft.rfft(moving, points)) ** 2 / len(level)
    hertz = np.fft.rfftfreq(points, 1 / _FRAMES_PER_SECOND)
    return np.array(
        [
            np.log(power[(hertz >= low) & (hertz < high)].mean() + _LEAST_POWER)
            for low, high in pairwise(_MODULATION_HERTZ)
        ]
    )


@dataclass(frozen=True)
class Gaussian:
    """``mean`` (D,) and ``covariance`` (D, D)."""

    mean: Real
    covariance: Real


def fitted(features: Real, shrinkage: float = SHRINKAGE) -> Gaussian:
    """The Gaussian of features (N, D), N of 2 or more, its covariance shrunk to its diagonal."""
    covariance = np.atleast_2d(np.cov(features, rowvar=False))
    diagonal = np.diag(np.diag(covariance))
    return Gaussian(features.mean(axis=0), (1 - shrinkage) * covariance + shrinkage * diagonal)


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2)."""
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ second.covariance @ root)
    shared = np.sum(np.sqrt(np.maximum(product, 0)))
    spread = np.trace(first.covariance) + np.trace(second.covariance) - 2 * shared
    return float(np.sum((first.mean - second.mean) ** 2) + spread)


@dataclass(frozen=True)
class Reference:
    """Drawn sounds that others are compared with: the unit of each feature, and their Gaussian."""

    unit: Real
    gaussian: Gaussian

    @classmethod
    def of(cls, features: Real) -> Reference:
        unit = np.maximum(features.std(axis=0), _LEAST_DEVIATION)
        return cls(unit, fitted(features / unit))

    def distance(self, features: Real) -> float:
        """Frechet distance of other sounds' features (N, D)."""
        return frechet_distance(fitted(features / self.unit), self.gaussian)

    def diversity(self, variants: Real) -> list[float]:
        """Of (variants, prompts, D): for each prompt the mean distance between two variants,
        root mean square over features."""
        count = len(variants)
        scaled = variants / self.unit
        pairs = [
            np.sqrt(np.mean((scaled[one] - scaled[other]) ** 2, axis=1))
            for one in range(count)
            for other in range(one)
        ]
        return [float(value) for value in np.mean(pairs, axis=0)]
