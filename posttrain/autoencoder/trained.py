"""Reads a trained autoencoder, ready for stereo sounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from arcmobile.export.model.autoencoder_config import AutoencoderConfig
from arcmobile.posttrain.autoencoder.stereo_from_mono import stereo_config, stereo_tensors
from arcmobile.posttrain.autoencoder.train import SUMMARY, TENSORS
from arcmobile.posttrain.training.state import read_tensors
from arcmobile.runtime.bounds import MANIFEST_BYTES, MANIFEST_DEPTH
from arcmobile.runtime.errors import CheckpointError
from arcmobile.runtime.strict_json import parse_json


@dataclass(frozen=True)
class TrainedAutoencoder:
    """A stereo autoencoder.

    Attributes:
        config: its sizes.
        tensors: by checkpoint name.
        scale: of its latents.
    """

    config: AutoencoderConfig
    tensors: dict[str, Tensor]
    scale: float


def read_autoencoder(folder: Path) -> TrainedAutoencoder:
    """Read the folder of a training; an autoencoder of one channel becomes a stereo one.

    Raises:
        CheckpointError: a file is missing or damaged, or does not fit the other.
    """
    tensors, _ = read_tensors(folder / TENSORS, way_out="train the autoencoder")
    try:
        summary = parse_json(
            (folder / SUMMARY).read_bytes(), most_bytes=MANIFEST_BYTES, most_levels=MANIFEST_DEPTH
        )
        config = AutoencoderConfig.model_validate(summary["config"])
        scale = float(summary["latents"]["scale"])
        if config.io_channels == 1:
            config, tensors = stereo_config(config), stereo_tensors(config, tensors)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / SUMMARY}: does not describe {TENSORS} ({error}); train the autoencoder"
        ) from error
    if scale <= 0:
        raise CheckpointError(f"{folder / SUMMARY}: scale {scale:g}; train the autoencoder")
    return TrainedAutoencoder(config, tensors, scale)
