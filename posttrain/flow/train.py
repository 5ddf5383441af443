"""Trains the generator by flow matching: the base model that ARC starts from.

``arcmobile posttrain flow --start CHECKPOINT --latents FOLDER --out FOLDER``, where
the first folder comes from ``start_checkpoint`` (or is any checkpoint of a flow model, to go on
with) and the second holds cached latents of its autoencoder. ``--out`` holds then::

    state.safetensors   all that a resumed training needs besides the start; replaced as a whole
    metrics.jsonl       a row of losses every few steps
    losses.png          the same, plotted
    checkpoint/         the averaged generator as a complete checkpoint

A file ``STOP`` put into the folder ends the training after the running step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.manifest import folder_tokenizer
from arcmobile.posttrain.arc.train import base_generator, cached_batches, require_fitting
from arcmobile.posttrain.flow.trainer import FlowTrainer
from arcmobile.posttrain.latents.cache import LatentCache
from arcmobile.posttrain.training.checkpoint_folder import write_checkpoint
from arcmobile.posttrain.training.loop import METRICS, STATE, run_training
from arcmobile.posttrain.training.plots import plot_metrics
from arcmobile.posttrain.training.settings import FlowSettings
from arcmobile.posttrain.training.state import keep_metrics_until, read_metrics, read_tensors
from arcmobile.runtime.errors import CheckpointError, InputError

CHECKPOINT = "checkpoint"
_PANELS = (("flow", "flow_noisy", "flow_clean"), ("gradient",))


def resumed(
    start: CheckpointFolder, out: Path, changed: Mapping[str, Any], *, device: str, compiled: bool
) -> FlowTrainer:
    """The trainer of the state in a folder, with its settings but for those ``changed``.

    Raises InputError without a state, CheckpointError for one of another model.
    """
    if not (out / STATE).is_file():
        raise InputError(f"--resume: {out} holds no {STATE}; start without it")
    tensors, header = read_tensors(out / STATE)
    try:
        settings = FlowSettings(**{**header["settings"], **changed})
        trainer = FlowTrainer(base_generator(start), settings, device=device, compiled=compiled)
        trainer.restore(tensors, header)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{out / STATE}: of another model or version ({error}); choose another --out"
        ) from error
    keep_metrics_until(out / METRICS, trainer.step)
    return trainer


def train(
    trainer: FlowTrainer, start: CheckpointFolder, cache: LatentCache, out: Path, seconds: float
) -> None:
    """Trains as :func:`run_training` says; the checkpoint is written with every judgement."""
    settings = trainer.settings
    require_fitting(cache, start)
    batches = cached_batches(
        cache, folder_tokenizer(start), seed=settings.seed, size=settings.batch
    )

    def judge() -> None:
        tensors = trainer.averaged_tensors()
        write_checkpoint(start.path, out / CHECKPOINT, *tensors, torch.float32)
        plot_metrics(out / "losses.png", read_metrics(out / METRICS), _PANELS)

    run_training(
        trainer,
        out,
        name="flow matching",
        train_step=lambda: trainer.train_step(batches(trainer.step)),
        probe=lambda: trainer.probe(batches(trainer.step)),
        advice="use a lower --rate",
        judge=judge,
        steps=settings.steps,
        seconds=seconds,
        watched="flow",
    )
