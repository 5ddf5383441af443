"""`arcmobile posttrain classifier`: the classifier that `arcmobile evaluate` judges sounds with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arcmobile.cli.posttrain_options import Changes, Threads, use_device, with_settings
from arcmobile.posttrain.training.settings import ClassifierSettings


@with_settings(ClassifierSettings)
def classifier(
    changes: Changes,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write. Default: the one that evaluate uses.", show_default=False
        ),
    ] = None,
    threads: Threads = 1,
) -> None:
    """Train the classifier that judges generated sounds, and print its accuracy."""
    settings = ClassifierSettings(**changes)

    from arcmobile.posttrain.judgement.sound_classifier import STORED
    from arcmobile.posttrain.judgement.train_classifier import train, write_classifier

    use_device("cpu", threads)
    path = out or STORED
    found = write_classifier(path, train(settings), settings)
    typer.echo(
        f"{path}: {path.stat().st_size / 1e3:.0f} kB; held-out sounds right: "
        f"{found.plain:.1%} plain, {found.augmented:.1%} augmented"
    )
    for truth, guess, times in found.worst_pairs:
        typer.echo(f"  {truth} taken for {guess}: {times}")
