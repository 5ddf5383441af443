"""`arcmobile posttrain arc`: a flow model that needs few steps and no guidance."""

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
from arcmobile.posttrain.training.settings import ArcSettings


@with_settings(ArcSettings)
def arc(
    changes: Changes,
    base: Annotated[Path, typer.Option(help="Checkpoint folder of a flow model.")],
    latents: Annotated[Path, typer.Option(help="Folder of cached latents.")],
    out: Out,
    hours: Hours = 2.0,
    device: Device = "cpu",
    threads: Threads = 2,
    compiled: Compiled = False,
    half: Annotated[bool, typer.Option(help="Write the checkpoint as float16.")] = False,
    resume: Resume = False,
) -> None:
    """Post-train a flow model with ARC.

    OUT gets state.safetensors, metrics.jsonl, losses.png and checkpoint/. With --resume the
    settings are those the training began with, except for options that are given, such as a
    smaller --rate for the end.
    """
    seconds = seconds_of(hours)

    import torch

    from arcmobile.export.checkpoint.folder import CheckpointFolder
    from arcmobile.posttrain.arc.train import train
    from arcmobile.posttrain.arc.trainer import ArcTrainer
    from arcmobile.posttrain.flow.batches import checkpoint_batches
    from arcmobile.posttrain.flow.generator import base_generator
    from arcmobile.posttrain.latents.cache import LatentCache
    from arcmobile.posttrain.training.resume import start_or_resume

    use_device(device, threads)
    folder = CheckpointFolder.open(base)

    def make(settings: ArcSettings) -> ArcTrainer:
        generator, digest = base_generator(folder), folder.digest()
        return ArcTrainer(generator, settings, device=device, base=digest, compiled=compiled)

    trainer = start_or_resume(out, ArcSettings, changes, make, resume=resume)
    settings, cache = trainer.settings, LatentCache(latents)
    batches = checkpoint_batches(cache, folder, seed=settings.seed, size=settings.batch)
    dtype = torch.float16 if half else torch.float32
    train(trainer, folder, batches, out, seconds=seconds, dtype=dtype)
