"""`arcmobile posttrain flow`: the base model that ARC starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arcmobile.cli.posttrain_options import (
    BFloat16,
    Compiled,
    Device,
    Hours,
    Out,
    Resume,
    Threads,
    check_device,
    require_new,
    seconds_of,
    use_threads,
)
from arcmobile.posttrain.training.overrides import given_settings
from arcmobile.posttrain.training.settings import FlowSettings


def flow(
    context: typer.Context,
    start: Annotated[Path, typer.Option(help="Checkpoint to start from.")],
    latents: Annotated[Path, typer.Option(help="Folder of cached latents.")],
    out: Out,
    hours: Hours = 2.0,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps until the rate is low.")
    ] = FlowSettings.steps,
    batch: Annotated[int, typer.Option(min=1, help="Sounds per step.")] = FlowSettings.batch,
    learning_rate: Annotated[
        float, typer.Option("--rate", min=0, help="Learning rate.")
    ] = FlowSettings.learning_rate,
    seed: Annotated[int, typer.Option(min=0)] = FlowSettings.seed,
    device: Device = "cpu",
    threads: Threads = 2,
    bfloat16: BFloat16 = FlowSettings.bfloat16,
    compiled: Compiled = False,
    resume: Resume = False,
) -> None:
    """Train by flow matching.

    OUT gets state.safetensors, metrics.jsonl, losses.png and checkpoint/. With --resume the
    settings are those the training began with, but for options that are given.
    """
    given = given_settings(context, FlowSettings)
    seconds = seconds_of(hours)

    from arcmobile.export.checkpoint.folder import CheckpointFolder
    from arcmobile.posttrain.arc.train import base_generator
    from arcmobile.posttrain.flow.train import resumed, train
    from arcmobile.posttrain.flow.trainer import FlowTrainer
    from arcmobile.posttrain.latents.cache import LatentCache

    use_threads(threads)
    check_device(device)
    folder = CheckpointFolder.open(start)
    if resume:
        trainer = resumed(folder, out, given, device=device, compiled=compiled)
    else:
        require_new(out)
        settings = FlowSettings(**given)
        trainer = FlowTrainer(base_generator(folder), settings, device=device, compiled=compiled)
    train(trainer, folder, LatentCache(latents), out, seconds)
