"""`arcmobile posttrain autoencoder`: sound to latents, and back."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from arcmobile.cli.posttrain_options import (
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
from arcmobile.posttrain.training.settings import AutoencoderSettings, Part
from arcmobile.runtime.errors import InputError


def autoencoder(
    context: typer.Context,
    out: Out,
    hours: Hours = 2.0,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps until the rate is low.")
    ] = AutoencoderSettings.steps,
    config: Annotated[
        Path | None,
        typer.Option(help="model_config.json. Default: one channel of the embedded model."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = AutoencoderSettings.seed,
    device: Device = "cpu",
    threads: Threads = 2,
    resume: Resume = False,
    batch: Annotated[int, typer.Option(min=1, help="Crops per step.")] = AutoencoderSettings.batch,
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16/--float32", help="Precision of products.")
    ] = AutoencoderSettings.bfloat16,
    part: Annotated[
        Part,
        typer.Option(help="Train one part alone; the encoder, where latents are a code's."),
    ] = AutoencoderSettings.part,
    finest_units: Annotated[
        bool,
        typer.Option(help="Train the residual units at the full rate: most of a step's time."),
    ] = AutoencoderSettings.finest_units,
    latent_noise: Annotated[
        float, typer.Option(min=0, help="Noise on latents, for a forgiving decoder.")
    ] = AutoencoderSettings.latent_noise,
    adversarial_from: Annotated[
        float, typer.Option(min=0, max=1, help="When the discriminator comes in.")
    ] = AutoencoderSettings.adversarial_from,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting, as name=number, e.g. logarithm=0.2."),
    ] = None,
    compiled: Compiled = True,
) -> None:
    """Train the autoencoder on synthesized sounds.

    OUT gets state.safetensors, metrics.jsonl, losses.png, autoencoder.safetensors,
    autoencoder.json and examples/. With --resume the settings are those the training began with,
    but for options that are given.
    """
    given = given_settings(context, AutoencoderSettings)
    given |= dict(_setting(text) for text in settings or [])
    seconds = seconds_of(hours)

    from arcmobile.export.model.config import load_model_config
    from arcmobile.posttrain.autoencoder.train import resumed, spectral_code, train
    from arcmobile.posttrain.autoencoder.trainer import AutoencoderTrainer
    from arcmobile.posttrain.embedded_model import one_channel_autoencoder

    use_threads(threads)
    check_device(device)
    network = load_model_config(config).autoencoder if config else one_channel_autoencoder()
    if resume:
        trainer = resumed(network, out, given, device=device, compiled=compiled)
    else:
        require_new(out)
        chosen = AutoencoderSettings(**given)
        code = spectral_code(network, out)
        trainer = AutoencoderTrainer(network, chosen, code=code, device=device, compiled=compiled)
    train(trainer, out, seconds=seconds)


def _setting(text: str) -> tuple[str, float | int]:
    """``name=number`` of a numeric setting; InputError for anything else."""
    name, _, number = text.partition("=")
    known: dict[str, type[int] | type[float]] = {
        field.name: int if type(field.default) is int else float
        for field in fields(AutoencoderSettings)
        if type(field.default) in (int, float)
    }
    try:
        return name, known[name](number)
    except (KeyError, ValueError):
        raise InputError(f"--set {text}: give name=number; names: {', '.join(known)}") from None
