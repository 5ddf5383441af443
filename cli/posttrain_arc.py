"""`arcmobile posttrain arc`: a flow model that needs few steps and no guidance."""

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
from arcmobile.posttrain.training.settings import ArcSettings


def arc(
    context: typer.Context,
    base: Annotated[Path, typer.Option(help="Checkpoint folder of a flow model.")],
    latents: Annotated[Path, typer.Option(help="Folder of cached latents.")],
    out: Out,
    hours: Hours = 2.0,
    steps: Annotated[int, typer.Option(min=1, help="Steps to train for.")] = ArcSettings.steps,
    batch: Annotated[int, typer.Option(min=2, help="Sounds per step.")] = ArcSettings.batch,
    generator_rate: Annotated[
        float, typer.Option("--rate", min=0, help="Learning rate of the generator.")
    ] = ArcSettings.generator_rate,
    discriminator_rate: Annotated[
        float, typer.Option(min=0, help="Learning rate of the discriminator.")
    ] = ArcSettings.discriminator_rate,
    contrastive: Annotated[
        float, typer.Option(min=0, help="Weight of the loss on wrong prompts.")
    ] = ArcSettings.contrastive,
    flow: Annotated[
        float, typer.Option(min=0, help="Weight of the flow-matching anchor.")
    ] = ArcSettings.flow,
    penalty: Annotated[
        float, typer.Option(min=0, help="Weight of the discriminator's smoothness penalty.")
    ] = ArcSettings.penalty,
    renoise_mean: Annotated[
        float,
        typer.Option(
            "--renoise-mean",
            help="Of the logit of the discriminator's noise levels; less: it looks at details.",
        ),
    ] = ArcSettings.renoise_mean,
    average: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Decay of the average that is written; less for short trainings."
        ),
    ] = ArcSettings.average,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Device = "cpu",
    threads: Threads = 2,
    bfloat16: BFloat16 = ArcSettings.bfloat16,
    compiled: Compiled = False,
    half: Annotated[bool, typer.Option(help="Write the checkpoint as float16.")] = False,
    resume: Resume = False,
) -> None:
    """Post-train a flow model with ARC.

    OUT gets state.safetensors, metrics.jsonl, losses.png and checkpoint/. With --resume the
    settings are those the training began with, but for options that are given: a smaller --rate,
    say, for the end.
    """
    given = given_settings(context, ArcSettings)
    seconds = seconds_of(hours)

    import torch

    from arcmobile.export.checkpoint.folder import CheckpointFolder
    from arcmobile.export.manifest import folder_tokenizer
    from arcmobile.posttrain.arc import train as train_arc
    from arcmobile.posttrain.arc.trainer import ArcTrainer
    from arcmobile.posttrain.latents.cache import LatentCache

    use_threads(threads)
    check_device(device)
    folder = CheckpointFolder.open(base)
    if resume:
        trainer = train_arc.resumed(folder, out, given, device=device, compiled=compiled)
    else:
        require_new(out)
        trainer = ArcTrainer(
            train_arc.base_generator(folder),
            ArcSettings(**given),
            device=device,
            base=folder.digest(),
            compiled=compiled,
        )
    cache = LatentCache(latents)
    train_arc.require_fitting(cache, folder)
    settings = trainer.settings
    batches = train_arc.cached_batches(
        cache, folder_tokenizer(folder), seed=settings.seed, size=settings.batch
    )
    dtype = torch.float16 if half else torch.float32
    train_arc.train(trainer, folder, batches, out, seconds=seconds, dtype=dtype)
