"""`arcmobile posttrain latents`: sounds, encoded once to train a DiT on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from arcmobile.cli.posttrain_options import Compiled, Device, Threads, use_device
from arcmobile.runtime.errors import InputError

if TYPE_CHECKING:
    from arcmobile.posttrain.latents.cache import CacheSettings, Encode

_MOST_SOUNDS = 1 << 24


def latents(
    out: Annotated[Path, typer.Option(help="Folder of the cache.")],
    autoencoder: Annotated[
        Path | None, typer.Option(help="Folder of the autoencoder's training.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Or a checkpoint with its own autoencoder.")
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, max=_MOST_SOUNDS, help="Synthesized sounds in the cache.")
    ] = 8192,
    sounds: Annotated[
        Path | None,
        typer.Option(help="Folder of captioned sound files, to encode instead."),
    ] = None,
    first_seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=1 << 60,
            help="Seed of the first sound. Default: the first one to train on.",
            show_default=False,
        ),
    ] = None,
    device: Device = "cpu",
    threads: Threads = 2,
    compiled: Compiled = False,
) -> None:
    """Encode sounds with a trained autoencoder.

    A second run goes on where the first one ended: a larger --count adds sounds, and of a folder of
    --sounds only new and changed ones are encoded.
    """
    if (autoencoder is None) == (checkpoint is None):
        raise InputError("give either --autoencoder or --checkpoint")

    from arcmobile.posttrain.latents.cache import TRAINING_SEED, cache_latents, cache_sound_folder
    from arcmobile.posttrain.latents.sound_folder import SoundFolder
    from arcmobile.posttrain.sounds import MODEL_SAMPLE_RATE

    use_device(device, threads)
    encode, settings = _encoder(autoencoder, checkpoint, device, compiled=compiled)
    console = Console(stderr=True)
    folder = None
    if sounds is not None:
        folder = SoundFolder(sounds, settings.samples, settings.sample_rate)
        for line in folder.notes:
            console.print(f"note: {line}", markup=False, highlight=False, soft_wrap=True)
    elif settings.sample_rate != MODEL_SAMPLE_RATE:
        raise InputError(
            f"--checkpoint {checkpoint}: is for {settings.sample_rate} Hz, synthesized sounds "
            f"have {MODEL_SAMPLE_RATE} Hz; give --sounds"
        )
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("latents", total=count if folder is None else len(folder))

        def advance(done: int) -> None:
            progress.update(task, completed=done)

        try:
            if folder is not None:
                cache_sound_folder(encode, out, folder, advance, settings)
            else:
                seed = TRAINING_SEED if first_seed is None else first_seed
                cache_latents(encode, out, count, seed, advance, settings)
        except KeyboardInterrupt:
            progress.console.print("stopped; run again to go on")
            raise


def _encoder(
    autoencoder: Path | None, checkpoint: Path | None, device: str, *, compiled: bool
) -> tuple[Encode, CacheSettings]:
    from arcmobile.posttrain.latents.cache import CacheSettings
    from arcmobile.posttrain.latents.encoders import checkpoint_encoder, load_encoder

    if checkpoint is not None:
        return checkpoint_encoder(checkpoint, device=device, compiled=compiled)
    assert autoencoder is not None
    if not autoencoder.is_dir():
        raise InputError(f"--autoencoder {autoencoder}: no such folder")
    encode, source = load_encoder(autoencoder, device=device, compiled=compiled)
    return encode, CacheSettings(source=source)
