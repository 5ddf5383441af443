"""`arcmobile posttrain start`: the checkpoint that the training of a DiT starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arcmobile.runtime.errors import InputError


def start(
    autoencoder: Annotated[Path, typer.Option(help="Folder of `posttrain autoencoder`.")],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
    text: Annotated[
        Path | None, typer.Option(help="Folder of `posttrain text`, or a checkpoint.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the DiT's initial values.")] = 0,
    generator: Annotated[
        Path | None,
        typer.Option(help="Or a checkpoint to give another autoencoder."),
    ] = None,
    half: Annotated[
        bool, typer.Option(help="Write the checkpoint of --generator as float16.")
    ] = False,
) -> None:
    """Assemble a checkpoint of a trained autoencoder, a trained text encoder and a new DiT."""
    if (text is None) == (generator is None):
        raise InputError("give either --text or --generator")

    import torch

    from arcmobile.posttrain.embedded_model import embedded_model_config
    from arcmobile.posttrain.flow.start_checkpoint import write_start, write_with_autoencoder

    if generator is not None:
        dtype = torch.float16 if half else torch.float32
        write_with_autoencoder(generator, autoencoder, out, dtype)
    elif text is not None:
        write_start(embedded_model_config(), autoencoder, text, out, seed=seed)
