"""`arcmobile posttrain autoencoder`: sound to latents, and back."""

from __future__ import annotations

from dataclasses import fields
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
from arcmobile.posttrain.training.settings import AutoencoderSettings
from arcmobile.runtime.errors import InputError


@with_settings(AutoencoderSettings)
def autoencoder(
    changes: Changes,
    out: Out,
    hours: Hours = 2.0,
    config: Annotated[
        Path | None,
        typer.Option(help="model_config.json. Default: one channel of the embedded model."),
    ] = None,
    device: Device = "cpu",
    threads: Threads = 2,
    compiled: Compiled = True,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting, as name=number, e.g. logarithm=0.2."),
    ] = None,
    resume: Resume = False,
) -> None:
    """Train the autoencoder on synthesized sounds.

    OUT gets state.safetensors, metrics.jsonl, losses.png, autoencoder.safetensors,
    autoencoder.json and examples/. With --resume the settings are those the training began with,
    except for options that are given.
    """
    changes |= dict(_assigned(text) for text in assignments or [])
    seconds = seconds_of(hours)

    from arcmobile.export.model.config import load_model_config
    from arcmobile.posttrain.autoencoder.train import spectral_code, train
    from arcmobile.posttrain.autoencoder.trainer import AutoencoderTrainer
    from arcmobile.posttrain.embedded_model import one_channel_autoencoder
    from arcmobile.posttrain.training.resume import start_or_resume

    use_device(device, threads)
    network = load_model_config(config).autoencoder if config else one_channel_autoencoder()

    def make(settings: AutoencoderSettings) -> AutoencoderTrainer:
        code = spectral_code(network, out, fit=not resume)
        return AutoencoderTrainer(network, settings, code=code, device=device, compiled=compiled)

    trainer = start_or_resume(out, AutoencoderSettings, changes, make, resume=resume)
    train(trainer, out, seconds=seconds)


def _assigned(text: str) -> tuple[str, float | int]:
    """Name and number of ``name=number``; InputError for anything else."""
    name, _, number = text.partition("=")
    known: dict[str, type[int] | type[float]] = {
        declared.name: int if type(declared.default) is int else float
        for declared in fields(AutoencoderSettings)
        if type(declared.default) in (int, float)
    }
    try:
        return name, known[name](number)
    except (KeyError, ValueError):
        raise InputError(f"--set {text}: give name=number; names: {', '.join(known)}") from None
