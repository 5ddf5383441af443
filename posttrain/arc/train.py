"""Post-trains a flow model with ARC in a folder, so that a few steps without guidance are enough.

The folder holds what :mod:`arcmobile.posttrain.flow.train` describes.
"""

from __future__ import annotations

from pathlib import Path

import torch

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.posttrain.arc.trainer import ArcTrainer
from arcmobile.posttrain.flow.batches import Batches
from arcmobile.posttrain.flow.train import train_generator
from arcmobile.posttrain.training.loop import Intervals

PANELS = (
    ("generator", "discriminator", "contrastive"),
    ("gap",),
    ("discriminator_accuracy", "prompt_accuracy"),
    ("flow",),
    ("penalty", "generator_gradient", "discriminator_gradient"),
)


def train(
    trainer: ArcTrainer,
    base: CheckpointFolder,
    batches: Batches,
    out: Path,
    *,
    seconds: float,
    dtype: torch.dtype = torch.float32,
    intervals: Intervals | None = None,
) -> None:
    """Train for as many steps as the settings say, or for ``seconds``; see `train_generator`."""
    train_generator(
        trainer,
        base,
        batches,
        out,
        name="arc",
        steps=trainer.settings.steps,
        seconds=seconds,
        watched="gap",
        advice="use a lower --rate and --discriminator-rate",
        panels=PANELS,
        dtype=dtype,
        intervals=intervals,
    )
