"""`arcmobile posttrain text`: a vocabulary and a text encoder, from captions alone."""

from __future__ import annotations

from typing import Annotated

import typer

from arcmobile.cli.posttrain_options import (
    Hours,
    Out,
    Resume,
    Threads,
    require_new,
    seconds_of,
    use_threads,
)
from arcmobile.posttrain.training.overrides import given_settings
from arcmobile.posttrain.training.settings import TextSettings


def text(
    context: typer.Context,
    out: Out,
    hours: Hours = 1.0,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps until the rate is nothing.")
    ] = TextSettings.steps,
    learning_rate: Annotated[
        float, typer.Option("--rate", min=0, help="Learning rate.")
    ] = TextSettings.learning_rate,
    seed: Annotated[int, typer.Option(min=0)] = TextSettings.seed,
    threads: Threads = 1,
    resume: Resume = False,
) -> None:
    """Make a vocabulary and train a text encoder.

    OUT gets text_encoder/, state.safetensors, metrics.jsonl and losses.png. With --resume the
    settings are those the training began with, but for options that are given.
    """
    given = given_settings(context, TextSettings)
    seconds = seconds_of(hours)

    from arcmobile.export.checkpoint.folder import TEXT_ENCODER_FOLDER
    from arcmobile.posttrain.text.train import (
        new_trainer,
        resumed,
        train,
        write_text_files,
    )

    use_threads(threads)
    if resume:
        trainer = resumed(out, given)
    else:
        require_new(out)
        settings, folder = TextSettings(**given), out / TEXT_ENCODER_FOLDER
        if not folder.exists():
            typer.echo("making the vocabulary")
            write_text_files(folder, settings.seed)
        trainer = new_trainer(folder, settings)
    train(trainer, out, seconds=seconds)
