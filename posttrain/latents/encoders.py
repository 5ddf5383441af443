"""Encoders from sounds to latents: those of a training, and those of checkpoints."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
from arcmobile.posttrain.autoencoder.spectral_code import CODE, SpectralCode
from arcmobile.posttrain.autoencoder.tensors import PREFIX, TrainableAutoencoder
from arcmobile.posttrain.autoencoder.train import SUMMARY, TENSORS
from arcmobile.posttrain.autoencoder.trained import read_autoencoder
from arcmobile.posttrain.latents.cache import CACHED_SAMPLES, CacheSettings, Encode
from arcmobile.runtime.errors import CheckpointError

_CHANNELS = 2
_FRACTION = 16  # hexadecimal digits of the digest that names an autoencoder


def load_encoder(
    folder: Path, *, device: str = "cpu", compiled: bool = False
) -> tuple[Encode, str]:
    """Load the encoder of a training of the autoencoder, and a name for its values.

    Latents are divided by the latent scale of ``autoencoder.json``. Where the training has a
    spectral code, latents are computed by the code, which the encoder only imitates.

    Raises:
        CheckpointError: the training left no usable autoencoder.
    """
    if code := SpectralCode.load(folder):
        return _code_encoder(code), _digest(folder / CODE, 1.0)
    trained = read_autoencoder(folder)
    if CACHED_SAMPLES % trained.config.downsampling_ratio:
        raise CheckpointError(
            f"{folder / SUMMARY}: {CACHED_SAMPLES} samples are not a whole number of frames "
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
    return _network_encoder(network, scale, device, compiled), _digest(folder / TENSORS, scale)


def checkpoint_encoder(
    folder: Path, *, device: str = "cpu", compiled: bool = False
) -> tuple[Encode, CacheSettings]:
    """Load the encoder of a checkpoint, and settings with the length of its longest sound.

    Raises:
        CheckpointError: the checkpoint is faulty, or its autoencoder is not of stereo sounds.
    """
    checkpoint = CheckpointFolder.open(folder)
    require_sound(checkpoint)
    config = checkpoint.config
    if (channels := config.autoencoder.io_channels) != _CHANNELS:
        raise CheckpointError(
            f"{folder}: takes sounds of {channels} channels; only 2 can be cached"
        )
    source = checkpoint.source
    tensors = {name: source.read(name) for name in source.names() if name.startswith(PREFIX)}
    network = TrainableAutoencoder(config.autoencoder, tensors).to(device).requires_grad_(False)
    scale = config.model.pretransform.scale
    encode = _network_encoder(network, scale, device, compiled)
    settings = CacheSettings(
        source=_digest(checkpoint.model_file, scale),
        samples=config.max_frames * config.samples_per_frame,
        sample_rate=config.sample_rate,
    )
    return encode, settings


def _code_encoder(code: SpectralCode) -> Encode:
    def encode(audio: Tensor) -> tuple[Tensor, Tensor]:
        latent = code.encode(audio)
        return latent, torch.zeros_like(latent)

    return encode


def _network_encoder(
    network: TrainableAutoencoder, scale: float, device: str, compiled: bool
) -> Encode:
    network_encode = torch.compile(network.encode) if compiled else network.encode

    def encode(audio: Tensor) -> tuple[Tensor, Tensor]:
        mean, stdev = network_encode(audio.to(device))
        return mean / scale, stdev / scale

    return encode


def _digest(path: Path, scale: float) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(f"{scale}".encode())
    return digest.hexdigest()[:_FRACTION]
