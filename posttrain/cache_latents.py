"""Encodes drawn sounds, or one's own, by a trained autoencoder, for the training of a DiT.

``arcmobile posttrain latents --autoencoder FOLDER --out FOLDER --count N``, or with
``--checkpoint FOLDER`` for the autoencoder of any checkpoint and ``--sounds FOLDER`` for sounds of
one's own (:mod:`.sound_folder`); :mod:`.latent_cache` describes what is written. Run again it goes
on where it was; a larger ``--count`` adds to it. A file ``STOP`` put into the folder, or Ctrl-C,
ends it; up to a shard of sounds is then lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from arcmobile.export.checkpoint import CheckpointFolder, require_sound
from arcmobile.posttrain.autoencoder_tensors import PREFIX, TrainableAutoencoder
from arcmobile.posttrain.latent_cache import (
    CACHED_SAMPLES,
    TRAINING_SEED,
    CacheSettings,
    Encode,
    cache_latents,
)
from arcmobile.posttrain.sound_folder import RecordedSound, SoundFolder
from arcmobile.posttrain.sounds import CaptionedSound, draw
from arcmobile.posttrain.spectral_code import CODE, SpectralCode
from arcmobile.posttrain.train_autoencoder import SUMMARY, TENSORS
from arcmobile.posttrain.trained_autoencoder import read_autoencoder
from arcmobile.runtime.errors import ArcMobileError, CheckpointError, InputError

_FRACTION = 16  # hexadecimal digits of the digest that names an autoencoder


def load_encoder(
    folder: Path, *, device: str = "cpu", compiled: bool = False
) -> tuple[Encode, str]:
    """The encoder that a training of the autoencoder left, and a name for its values.

    What it gives is divided by the latent scale of ``autoencoder.json``. Where the training has a
    spectral code, latents are the code's, which the encoder only imitates. Raises CheckpointError.
    """
    if code := SpectralCode.load(folder):
        return _exactly(code), _named(folder / CODE, 1.0)
    trained = read_autoencoder(folder)
    if CACHED_SAMPLES % trained.config.downsampling_ratio:
        raise CheckpointError(
            f"{folder / SUMMARY}: {CACHED_SAMPLES} samples are no whole number of frames "
            f"of {trained.config.downsampling_ratio}; choose another autoencoder"
        )
    try:
        network = TrainableAutoencoder(trained.config, trained.tensors)
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{folder / TENSORS}: does not fit {SUMMARY} ({error}); train the autoencoder"
        ) from error
    network.to(device).requires_grad_(False)
    scale = trained.scale
    return _scaled(network, scale, device, compiled), _named(folder / TENSORS, scale)


def checkpoint_encoder(
    folder: Path, *, device: str = "cpu", compiled: bool = False
) -> tuple[Encode, str, int]:
    """The same of a checkpoint's autoencoder, and the samples of its longest sound.

    Raises CheckpointError.
    """
    checkpoint = CheckpointFolder.open(folder)
    require_sound(checkpoint)
    config = checkpoint.config
    source = checkpoint.source
    tensors = {name: source.read(name) for name in source.names() if name.startswith(PREFIX)}
    network = TrainableAutoencoder(config.autoencoder, tensors).to(device).requires_grad_(False)
    scale = config.model.pretransform.scale
    encode = _scaled(network, scale, device, compiled)
    samples = config.max_frames * config.samples_per_frame
    return encode, _named(checkpoint.model_file, scale), samples


def _exactly(code: SpectralCode) -> Encode:
    def encode(audio: Tensor) -> tuple[Tensor, Tensor]:
        latent = code.encode(audio)
        return latent, torch.zeros_like(latent)

    return encode


def _scaled(network: TrainableAutoencoder, scale: float, device: str, compiled: bool) -> Encode:
    network_encode = torch.compile(network.encode) if compiled else network.encode

    def encode(audio: Tensor) -> tuple[Tensor, Tensor]:
        mean, stdev = network_encode(audio.to(device))
        return mean / scale, stdev / scale

    return encode


def _named(path: Path, scale: float) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(f"{scale}".encode())
    return digest.hexdigest()[:_FRACTION]


app = typer.Typer(add_completion=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder of the cache.")],
    autoencoder: Annotated[
        Path | None, typer.Option(help="Folder of the autoencoder's training.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Or a checkpoint, whose autoencoder is taken.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Drawn sounds in the cache.")] = 8192,
    sounds: Annotated[
        Path | None,
        typer.Option(help="Folder of captioned sound files, not drawn ones."),
    ] = None,
    first_seed: Annotated[
        int, typer.Option(min=0, help="Seed of the first sound; default: those to train from.")
    ] = TRAINING_SEED,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1)] = 2,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Needs a C++ compiler; for GPUs.")
    ] = False,
) -> None:
    """Encode drawn sounds; see the module's text for what is written."""
    torch.set_num_threads(threads)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    try:
        if (autoencoder is None) == (checkpoint is None):
            raise InputError("give either --autoencoder or --checkpoint")
        samples = CACHED_SAMPLES
        if checkpoint is not None:
            encode, source, samples = checkpoint_encoder(
                checkpoint, device=device, compiled=compiled
            )
        elif autoencoder is not None and autoencoder.is_dir():
            encode, source = load_encoder(autoencoder, device=device, compiled=compiled)
        else:
            raise InputError(f"--autoencoder {autoencoder}: no such folder")
        settings = CacheSettings(source=source, samples=samples)
        draw_sound: Callable[[int], CaptionedSound | RecordedSound] = draw
        if sounds is not None:
            recorded = SoundFolder(sounds, samples)
            draw_sound, count, first_seed = recorded.__getitem__, len(recorded), 0
        with Progress(*columns) as progress:
            task = progress.add_task("latents", total=count)
            try:
                cache_latents(
                    encode,
                    out,
                    count,
                    first_seed,
                    lambda done: progress.update(task, completed=done),
                    settings,
                    draw_sound,
                )
            except KeyboardInterrupt:
                progress.console.print("stopped; run again to go on")
    except ArcMobileError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
