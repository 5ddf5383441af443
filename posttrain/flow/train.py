"""Trains a generator in a folder, by flow matching or, from :mod:`arcmobile.posttrain.arc`, by ARC.

The folder of a training holds::

    state.safetensors   all that a resumed training needs besides the start; replaced as a whole
    metrics.jsonl       a row of losses every few steps
    losses.png          the same, plotted
    checkpoint/         the averaged generator as a complete checkpoint

A file ``STOP`` put into the folder ends the training after the running step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.posttrain.flow.batches import Batches, GeneratorBatch
from arcmobile.posttrain.flow.trainer import FlowTrainer
from arcmobile.posttrain.training.checkpoint_folder import write_checkpoint
from arcmobile.posttrain.training.loop import Intervals, Trainer, run_training
from arcmobile.posttrain.training.metrics import plot_training

CHECKPOINT = "checkpoint"
PANELS = (("flow", "flow_noisy", "flow_clean"), ("gradient",))


class GeneratorTrainer(Trainer, Protocol):
    """A trainer whose result is a generator."""

    def train_step(self, batch: GeneratorBatch) -> dict[str, Tensor]:
        """Take one step; return its losses."""
        ...

    def probe(self, batch: GeneratorBatch) -> dict[str, Tensor]:
        """Return losses of the present weights; change nothing."""
        ...

    def averaged_tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the averaged generator under a checkpoint's names: model, text encoder."""
        ...


def train_generator(
    trainer: GeneratorTrainer,
    base: CheckpointFolder,
    batches: Batches,
    out: Path,
    *,
    name: str,
    steps: int,
    seconds: float,
    watched: str,
    advice: str,
    panels: Sequence[Sequence[str]],
    dtype: torch.dtype = torch.float32,
    intervals: Intervals | None = None,
) -> None:
    """Train as :func:`.loop.run_training` says; its errors and other arguments are described there.

    Args:
        trainer: of a generator of ``base``.
        base: checkpoint with everything that is not trained.
        batches: what to train on.
        out: folder of the training.
        name: of the training in messages.
        steps: training ends there.
        seconds: longest time to train for.
        watched: loss that is shown, and whose size is checked.
        advice: what to do about a divergence.
        panels: metrics to plot, by panel.
        dtype: of the checkpoint that is written.
        intervals: how often a training writes.
    """

    def write() -> None:
        write_checkpoint(base.path, out / CHECKPOINT, *trainer.averaged_tensors(), dtype)
        plot_training(out, panels)

    run_training(
        trainer,
        out,
        name=name,
        train_step=lambda: trainer.train_step(batches(trainer.step)),
        probe=lambda: trainer.probe(batches(trainer.step)),
        advice=advice,
        evaluate=write,
        steps=steps,
        seconds=seconds,
        watched=watched,
        intervals=intervals,
    )


def train(
    trainer: FlowTrainer,
    start: CheckpointFolder,
    batches: Batches,
    out: Path,
    *,
    seconds: float,
) -> None:
    """Train by flow matching for as many steps as the settings say, or for ``seconds``."""
    train_generator(
        trainer,
        start,
        batches,
        out,
        name="flow matching",
        steps=trainer.settings.steps,
        seconds=seconds,
        watched="flow",
        advice="use a lower --rate",
        panels=PANELS,
    )
