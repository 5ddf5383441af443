"""Trains the generator by flow matching: the base model that ARC starts from.

``python -m arcmobile.posttrain.train_flow --start CHECKPOINT --latents FOLDER --out FOLDER``, where
the first folder comes from ``start_checkpoint`` (or is any checkpoint of a flow model, to go on
with) and the second holds cached latents of its autoencoder. ``--out`` holds then::

    state.safetensors   all that a resumed training needs besides the start; replaced as a whole
    metrics.jsonl       a row of losses every few steps
    losses.png          the same, plotted
    checkpoint/         the averaged generator as a complete checkpoint

A file ``STOP`` put into the folder ends the training after the running step.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from arcmobile.export.checkpoint import CheckpointFolder
from arcmobile.export.manifest import folder_tokenizer
from arcmobile.posttrain.checkpoint_folder import write_checkpoint
from arcmobile.posttrain.flow_matching import FlowSettings, FlowTrainer
from arcmobile.posttrain.latent_cache import LatentCache
from arcmobile.posttrain.train_arc import base_generator, cached_batches
from arcmobile.posttrain.training_loop import METRICS, STATE, run_training
from arcmobile.posttrain.training_plots import plot_metrics
from arcmobile.posttrain.training_state import keep_metrics_until, read_metrics, read_tensors
from arcmobile.runtime.errors import ArcMobileError, CheckpointError, InputError

CHECKPOINT = "checkpoint"
_SECONDS_PER_HOUR = 3600
_PANELS = (("flow", "flow_noisy", "flow_clean"), ("gradient",))


def resumed(
    start: CheckpointFolder, out: Path, steps: int | None, *, device: str, compiled: bool
) -> FlowTrainer:
    """The trainer of the state in a folder, with its settings; ``steps`` may change their number.

    Raises InputError without a state, CheckpointError for one of another model.
    """
    if not (out / STATE).is_file():
        raise InputError(f"--resume: {out} holds no {STATE}; start without it")
    tensors, header = read_tensors(out / STATE)
    try:
        settings = FlowSettings(**header["settings"])
        if steps is not None:
            settings = replace(settings, steps=steps)
        trainer = FlowTrainer(base_generator(start), settings, device=device, compiled=compiled)
        trainer.restore(tensors, header)
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{out / STATE}: of another model or version ({error}); choose another --out"
        ) from error
    keep_metrics_until(out / METRICS, trainer.step)
    return trainer


def train(
    trainer: FlowTrainer, start: CheckpointFolder, cache: LatentCache, out: Path, seconds: float
) -> None:
    """Trains as :func:`run_training` says; the checkpoint is written with every judgement."""
    settings = trainer.settings
    batches = cached_batches(
        cache, folder_tokenizer(start), seed=settings.seed, size=settings.batch
    )

    def judge() -> None:
        tensors = trainer.averaged_tensors()
        write_checkpoint(start.path, out / CHECKPOINT, *tensors, torch.float32)
        plot_metrics(out / "losses.png", read_metrics(out / METRICS), _PANELS)

    run_training(
        trainer,
        out,
        name="flow matching",
        train_step=lambda: trainer.train_step(batches(trainer.step)),
        judge=judge,
        steps=settings.steps,
        seconds=seconds,
        watched="flow",
    )


app = typer.Typer(add_completion=False)


@app.command()
def main(
    start: Annotated[Path, typer.Option(help="Checkpoint to start from.")],
    latents: Annotated[Path, typer.Option(help="Folder of cached latents.")],
    out: Annotated[Path, typer.Option(help="Folder of this training.")],
    hours: Annotated[float, typer.Option(min=0, help="Longest time to train for.")] = 2.0,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps until the rate is low.")] = None,
    batch: Annotated[int, typer.Option(min=1)] = FlowSettings.batch,
    rate: Annotated[float, typer.Option(min=0)] = FlowSettings.learning_rate,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1)] = 2,
    bfloat16: Annotated[bool, typer.Option(help="Mixed precision.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Needs a C++ compiler; faster.")
    ] = False,
    resume: Annotated[bool, typer.Option(help="Go on from the state in the folder.")] = False,
) -> None:
    """Train by flow matching; see the module's text for what is written."""
    torch.set_num_threads(threads)
    try:
        folder = CheckpointFolder.open(start)
        if resume:
            trainer = resumed(folder, out, steps, device=device, compiled=compiled)
        else:
            if (out / STATE).exists():
                raise InputError(f"--out {out}: holds a training; add --resume or remove it")
            settings = FlowSettings(
                seed=seed,
                steps=steps or FlowSettings.steps,
                batch=batch,
                learning_rate=rate,
                bfloat16=bfloat16,
            )
            trainer = FlowTrainer(
                base_generator(folder), settings, device=device, compiled=compiled
            )
        train(trainer, folder, LatentCache(latents), out, hours * _SECONDS_PER_HOUR)
    except ArcMobileError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
