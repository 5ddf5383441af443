"""Trains the Oobleck autoencoder on drawn sounds.

``python -m arcmobile.posttrain.train_autoencoder --out FOLDER``, which holds then::

    state.safetensors        all that a resumed training needs; replaced as a whole
    metrics.jsonl            a row of losses every few steps, and a row of figures per judgement
    losses.png               both, plotted
    autoencoder.safetensors  averaged weights under a checkpoint's names
    autoencoder.json         config, latent scale, figures on held-out sounds
    spectral_code.safetensors  for a decoder of tones: what latents are (:mod:`.spectral_code`)
    examples/                held-out sounds and what became of them

A file ``STOP`` put into the folder ends the training after the running step. On busy CPUs set
``OMP_WAIT_POLICY=PASSIVE``: threads that spin while others wait for a core cost most of the time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from arcmobile.export.model.config import AutoencoderConfig, load_model_config
from arcmobile.posttrain.autoencoder_crops import (
    HELD_OUT_SEED,
    DrawSound,
    crop_batches,
    drawn_audio,
)
from arcmobile.posttrain.autoencoder_tensors import TrainableAutoencoder
from arcmobile.posttrain.autoencoder_training import (
    AutoencoderSettings,
    AutoencoderTrainer,
    Part,
    latent_figures,
)
from arcmobile.posttrain.embedded_model import one_channel_autoencoder
from arcmobile.posttrain.given_settings import given_settings
from arcmobile.posttrain.reconstruction import figures, reconstruct_all, write_examples
from arcmobile.posttrain.sounds import draw
from arcmobile.posttrain.spectral_code import SpectralCode, fit_spectral_code, has_spectral_code
from arcmobile.posttrain.training_loop import METRICS, STATE, Rhythm, run_training
from arcmobile.posttrain.training_plots import plot_metrics
from arcmobile.posttrain.training_state import (
    append_metrics,
    keep_metrics_until,
    read_metrics,
    read_tensors,
    write_tensors,
)
from arcmobile.runtime.errors import ArcMobileError, CheckpointError, InputError
from arcmobile.runtime.whole_output import write_whole_text

TENSORS, SUMMARY = "autoencoder.safetensors", "autoencoder.json"
_CODE_SEEDS = range(2 * HELD_OUT_SEED, 2 * HELD_OUT_SEED + 800)
_SECONDS_PER_HOUR = 3600
_PLOTTED_LOSSES = (
    *("loss", "stft", "mel", "waveform", "imitation"),
    *("features", "adversarial", "discriminator"),
)
_PLOTTED_FIGURES = ("si_sdr", "log_spectral", "log_mel")


@dataclass(frozen=True)
class Habits(Rhythm):
    """How often a training writes, and on how many held-out sounds it is judged."""

    held_out: int = 32


def train(
    trainer: AutoencoderTrainer,
    out: Path,
    *,
    seconds: float,
    habits: Habits | None = None,
    draw_sound: DrawSound = drawn_audio,
) -> None:
    """Trains until ``settings.steps``, for ``seconds``, or until a file STOP is there; then writes.

    Ctrl-C ends it as STOP does. Raises OutputError where the folder cannot be written.
    """
    habits, settings = habits or Habits(), trainer.settings
    with closing(
        crop_batches(settings.seed, trainer.step, settings.batch, settings.samples, draw_sound)
    ) as batches:
        run_training(
            trainer,
            out,
            name="autoencoder",
            train_step=lambda: trainer.train_step(next(batches)),
            judge=lambda: judge(trainer, out, habits, draw_sound),
            steps=settings.steps,
            seconds=seconds,
            watched="loss",
            rhythm=habits,
        )


def judge(trainer: AutoencoderTrainer, out: Path, habits: Habits, draw_sound: DrawSound) -> None:
    """Writes the averaged weights and what they make of held-out sounds."""
    seeds = range(HELD_OUT_SEED, HELD_OUT_SEED + habits.held_out)
    sounds = [draw_sound(seed) for seed in seeds]
    network = TrainableAutoencoder(trainer.config, trainer.averaged_tensors()).to(trainer.device)
    means: list[np.ndarray] = []
    stdevs: list[np.ndarray] = []

    def reconstruct(audio: torch.Tensor) -> torch.Tensor:
        # One of one channel codes the channels of a sound one by one.
        parts = audio.reshape(-1, trainer.config.io_channels, audio.shape[-1])
        mean, stdev = network.encode(parts.to(trainer.device))
        means.extend(mean.cpu().numpy())
        stdevs.extend(stdev.cpu().numpy())
        latent = trainer.code.encode(parts) if trainer.code else mean
        return network.decode(latent.to(trainer.device)).reshape(audio.shape)

    made = reconstruct_all(reconstruct, sounds, trainer.config.downsampling_ratio)
    result = figures(made, sounds)
    latents = latent_figures(means, stdevs)
    if trainer.code:
        latents["scale"] = 1.0  # the code's are of unit size
    append_metrics(
        out / METRICS,
        {"step": trainer.step, **asdict(result), "scale": latents["scale"]},
    )
    write_tensors(out / TENSORS, trainer.averaged_tensors(), {"step": trainer.step})
    summary = {
        "step": trainer.step,
        "config": trainer.config.model_dump(mode="json"),
        "settings": asdict(trainer.settings),
        "latents": latents,
        "held_out": {"sounds": len(sounds), "first_seed": HELD_OUT_SEED, **asdict(result)},
    }
    write_json(out / SUMMARY, summary)
    captions = [draw(seed).caption if draw_sound is drawn_audio else str(seed) for seed in seeds]
    write_examples(out / "examples", sounds, made, captions)
    rows = read_metrics(out / METRICS)
    plot_metrics(out / "losses.png", rows, (_PLOTTED_LOSSES, _PLOTTED_FIGURES))


def spectral_code(config: AutoencoderConfig, out: Path) -> SpectralCode | None:
    """The code that a training starts from, fitted and kept in ``out``; None if it has no use."""
    if not has_spectral_code(config):
        return None
    code = SpectralCode.load(out)
    if code is None:
        code = fit_spectral_code(config, drawn_audio, _CODE_SEEDS)
        code.save(out)
    return code


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_whole_text(path, json.dumps(content, indent=2) + "\n", overwrite=True)


def resumed(
    config: AutoencoderConfig,
    out: Path,
    changed: Mapping[str, Any],
    *,
    device: str,
    compiled: bool,
) -> AutoencoderTrainer:
    """The trainer of the state in a folder, with its settings but for those ``changed``."""
    if not (out / STATE).is_file():
        raise InputError(f"--resume: {out} holds no {STATE}; start without it")
    tensors, header = read_tensors(out / STATE)
    try:
        settings = AutoencoderSettings(**{**header["settings"], **changed})
        code = SpectralCode.load(out)
        trainer = AutoencoderTrainer(config, settings, code=code, device=device, compiled=compiled)
        trainer.restore(tensors, header)
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{out / STATE}: of another autoencoder or version ({error}); choose another --out"
        ) from error
    keep_metrics_until(out / METRICS, trainer.step)
    return trainer


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


app = typer.Typer(add_completion=False)


@app.command()
def main(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder of this training.")],
    hours: Annotated[float, typer.Option(min=0, help="Longest time to train for.")] = 2.0,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps until the rate is low.")
    ] = AutoencoderSettings.steps,
    config: Annotated[
        Path | None,
        typer.Option(help="model_config.json. Default: one channel of the embedded model."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = AutoencoderSettings.seed,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1)] = 2,
    resume: Annotated[bool, typer.Option(help="Go on from the state in the folder.")] = False,
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
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Needs a C++ compiler; faster.")
    ] = True,
) -> None:
    """Train the autoencoder; see the module's text for what is written."""
    torch.set_num_threads(threads)
    try:
        network = load_model_config(config).autoencoder if config else one_channel_autoencoder()
        given = given_settings(context, AutoencoderSettings)
        given |= dict(_setting(text) for text in settings or [])
        if resume:
            trainer = resumed(network, out, given, device=device, compiled=compiled)
        else:
            if (out / STATE).exists():
                raise InputError(f"--out {out}: holds a training; add --resume or remove it")
            chosen = AutoencoderSettings(**given)
            code = spectral_code(network, out)
            trainer = AutoencoderTrainer(
                network, chosen, code=code, device=device, compiled=compiled
            )
        train(trainer, out, seconds=hours * _SECONDS_PER_HOUR)
    except ArcMobileError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
