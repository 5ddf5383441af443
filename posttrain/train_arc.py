"""Post-trains a flow model with ARC, so that a few steps without guidance are enough.

``python -m arcmobile.posttrain.train_arc --base CHECKPOINT --latents FOLDER --out FOLDER``, where
the second folder holds cached latents (:mod:`arcmobile.posttrain.latent_cache`) of the base's own
autoencoder. ``--out`` holds then::

    state.safetensors   all that a resumed training needs besides the base; replaced as a whole
    metrics.jsonl       a row of losses every few steps
    losses.png          the same, plotted
    checkpoint/         the averaged generator as a complete checkpoint, ready for export

A file ``STOP`` put into the folder ends the training after the running step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import torch
import typer
from torch import Tensor

from arcmobile.export.checkpoint import CheckpointFolder, require_sound
from arcmobile.export.manifest import folder_tokenizer
from arcmobile.export.model.weights import TensorSource
from arcmobile.posttrain.arc_training import ArcBatch, ArcSettings, ArcTrainer
from arcmobile.posttrain.checkpoint_folder import write_checkpoint
from arcmobile.posttrain.given_settings import given_settings
from arcmobile.posttrain.latent_cache import LatentBatch, LatentCache
from arcmobile.posttrain.trainable_networks import TrainableGenerator
from arcmobile.posttrain.training_loop import METRICS, STATE, Rhythm, run_training
from arcmobile.posttrain.training_plots import plot_metrics
from arcmobile.posttrain.training_state import keep_metrics_until, read_metrics, read_tensors
from arcmobile.runtime.errors import ArcMobileError, CheckpointError, InputError
from arcmobile.runtime.tokenizer import PromptTokenizer

PLOT, CHECKPOINT = "losses.png", "checkpoint"
_SECONDS_PER_HOUR = 3600
_PANELS = (
    ("generator", "discriminator", "contrastive"),
    ("gap",),
    ("told_apart", "prompts_told_apart"),
    ("flow",),
    ("penalty", "generator_gradient", "discriminator_gradient"),
)

Batches = Callable[[int], ArcBatch]
"""The batch of a step, the same whenever it is asked for."""


class Latents(Protocol):
    """What :class:`LatentCache` offers of itself here."""

    def batch(self, rng: np.random.Generator, size: int) -> LatentBatch:
        """``size`` latents (channels, frames) with captions and seconds."""
        ...


def base_generator(base: CheckpointFolder) -> TrainableGenerator:
    """The generator of a checkpoint that was looked over; CheckpointError where it is faulty."""
    require_sound(base)
    return TrainableGenerator(
        base.config, base.text_config, _read(base.source), _read(base.text_source)
    )


def _read(source: TensorSource) -> dict[str, Tensor]:
    return {name: source.read(name) for name in source.names() if "pretransform." not in name}


def cached_batches(cache: Latents, tokenizer: PromptTokenizer, *, seed: int, size: int) -> Batches:
    """Batches out of a cache, drawn from the seed and the step."""

    def batch(step: int) -> ArcBatch:
        latents, captions, seconds = cache.batch(np.random.default_rng([seed, step]), size)
        prompts = [tokenizer(caption) for caption in captions]
        return ArcBatch(
            latents,
            torch.from_numpy(np.concatenate([p.input_ids for p in prompts])).long(),
            torch.from_numpy(np.concatenate([p.attention_mask for p in prompts])),
            seconds,
        )

    return batch


def train(
    trainer: ArcTrainer,
    base: CheckpointFolder,
    batches: Batches,
    out: Path,
    *,
    seconds: float,
    dtype: torch.dtype = torch.float32,
    rhythm: Rhythm | None = None,
) -> None:
    """Trains as :func:`run_training` says; a checkpoint of ``dtype`` is written with every
    judgement."""

    def judge() -> None:
        write_checkpoint(base.path, out / CHECKPOINT, *trainer.averaged_tensors(), dtype)
        plot_metrics(out / PLOT, read_metrics(out / METRICS), _PANELS)

    run_training(
        trainer,
        out,
        name="arc",
        train_step=lambda: trainer.train_step(batches(trainer.step)),
        judge=judge,
        steps=trainer.settings.steps,
        seconds=seconds,
        watched="gap",
        rhythm=rhythm,
    )


def resumed(
    base: CheckpointFolder,
    out: Path,
    changed: Mapping[str, Any],
    *,
    device: str,
    compiled: bool = False,
) -> ArcTrainer:
    """The trainer of the state in a folder, with its settings but for those ``changed``."""
    if not (out / STATE).is_file():
        raise InputError(f"--resume: {out} holds no {STATE}; start without it")
    tensors, header = read_tensors(out / STATE)
    if header.get("base") != base.digest():
        raise InputError(f"--base {base.path}: {out} was trained from another checkpoint")
    try:
        settings = ArcSettings(**{**header["settings"], **changed})
        trainer = ArcTrainer(
            base_generator(base), settings, device=device, base=base.digest(), compiled=compiled
        )
        trainer.restore(tensors, header)
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{out / STATE}: of another version ({error}); choose another --out"
        ) from error
    keep_metrics_until(out / METRICS, trainer.step)
    return trainer


app = typer.Typer(add_completion=False)


@app.command()
def main(
    context: typer.Context,
    base: Annotated[Path, typer.Option(help="Checkpoint folder of a flow model.")],
    latents: Annotated[Path, typer.Option(help="Folder of cached latents.")],
    out: Annotated[Path, typer.Option(help="Folder of this training.")],
    hours: Annotated[float, typer.Option(min=0, help="Longest time to train for.")] = 2.0,
    steps: Annotated[int, typer.Option(min=1, help="Steps to train for.")] = ArcSettings.steps,
    batch: Annotated[int, typer.Option(min=2)] = ArcSettings.batch,
    generator_rate: Annotated[
        float, typer.Option("--rate", min=0, help="Learning rate of the generator.")
    ] = ArcSettings.generator_rate,
    discriminator_rate: Annotated[
        float, typer.Option(min=0, help="Learning rate of the discriminator.")
    ] = ArcSettings.discriminator_rate,
    contrastive: Annotated[
        float, typer.Option(min=0, help="Weight of the loss on wrong prompts.")
    ] = ArcSettings.contrastive,
    flow: Annotated[
        float, typer.Option(min=0, help="Weight of the flow-matching anchor.")
    ] = ArcSettings.flow,
    penalty: Annotated[
        float, typer.Option(min=0, help="Weight of the discriminator's smoothness penalty.")
    ] = ArcSettings.penalty,
    renoise_mean: Annotated[
        float,
        typer.Option(
            "--renoise-mean",
            help="Of the logit of the discriminator's noise levels; less: it looks at details.",
        ),
    ] = ArcSettings.renoise_mean,
    average: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Decay of the average that is written; less for short trainings."
        ),
    ] = ArcSettings.average,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1)] = 2,
    bfloat16: Annotated[bool, typer.Option(help="Mixed precision.")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Needs a C++ compiler; faster.")
    ] = False,
    half: Annotated[bool, typer.Option(help="Write the checkpoint as float16.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on from the state in the folder.")] = False,
) -> None:
    """Post-train a flow model; see the module's text for what is written.

    With --resume the settings are those the training began with, but for options that are given:
    a smaller --rate, say, for the end.
    """
    torch.set_num_threads(threads)
    try:
        folder = CheckpointFolder.open(base)
        given = given_settings(context, ArcSettings)
        if resume:
            trainer = resumed(folder, out, given, device=device, compiled=compiled)
        else:
            if (out / STATE).exists():
                raise InputError(f"--out {out}: holds a training; add --resume or remove it")
            trainer = ArcTrainer(
                base_generator(folder),
                ArcSettings(**given),
                device=device,
                base=folder.digest(),
                compiled=compiled,
            )
        cache = LatentCache(latents)
        _require_fitting(cache, folder, latents)
        settings = trainer.settings
        batches = cached_batches(
            cache, folder_tokenizer(folder), seed=settings.seed, size=settings.batch
        )
        dtype = torch.float16 if half else torch.float32
        train(trainer, folder, batches, out, seconds=hours * _SECONDS_PER_HOUR, dtype=dtype)
    except ArcMobileError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


def _require_fitting(cache: LatentCache, base: CheckpointFolder, folder: Path) -> None:
    """The latents have the base's channels and are no longer than it can see."""
    channels, frames = cache.mean.shape[1:]
    config = base.config
    if channels != config.dit.io_channels or frames > config.max_frames:
        raise InputError(
            f"--latents {folder}: {channels} channels of {frames} frames; the base takes "
            f"{config.dit.io_channels} channels of at most {config.max_frames} frames"
        )


if __name__ == "__main__":
    app()
