"""`arcmobile posttrain flow`: the base model that ARC starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arcmobile.cli.posttrain_options import (
    Changes,
    Compiled,
    Device,
    Hours,
    Out,
    Resume,
    Threads,
    seconds_of,
    use_device,
    with_settings,
)
from arcmobile.posttrain.training.settings import FlowSettings


@with_settings(FlowSettings)
def flow(
    changes: Changes,
    start: Annotated[Path, typer.Option(help="Checkpoint folder to start from.")],
    latents: Annotated[Path, typer.Option(help="Folder of cached latents.")],
    out: Out,
    hours: Hours = 2.0,
    device: Device = "cpu",
    threads: Threads = 2,
    compiled: Compiled = False,
    resume: Resume = False,
) -> None:
    """Train by flow matching.

    OUT gets state.safetensors, metrics.jsonl, losses.png and checkpoint/. With --resume the
    settings are those the training began with, except for options that are given.
    """
    seconds = seconds_of(hours)

    from arcmobile.export.checkpoint.folder import CheckpointFolder
    from arcmobile.posttrain.flow.batches import checkpoint_batches
    from arcmobile.posttrain.flow.generator import base_generator
    from arcmobile.posttrain.flow.train import train
    from arcmobile.posttrain.flow.trainer import FlowTrainer
    from arcmobile.posttrain.latents.cache import LatentCache
    from arcmobile.posttrain.training.resume import start_or_resume

    use_device(device, threads)
    folder = CheckpointFolder.open(start)

    def make(settings: FlowSettings) -> FlowTrainer:
        return FlowTrainer(base_generator(folder), settings, device=device, compiled=compiled)

    trainer = start_or_resume(out, FlowSettings, changes, make, resume=resume)
    settings, cache = trainer.settings, LatentCache(latents)
    batches = checkpoint_batches(cache, folder, seed=settings.seed, size=settings.batch)
    train(trainer, folder, batches, out, seconds=seconds)
