"""Names the class of a sound: a small convolutional network on log-mel bands.

It is trained on synthesized sounds alone (:mod:`.train_classifier`) and judges generated ones, so
the traces of a codec must neither help nor hurt. Two measures ensure that: levels are relative to
the loudest of the clip and end 60 dB below it, so neither gain nor a faint noise floor matters; and
training augments its sounds (:func:`augmented`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from arcmobile.posttrain.autoencoder.spectral_losses import FLOOR, mel_matrix
from arcmobile.posttrain.sounds import CLASSES, MODEL_SAMPLE_RATE
from arcmobile.runtime.errors import CheckpointError, one_line

BANDS, FRAMES = 80, 160
"""Size of a clip; 160 frames are 3.7 s. Longer sounds are cut, shorter ones end in silence."""

_FFT, _HOP = 2048, 1024
_RANGE_NEPERS = 60 / 20 * np.log(10)
_SILENT = 1e-3
_CHANNELS = (16, 32, 64, 96)
_WIDTH = 192
_BATCH = 32

Audio = npt.NDArray[np.float32]
NAMES = tuple(CLASSES)
STORED = Path(__file__).with_name("sound_classifier.safetensors")
"""The classifier that comes with this package."""


def clip_bands(audio: Audio) -> Tensor:
    """Map (2, samples) to log-mel bands (BANDS, FRAMES) in nepers, of the channels' mean energy."""
    samples = torch.from_numpy(np.ascontiguousarray(audio[:, : FRAMES * _HOP]))
    window = torch.hann_window(_FFT)
    spectra = torch.stft(
        samples, _FFT, _HOP, window=window, pad_mode="constant", return_complex=True
    )
    energy = torch.view_as_real(spectra).square().sum(-1).mean(0) / window.square().sum()
    bands = _MEL @ energy[:, :FRAMES]
    return functional.pad(0.5 * (bands + FLOOR**2).log(), (0, FRAMES - bands.shape[1]), value=_LOW)


_MEL = mel_matrix(BANDS, _FFT, MODEL_SAMPLE_RATE)
_LOW = float(np.log(FLOOR))


def levelled(bands: Tensor) -> Tensor:
    """Map (B, BANDS, FRAMES) in nepers to levels from -1 (60 dB below the loudest) to 1."""
    under = bands - bands.amax((1, 2), keepdim=True)
    return under.clamp_min(-_RANGE_NEPERS) * (2 / _RANGE_NEPERS) + 1


class SoundClassifier(nn.Module):
    """Four strided convolutions, one over all bands, then mean and maximum over time."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for index, channels in enumerate(_CHANNELS):
            stride = (2, 1) if index == len(_CHANNELS) - 1 else 2
            layers += [
                nn.Conv2d(before, channels, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            before = channels
        layers += [
            nn.Conv2d(before, _WIDTH, (BANDS // 16, 3), padding=(0, 1), bias=False),
            nn.BatchNorm2d(_WIDTH),
            nn.ReLU(),
        ]
        self.layers = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(2 * _WIDTH, len(NAMES))

    def forward(self, bands: Tensor) -> Tensor:
        """Map bands (B, BANDS, FRAMES) of :func:`clip_bands` to logits (B, classes)."""
        states: Tensor = self.layers(levelled(bands)[:, None])[:, :, 0]
        pooled = torch.cat((states.mean(2), states.amax(2)), dim=1)
        logits: Tensor = self.out(self.drop(pooled))
        return logits


@dataclass(frozen=True)
class Guess:
    """The likeliest class of a clip.

    Attributes:
        name: of the class; None for a silent clip.
        probability: of the class.
    """

    name: str | None
    probability: float


def classify(network: SoundClassifier, sounds: Sequence[Audio]) -> list[Guess]:
    """Return the class of each sound (2, samples)."""
    guesses: list[Guess] = []
    for start in range(0, len(sounds), _BATCH):
        clips = sounds[start : start + _BATCH]
        with torch.inference_mode():
            bands = torch.stack([clip_bands(clip) for clip in clips])
            likeliest = network(bands).softmax(1).max(1)
        for clip, share, index in zip(clips, *likeliest, strict=True):
            silent = float(np.max(np.abs(clip), initial=0.0)) < _SILENT
            guesses.append(Guess(None if silent else NAMES[int(index)], float(share)))
    return guesses


def load_classifier(path: Path | None = None) -> SoundClassifier:
    """Read a classifier; the one of this package by default.

    Raises:
        CheckpointError: the file is not a classifier, or has other classes.
    """
    path = path or STORED
    network = SoundClassifier()
    reason = ""
    try:
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
        network.load_state_dict(tensors, strict=False)
        if missing := set(network.state_dict()) - set(tensors) - _counters(network):
            reason = f"no {min(missing)}"
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = one_line(error)
    if reason:
        raise CheckpointError(
            f"{path}: not a classifier of these {len(NAMES)} sounds ({reason}); run "
            "arcmobile posttrain classifier"
        )
    return network.eval()


def stored_tensors(network: SoundClassifier) -> dict[str, Tensor]:
    """Return the tensors to store, in float16."""
    kept = network.state_dict().keys() - _counters(network)
    return {name: network.state_dict()[name].half() for name in sorted(kept)}


def _counters(network: SoundClassifier) -> set[str]:
    return {name for name in network.state_dict() if name.endswith("num_batches_tracked")}


def augmented(bands: Tensor, random: torch.Generator) -> Tensor:
    """Augment bands (B, BANDS, FRAMES) as a codec or another mix might change them.

    Each clip is delayed by up to 0.2 s, smeared over neighbouring bands and frames, and equalized
    by up to about 8 dB; half of them lose everything above a corner between 4 and 20 kHz. Levels
    vary by up to 2 dB, and a noise floor lies 30 to 70 dB below the loudest.
    """
    count = len(bands)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, generator=random)

    shifts = torch.randint(0, 9, (count,), generator=random)
    late = torch.stack(
        [
            functional.pad(clip, (int(shift), 0), value=_LOW)[:, :FRAMES]
            for clip, shift in zip(bands, shifts, strict=True)
        ]
    )
    energy = (2 * late).exp()
    blurred = functional.avg_pool2d(energy[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    smear = uniform(0.0, 0.7) * (torch.rand(count, 1, 1, generator=random) < 0.7)
    augmented_bands = 0.5 * ((1 - smear) * energy + smear * blurred).log()

    places = torch.linspace(0, 1, BANDS).view(1, BANDS, 1)
    for waves in (0.5, 1.0, 2.0):
        phase = uniform(0.0, 2 * np.pi)
        augmented_bands = augmented_bands + uniform(-0.35, 0.35) * torch.cos(
            2 * np.pi * waves * places + phase
        )
    corner = uniform(0.62, 1.0)  # of the mel scale: 4 kHz to the top
    steepness = uniform(4.0, 40.0) * (torch.rand(count, 1, 1, generator=random) < 0.5)
    augmented_bands = augmented_bands - steepness * (places - corner).clamp_min(0)
    unevenness = uniform(0.0, 0.23)
    augmented_bands = augmented_bands + unevenness * torch.randn(late.shape, generator=random)
    loudest = augmented_bands.amax((1, 2), keepdim=True)
    tilt = uniform(-1.0, 1.0) * (places - 0.5)
    floor = loudest - uniform(30.0, 70.0) / 20 * float(np.log(10)) + tilt
    floor = floor + 0.3 * torch.randn(late.shape, generator=random)
    return 0.5 * torch.logaddexp(2 * augmented_bands, 2 * floor)
