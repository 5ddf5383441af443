"""Fréchet distances between sets of sounds on documented features, and diversity within them.

The 37 features of a clip follow fixed rules; no network is involved. Of 64 log-mel bands (nepers,
mean energy of both channels; frames of 2048 samples every 512):

- the mean over time, the first 16 coefficients of its cosine transform along bands: timbre;
- the standard deviation over time, the first 8: what moves;
- the modulation spectrum of the lower and the upper half of the bands, 6 octaves from 0.5 to 32 Hz,
  logs of power: intervals;
- the level of the left over the right channel, in nepers, within +-1: side.

Each is measured in standard deviations of the reference sounds. The Fréchet distance is that of
Heusel et al. 2017, "GANs trained by a two time-scale update rule", section 2 (after Dowson and
Landau 1982), between Gaussians. Some hundred clips are few for a covariance, so that of each set is
shrunk towards its diagonal by :data:`SHRINKAGE`; the remaining bias is the same for all sets of one
size, and resynthesized sounds show how large it is.
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
    """Return the features (N, 37) of sounds (2, samples)."""
    mel = LogMel(MODEL_SAMPLE_RATE, _BANDS, _FFT)
    return np.stack([_features(sound, mel) for sound in sounds])


def _features(sound: Audio, mel: LogMel) -> Real:
    with torch.inference_mode():
        channels = mel(torch.from_numpy(sound)[None])[0].double().numpy()
    bands = 0.5 * np.log(np.mean(np.exp(2 * channels), axis=0))
    mean = dct(bands.mean(axis=1), norm="ortho")[:_MEAN_COEFFICIENTS]
    deviation = dct(bands.std(axis=1), norm="ortho")[:_DEVIATION_COEFFICIENTS]
    half = _BANDS // 2
    intervals = [_modulation(part.mean(axis=0)) for part in (bands[:half], bands[half:])]
    energy = np.mean(sound.astype(np.float64) ** 2, axis=1) + FLOOR**2
    side = np.clip(0.5 * np.log(energy[0] / energy[1]), -1.0, 1.0)
    return np.concatenate((mean, deviation, *intervals, [side]))


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
    """A normal distribution.

    Attributes:
        mean: (D,).
        covariance: (D, D).
    """

    mean: Real
    covariance: Real


def fitted(features: Real, shrinkage: float = SHRINKAGE) -> Gaussian:
    """Fit a Gaussian to features (N, D), N of 2 or more, with a shrunk covariance."""
    covariance = np.atleast_2d(np.cov(features, rowvar=False))
    diagonal = np.diag(np.diag(covariance))
    return Gaussian(features.mean(axis=0), (1 - shrinkage) * covariance + shrinkage * diagonal)


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2)."""
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ second.covariance @ root)
    shared = np.sum(np.sqrt(np.maximum(product, 0)))
    spread = np.trace(first.covariance) + np.trace(second.covariance) - 2 * shared
    return float(np.sum((first.mean - second.mean) ** 2) + spread)


@dataclass(frozen=True)
class Reference:
    """Sounds that others are compared with.

    Attributes:
        unit: standard deviation of each feature.
        gaussian: of the features in these units.
    """

    unit: Real
    gaussian: Gaussian

    @classmethod
    def of(cls, features: Real) -> Reference:
        """Describe the sounds of features (N, D)."""
        unit = np.maximum(features.std(axis=0), _LEAST_DEVIATION)
        return cls(unit, fitted(features / unit))

    def distance(self, features: Real) -> float:
        """Return the Fréchet distance of other sounds' features (N, D)."""
        return frechet_distance(fitted(features / self.unit), self.gaussian)

    def diversity(self, variants: Real) -> list[float]:
        """Return each prompt's mean distance between variants, from (variants, prompts, D).

        Distances are root mean squares over features.
        """
        count = len(variants)
        scaled = variants / self.unit
        pairs = [
            np.sqrt(np.mean((scaled[first] - scaled[second]) ** 2, axis=1))
            for first in range(count)
            for second in range(first)
        ]
        return [float(value) for value in np.mean(pairs, axis=0)]
