"""Trains the Oobleck autoencoder on synthesized sounds.

The folder of a training holds::

    state.safetensors        all that a resumed training needs; replaced as a whole
    metrics.jsonl            a row of losses every few steps, and a row of figures per evaluation
    losses.png               both, plotted
    autoencoder.safetensors  averaged weights under a checkpoint's names
    autoencoder.json         config, latent scale, figures on held-out sounds
    spectral_code.safetensors  for a decoder of tones: what latents are (:mod:`.spectral_code`)
    examples/                held-out sounds and their reconstructions

A file ``STOP`` put into the folder ends the training after the running step. On busy CPUs set
``OMP_WAIT_POLICY=PASSIVE``: threads that spin while others wait for a core cost most of the time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arcmobile.export.model.autoencoder_config import AutoencoderConfig
from arcmobile.posttrain.autoencoder.crops import (
    HELD_OUT_SEED,
    Audio,
    MakeSound,
    crop_batches,
    synthesized_audio,
)
from arcmobile.posttrain.autoencoder.reconstruction import figures, reconstruct_all, write_examples
from arcmobile.posttrain.autoencoder.spectral_code import (
    SpectralCode,
    fit_spectral_code,
    has_spectral_code,
)
from arcmobile.posttrain.autoencoder.tensors import TrainableAutoencoder
from arcmobile.posttrain.autoencoder.trainer import AutoencoderTrainer, latent_figures
from arcmobile.posttrain.sounds import synthesize
from arcmobile.posttrain.training.divergence import Losses
from arcmobile.posttrain.training.loop import Intervals, run_training
from arcmobile.posttrain.training.metrics import (
    METRICS,
    append_metrics,
    finite_or_none,
    plot_training,
)
from arcmobile.posttrain.training.state import write_tensors
from arcmobile.runtime.whole_output import write_whole_text

TENSORS, SUMMARY = "autoencoder.safetensors", "autoencoder.json"
_HELD_OUT = 32
_CODE_SEEDS = range(2 * HELD_OUT_SEED, 2 * HELD_OUT_SEED + 800)
_PANELS = (
    ("loss", "stft", "mel", "waveform", "imitation", "features", "adversarial", "discriminator"),
    ("si_sdr", "log_spectral", "log_mel"),
)


def train(
    trainer: AutoencoderTrainer,
    out: Path,
    *,
    seconds: float,
    intervals: Intervals | None = None,
    held_out: int = _HELD_OUT,
    make_sound: MakeSound = synthesized_audio,
) -> None:
    """Train until ``settings.steps``, for ``seconds``, or until a file STOP; write the results.

    Args:
        trainer: what to train.
        out: folder of the training.
        seconds: longest time.
        intervals: how often to write.
        held_out: sounds that are reconstructed in each evaluation.
        make_sound: sound of a seed.

    Raises:
        OutputError: the folder cannot be written, or another process writes it.
        TrainingError: the training diverged; the last state before is left.
    """
    settings = trainer.settings
    latest: list[Audio] = []
    with closing(
        crop_batches(settings.seed, trainer.step, settings.batch, settings.samples, make_sound)
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
            evaluate=lambda: evaluate(trainer, out, held_out, make_sound),
            steps=settings.steps,
            seconds=seconds,
            watched="loss",
            intervals=intervals,
        )


def evaluate(trainer: AutoencoderTrainer, out: Path, held_out: int, make_sound: MakeSound) -> None:
    """Write the averaged weights and their reconstructions of held-out sounds."""
    seeds = range(HELD_OUT_SEED, HELD_OUT_SEED + held_out)
    sounds = [make_sound(seed) for seed in seeds]
    network = TrainableAutoencoder(trainer.config, trainer.averaged_tensors()).to(trainer.device)
    means: list[np.ndarray] = []
    stdevs: list[np.ndarray] = []

    def reconstruct(audio: torch.Tensor) -> torch.Tensor:
        # An autoencoder of one channel codes the channels of a sound one by one.
        parts = audio.reshape(-1, trainer.config.io_channels, audio.shape[-1])
        mean, stdev = network.encode(parts.to(trainer.device))
        means.extend(mean.cpu().numpy())
        stdevs.extend(stdev.cpu().numpy())
        latent = trainer.code.encode(parts) if trainer.code else mean
        return network.decode(latent.to(trainer.device)).reshape(audio.shape)

    estimates = reconstruct_all(reconstruct, sounds, trainer.config.downsampling_ratio)
    result = figures(estimates, sounds)
    latents = latent_figures(means, stdevs)
    if trainer.code:
        latents["scale"] = 1.0  # latents of a code are of unit size
    append_metrics(
        out / METRICS, {"step": trainer.step, **asdict(result), "scale": latents["scale"]}
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
    synthesized = make_sound is synthesized_audio
    captions = [synthesize(seed).caption if synthesized else str(seed) for seed in seeds]
    write_examples(out / "examples", sounds, estimates, captions)
    plot_training(out, _PANELS)


def spectral_code(config: AutoencoderConfig, out: Path, *, fit: bool = True) -> SpectralCode | None:
    """Return the code that is kept in a training's folder; None if the decoder cannot use one.

    With ``fit`` a code is fitted to synthesized sounds where there is none yet.

    Raises:
        CheckpointError: the code in the folder is damaged.
        OutputError: the folder cannot be written.
    """
    code = SpectralCode.load(out)
    if not fit:
        return code
    if not has_spectral_code(config):
        return None
    if code is None:
        code = fit_spectral_code(config, synthesized_audio, _CODE_SEEDS)
        code.save(out)
    return code


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in which numbers that are not finite are null; raise OutputError if it fails."""
    text = json.dumps(finite_or_none(content), indent=2, allow_nan=False)
    write_whole_text(path, text + "\n", overwrite=True)
