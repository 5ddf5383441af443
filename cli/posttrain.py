"""`arcmobile posttrain`: the steps from sounds to a post-trained checkpoint, in their order."""

from __future__ import annotations

import typer

from arcmobile.posttrain import (
    cache_latents,
    start_checkpoint,
    train_arc,
    train_autoencoder,
    train_flow,
    train_text_encoder,
)

posttrain_app = typer.Typer(no_args_is_help=True)


@posttrain_app.callback()
def posttrain() -> None:
    """Train a model, or make a trained flow model fast with ARC.

    From a flow model to a fast one (any Stable Audio Open Small style checkpoint):
    latents --checkpoint BASE, then arc --base BASE.

    From nothing: autoencoder, text, start, latents --autoencoder, flow, arc.

    Every step can be stopped (Ctrl-C, or a file STOP in its folder) and resumed.
    """


# In the order in which a model is trained from nothing.
posttrain_app.command("autoencoder")(train_autoencoder.main)
posttrain_app.command("text")(train_text_encoder.main)
posttrain_app.command("start")(start_checkpoint.main)
posttrain_app.command("latents")(cache_latents.main)
posttrain_app.command("flow")(train_flow.main)
posttrain_app.command("arc")(train_arc.main)
