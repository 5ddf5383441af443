"""How well an autoencoder reconstructs sounds: figures, spectrograms, WAV files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from arcmobile.posttrain.autoencoder.spectral_losses import LogMel, magnitudes, short_time_spectra
from arcmobile.posttrain.sounds import MODEL_SAMPLE_RATE
from arcmobile.runtime.audio import write_audio
from arcmobile.runtime.whole_output import whole_file

_LSD_SIZE = 2048
_DECIBELS = 20 / np.log(10)
_PLOTTED = 8
_PLOTTED_LEVELS = -70.0, 20.0

Audio = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ReconstructionFigures:
    """Means over sounds.

    Attributes:
        si_sdr: scale-invariant signal-to-distortion ratio, dB (Le Roux et al. 2019, eq. 5).
        log_spectral: root mean square over frequencies of the difference of log magnitudes, mean
            over frames, dB; magnitudes under -60 dB count as -60 dB.
        log_mel: mean L1 of log-mel bands, dB.
    """

    si_sdr: float
    log_spectral: float
    log_mel: float


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """Return dB per sound (B, C, samples), channels together; silence gives -inf or nan."""
    ours, theirs = estimate.flatten(1), target.flatten(1)
    scale = (ours * theirs).sum(1, keepdim=True) / theirs.square().sum(1, keepdim=True)
    projected = scale * theirs
    error = ours - projected
    return 10 * torch.log10(projected.square().sum(1) / error.square().sum(1))


def log_spectral_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Return dB per sound (B, C, samples); see :class:`ReconstructionFigures`."""
    ours, theirs = (
        magnitudes(short_time_spectra(audio, _LSD_SIZE)).log() for audio in (estimate, target)
    )
    return _DECIBELS * (ours - theirs).square().mean(2).sqrt().mean((1, 2))


def figures(estimates: Sequence[Audio], targets: Sequence[Audio]) -> ReconstructionFigures:
    """Measure sounds (2, samples), each as long as its target."""
    mel = LogMel(MODEL_SAMPLE_RATE)
    rows = []
    for estimate, target in zip(estimates, targets, strict=True):
        pair = torch.from_numpy(estimate)[None], torch.from_numpy(target)[None]
        rows.append(
            (
                float(si_sdr(*pair)),
                float(log_spectral_distance(*pair)),
                float(mel.distance(*pair)) * _DECIBELS,
            )
        )
    return ReconstructionFigures(*(float(value) for value in np.mean(rows, axis=0)))


def reconstruct_all(
    reconstruct: Callable[[Tensor], Tensor], sounds: Sequence[Audio], ratio: int
) -> list[Audio]:
    """Reconstruct sounds (2, samples), zero-padded to whole latent frames."""
    results = []
    for sound in sounds:
        samples = sound.shape[1]
        padded = np.pad(sound, ((0, 0), (0, -samples % ratio)))
        with torch.no_grad():
            estimate = reconstruct(torch.from_numpy(padded)[None])[0]
        results.append(np.ascontiguousarray(estimate[:, :samples].cpu().numpy()))
    return results


def write_examples(
    folder: Path, targets: Sequence[Audio], estimates: Sequence[Audio], captions: Sequence[str]
) -> None:
    """Write the first few pairs as WAV files, and an image of their left spectrograms."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    count = min(_PLOTTED, len(targets))
    page = Figure(figsize=(10, 1.8 * count), layout="constrained")
    axes = np.atleast_2d(page.subplots(count, 2))
    for index in range(count):
        for column, (name, audio) in enumerate(
            (("sound", targets[index]), ("reconstruction", estimates[index]))
        ):
            path = folder / f"{index:02d}-{name}.wav"
            write_audio(path, audio, MODEL_SAMPLE_RATE, overwrite=True, comment=captions[index])
            levels = magnitudes(short_time_spectra(torch.from_numpy(audio)[None, :1], _LSD_SIZE))
            axes[index, column].imshow(
                20 * np.log10(levels[0, 0].numpy()),
                origin="lower",
                aspect="auto",
                vmin=_PLOTTED_LEVELS[0],
                vmax=_PLOTTED_LEVELS[1],
                extent=(0, audio.shape[1] / MODEL_SAMPLE_RATE, 0, MODEL_SAMPLE_RATE / 2000),
            )
            axes[index, column].set_title(f"{captions[index][:60]} – {name}", fontsize=7)
            axes[index, column].tick_params(labelsize=6)
    axes[-1, 0].set_xlabel("seconds", fontsize=7)
    axes[-1, 0].set_ylabel("kHz", fontsize=7)
    with whole_file(folder / "spectrograms.png", overwrite=True) as unfinished:
        page.savefig(unfinished, dpi=90, format="png")
