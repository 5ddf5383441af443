"""Puts trained parts and an untrained DiT together: the checkpoint that flow matching starts from.

The parts are the folders of ``arcmobile posttrain autoencoder`` (of one channel or two) and
``posttrain text``. The latent scale found by the former goes into the config, so that the DiT sees
latents of unit size. A trained checkpoint can be given another autoencoder too: that may go on
being trained after the DiT as long as its latents stay what they are.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from arcmobile.export.checkpoint.folder import (
    MODEL_CONFIG,
    TEXT_ENCODER_FOLDER,
    TEXT_FILES,
    CheckpointFolder,
)
from arcmobile.export.model.config import ModelConfig, T5Config
from arcmobile.posttrain.autoencoder.trained import read_autoencoder
from arcmobile.posttrain.flow.generator import initial_tensors
from arcmobile.posttrain.training.checkpoint_folder import write_checkpoint, write_parts
from arcmobile.runtime.bounds import MANIFEST_BYTES, MANIFEST_DEPTH
from arcmobile.runtime.errors import CheckpointError
from arcmobile.runtime.strict_json import parse_json
from arcmobile.runtime.whole_output import whole_folder


def write_start(
    content: dict[str, Any],
    autoencoder: Path,
    text: Path,
    out: Path,
    *,
    seed: int = 0,
) -> None:
    """Write a checkpoint whose DiT is untrained.

    Args:
        content: of `model_config.json`; its autoencoder and scale are set from ``autoencoder``.
        autoencoder: folder with ``autoencoder.safetensors`` and ``autoencoder.json``.
        text: folder with ``text_encoder/``.
        out: checkpoint folder, which may replace an older one.
        seed: of the DiT's initial values.

    Raises:
        CheckpointError: a part is missing or does not fit.
        OutputError: ``out`` cannot be written.
    """
    text_folder = text / TEXT_ENCODER_FOLDER
    trained = read_autoencoder(autoencoder)
    pretransform = content["model"]["pretransform"]
    pretransform["config"] = trained.config.model_dump(mode="json")
    pretransform["scale"] = trained.scale
    try:
        text_config = parse_json(
            (text_folder / "config.json").read_bytes(),
            most_bytes=MANIFEST_BYTES,
            most_levels=MANIFEST_DEPTH,
        )
        config = ModelConfig.model_validate(content)
        started, _ = initial_tensors(config, T5Config.model_validate(text_config), seed)
        text_tensors = load_file(text_folder / TEXT_FILES[0])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(
            f"{text_folder}: not a text encoder that fits {autoencoder} ({error}); train one"
        ) from error
    with whole_folder(out, replaceable=MODEL_CONFIG, overwrite=True, option="--out") as folder:
        write_parts(folder, content, {**started, **trained.tensors}, text_folder, text_tensors)


def write_with_autoencoder(
    generator: Path, autoencoder: Path, out: Path, dtype: torch.dtype
) -> None:
    """Write the checkpoint ``generator`` with the autoencoder of a training.

    Raises:
        CheckpointError: the sizes or the latents' scale are not those that the generator was
            trained with.
        OutputError: ``out`` cannot be written.
    """
    trained, base = read_autoencoder(autoencoder), CheckpointFolder.open(generator)
    scale = base.config.model.pretransform.scale
    if trained.config != base.config.autoencoder or not math.isclose(trained.scale, scale):
        raise CheckpointError(
            f"--generator {generator}: was trained with latents of another autoencoder than "
            f"{autoencoder} (scale {scale:g}, not {trained.scale:g}); choose its own"
        )
    objective = base.config.model.diffusion.diffusion_objective
    write_checkpoint(generator, out, trained.tensors, {}, dtype, objective=objective)
