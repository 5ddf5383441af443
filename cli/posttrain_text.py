"""`arcmobile posttrain text`: a vocabulary and a text encoder, from captions alone."""

from __future__ import annotations

import typer

from arcmobile.cli.posttrain_options import (
    Changes,
    Hours,
    Out,
    Resume,
    Threads,
    seconds_of,
    use_device,
    with_settings,
)
from arcmobile.posttrain.training.settings import TextSettings


@with_settings(TextSettings)
def text(
    changes: Changes,
    out: Out,
    hours: Hours = 1.0,
    threads: Threads = 1,
    resume: Resume = False,
) -> None:
    """Make a vocabulary and train a text encoder.

    OUT gets text_encoder/, state.safetensors, metrics.jsonl and losses.png. With --resume the
    settings are those the training began with, except for options that are given.
    """
    seconds = seconds_of(hours)

    from arcmobile.export.checkpoint.folder import TEXT_ENCODER_FOLDER
    from arcmobile.posttrain.text.train import new_trainer, train, write_text_files
    from arcmobile.posttrain.text.trainer import TextEncoderTrainer
    from arcmobile.posttrain.training.resume import start_or_resume

    use_device("cpu", threads)
    folder = out / TEXT_ENCODER_FOLDER

    def make(settings: TextSettings) -> TextEncoderTrainer:
        if not resume and not folder.exists():
            typer.echo("making the vocabulary")
            write_text_files(folder, settings.seed)
        return new_trainer(folder, settings)

    train(start_or_resume(out, TextSettings, changes, make, resume=resume), out, seconds=seconds)
