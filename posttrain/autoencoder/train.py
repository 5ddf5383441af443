"""Trains the Oobleck autoencoder on drawn sounds.

``arcmobile posttrain autoencoder --out FOLDER``, which holds then::

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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arcmobile.export.model.autoencoder_config import AutoencoderConfig
from arcmobile.posttrain.autoencoder.crops import (
    HELD_OUT_SEED,
    Audio,
    DrawSound,
    crop_batches,
    drawn_audio,
)
from arcmobile.posttrain.autoencoder.reconstruction import figures, reconstruct_all, write_examples
from arcmobile.posttrain.autoencoder.spectral_code import (
    SpectralCode,
    fit_spectral_code,
    has_spectral_code,
)
from arcmobile.posttrain.autoencoder.tensors import TrainableAutoencoder
from arcmobile.posttrain.autoencoder.trainer import AutoencoderTrainer, latent_figures
from arcmobile.posttrain.sounds import draw
from arcmobile.posttrain.training.divergence import Losses
from arcmobile.posttrain.training.loop import METRICS, STATE, Rhythm, run_training
from arcmobile.posttrain.training.plots import plot_metrics
from arcmobile.posttrain.training.settings import AutoencoderSettings
from arcmobile.posttrain.training.state import (
    append_metrics,
    finite_or_none,
    keep_metrics_until,
    read_metrics,
    read_tensors,
    write_tensors,
)
from arcmobile.runtime.errors import CheckpointError, InputError
from arcmobile.runtime.whole_output import write_whole_text

TENSORS, SUMMARY = "autoencoder.safetensors", "autoencoder.json"
_CODE_SEEDS = range(2 * HELD_OUT_SEED, 2 * HELD_OUT_SEED + 800)
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

    Raises what :func:`run_training` does.
    """
    habits, settings = habits or Habits(), trainer.settings
    latest: list[Audio] = []
    with closing(
        crop_batches(settings.seed, trainer.step, settings.batch, settings.samples, draw_sound)
    ) as batches:

        def train_step() -> dict[str, float]:
            latest[:] = [next(batches)]
            return trainer.train_step(latest[0])

        def probe() -> Losses:
            return trainer.probe(latest[0]) if latest else {}

        run_training(
            trainer,
            out,
            name="autoencoder",
            train_step=train_step,
            probe=probe,
            advice="use a lower --set learning_rate",
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
    text = json.dumps(finite_or_none(content), indent=2, allow_nan=False)
    write_whole_text(path, text + "\n", overwrite=True)


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
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{out / STATE}: of another autoencoder or version ({error}); choose another --out"
        ) from error
    keep_metrics_until(out / METRICS, trainer.step)
    return trainer
