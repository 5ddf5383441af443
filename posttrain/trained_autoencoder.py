"""What a training of the autoencoder left, ready for stereo sounds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from arcmobile.export.model.config import AutoencoderConfig
from arcmobile.posttrain.stereo_from_mono import stereo_config, stereo_tensors
from arcmobile.posttrain.train_autoencoder import SUMMARY, TENSORS
from arcmobile.posttrain.training_state import read_tensors
from arcmobile.runtime.errors import CheckpointError


@dataclass(frozen=True)
class TrainedAutoencoder:
    """A stereo autoencoder: ``tensors`` by checkpoint name, ``scale`` of its latents."""

    config: AutoencoderConfig
    tensors: dict[str, Tensor]
    scale: float


def read_autoencoder(folder: Path) -> TrainedAutoencoder:
    """One of one channel comes as two side by side. Raises CheckpointError."""
    tensors, _ = read_tensors(folder / TENSORS)
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        config = AutoencoderConfig.model_validate(summary["config"])
        scale = float(summary["latents"]["scale"])
        if config.io_channels == 1:
            config, tensors = stereo_config(config), stereo_tensors(config, tensors)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / SUMMARY}: does not describe {TENSORS} ({error}); train the autoencoder"
        ) from error
    return TrainedAutoencoder(config, tensors, scale)
