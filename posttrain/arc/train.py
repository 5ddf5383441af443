"""Post-trains a flow model with ARC, so that a few steps without guidance are enough.

``arcmobile posttrain arc --base CHECKPOINT --latents FOLDER --out FOLDER``, where
the second folder holds cached latents (:mod:`arcmobile.posttrain.latents.cache`) of the base's own
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
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
from arcmobile.export.model.weights import TensorSource
from arcmobile.posttrain.arc.trainer import ArcBatch, ArcTrainer
from arcmobile.posttrain.latents.cache import LatentBatch, LatentCache
from arcmobile.posttrain.training.checkpoint_folder import write_checkpoint
from arcmobile.posttrain.training.loop import METRICS, STATE, Rhythm, run_training
from arcmobile.posttrain.training.networks import TrainableGenerator
from arcmobile.posttrain.training.plots import plot_metrics
from arcmobile.posttrain.training.settings import ArcSettings
from arcmobile.posttrain.training.state import keep_metrics_until, read_metrics, read_tensors
from arcmobile.runtime.errors import CheckpointError, InputError
from arcmobile.runtime.tokenizer import PromptTokenizer

PLOT, CHECKPOINT = "losses.png", "checkpoint"
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
        probe=lambda: trainer.probe(batches(trainer.step)),
        advice="use a lower --rate and --discriminator-rate",
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
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{out / STATE}: of another version ({error}); choose another --out"
        ) from error
    keep_metrics_until(out / METRICS, trainer.step)
    return trainer


def require_fitting(cache: LatentCache, base: CheckpointFolder) -> None:
    """The latents have the base's channels and are no longer than it can see."""
    channels, frames = cache.mean.shape[1:]
    config = base.config
    if channels != config.dit.io_channels or frames > config.max_frames:
        raise InputError(
            f"--latents {cache.folder}: {channels} channels of {frames} frames; the base takes "
            f"{config.dit.io_channels} channels of at most {config.max_frames} frames"
        )
