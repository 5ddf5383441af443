"""Sizes of the embedded checkpoint: the architecture of Stable Audio Open Small, made small.

12 M parameters, 24 MB in float16; sounds of up to 3.7 seconds, enough for one sound or two.
"""

from __future__ import annotations

from typing import Any

from arcmobile.export.checkpoint.presets import Preset, TextEncoderSize
from arcmobile.export.model.autoencoder_config import AutoencoderConfig
from arcmobile.export.model.config import ModelConfig

EMBEDDED = Preset(
    name="embedded",
    text_encoder_name="t5-sounds",
    sample_size=163_840,
    latent_channels=64,
    autoencoder_channels=2,
    # In the decoder, frames of 1024 samples are 160 tones per channel: nearly all work is done at
    # 43 Hz.
    c_mults=(160, 96),
    strides=(1024, 2),
    embed_dim=256,
    depth=4,
    num_heads=4,
    text=TextEncoderSize(
        d_model=128, d_ff=256, d_kv=32, num_layers=3, num_heads=4, vocab_size=None
    ),
)

_SIDES = 2
_LONGEST_SECONDS = 4.0
_ENCODER = {"c_mults": [80, 64], "strides": [512, 4]}


def embedded_model_config() -> dict[str, Any]:
    """Return the content of `model_config.json`."""
    content = EMBEDDED.model_config()
    # Timestep and duration scale and shift every block: it learns faster than with another token.
    content["model"]["diffusion"]["config"]["global_cond_type"] = "adaLN"
    # Latents need not describe the sound completely.
    content["model"]["pretransform"]["config"]["encoder"]["config"] |= _ENCODER
    for conditioner in content["model"]["conditioning"]["configs"]:
        if conditioner["type"] == "number":
            conditioner["config"]["max_val"] = _LONGEST_SECONDS
    return content


def embedded_config() -> ModelConfig:
    """Return the configuration of the model."""
    return ModelConfig.model_validate(embedded_model_config())


def one_channel_autoencoder() -> AutoencoderConfig:
    """Return half of the embedded model's autoencoder: that of one channel.

    It is trained for both channels and then doubled (:mod:`.autoencoder.stereo_from_mono`): a
    network that saw both from the start gave the same output on both for thousands of steps.
    """
    content = embedded_model_config()["model"]["pretransform"]["config"]
    for part in ("encoder", "decoder"):
        sizes = content[part]["config"]
        sizes["channels"] //= _SIDES
        sizes["latent_dim"] //= _SIDES
    content["encoder"]["config"]["in_channels"] = 1
    content["decoder"]["config"]["out_channels"] = 1
    content["latent_dim"] //= _SIDES
    content["io_channels"] = 1
    return AutoencoderConfig.model_validate(content)
