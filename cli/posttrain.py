"""`arcmobile posttrain`: the steps from sounds to a post-trained checkpoint, in order.

The functions import PyTorch when they run, so that the help works without any extra.
"""

from __future__ import annotations

import typer

from arcmobile.cli.posttrain_arc import arc
from arcmobile.cli.posttrain_autoencoder import autoencoder
from arcmobile.cli.posttrain_classifier import classifier
from arcmobile.cli.posttrain_flow import flow
from arcmobile.cli.posttrain_latents import latents
from arcmobile.cli.posttrain_start import start
from arcmobile.cli.posttrain_text import text

posttrain_app = typer.Typer(no_args_is_help=True)


@posttrain_app.callback()
def posttrain() -> None:
    """Train a model, or make a trained flow model fast with ARC.

    To make a flow model fast (any checkpoint in the style of Stable Audio Open Small):
    latents --checkpoint BASE, then arc --base BASE.

    From scratch: autoencoder, text, start, latents --autoencoder, flow, arc.

    A training can be resumed after Ctrl-C (its state is saved, the exit code is 130) and after a
    file STOP in its folder (its checkpoint is written too).
    """


# In the order in which a model is trained from scratch.
posttrain_app.command("autoencoder")(autoencoder)
posttrain_app.command("text")(text)
posttrain_app.command("start")(start)
posttrain_app.command("latents")(latents)
posttrain_app.command("flow")(flow)
posttrain_app.command("arc")(arc)
posttrain_app.command("classifier")(classifier)
