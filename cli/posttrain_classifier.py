"""`arcmobile posttrain classifier`: what names sounds for `arcmobile evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arcmobile.cli.posttrain_options import Threads, use_threads
from arcmobile.posttrain.training.settings import ClassifierSettings


def classifier(
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write. Default: the one that evaluate uses.", show_default=False
        ),
    ] = None,
    sounds: Annotated[
        int, typer.Option(min=2, help="Synthesized sounds of every class.")
    ] = ClassifierSettings.sounds,
    epochs: Annotated[int, typer.Option(min=1)] = ClassifierSettings.epochs,
    seed: Annotated[int, typer.Option(min=0)] = ClassifierSettings.seed,
    threads: Threads = 1,
) -> None:
    """Train the classifier that judges generated sounds; prints its accuracy."""
    settings = ClassifierSettings(sounds=sounds, epochs=epochs, seed=seed)

    from arcmobile.posttrain.judgement.sound_classifier import STORED
    from arcmobile.posttrain.judgement.train_classifier import train, write_classifier

    use_threads(threads)
    path = out or STORED
    found = write_classifier(path, train(settings), settings)
    typer.echo(
        f"{path}: {path.stat().st_size / 1e3:.0f} kB; held-out sounds right: "
        f"{found.plain:.1%} plain, {found.disturbed:.1%} disturbed"
    )
    for said, heard, times in found.worst_pairs:
        typer.echo(f"  {said} taken for {heard}: {times}")
