"""The autoencoder's section of ``model_config.json``; see :mod:`arcmobile.export.model.config`."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from arcmobile.export.model.config_types import (
    Channels,
    LatentChannels,
    Multiples,
    Open,
    Strict,
    Strides,
    Width,
)
from arcmobile.runtime import bounds


class _OobleckConfig(Strict):
    channels: Width = 128
    latent_dim: Annotated[int, Field(ge=1, le=2 * bounds.LATENT_CHANNELS)] = 32
    c_mults: Multiples = (1, 2, 4, 8)
    strides: Strides = (2, 4, 8, 8)
    use_snake: bool = False
    antialias_activation: Literal[False] = False

    @model_validator(mode="after")
    def _depth(self) -> Self:
        if len(self.strides) < len(self.c_mults):
            raise ValueError("fewer strides than c_mults")
        if max(self.c_mults) * self.channels > bounds.LATENT_CHANNELS:
            raise ValueError(f"channels times c_mults exceed {bounds.LATENT_CHANNELS}")
        return self

    @property
    def stages(self) -> tuple[tuple[int, int, int], ...]:
        """(channels on the audio side, channels on the latent side, stride), audio side first."""
        widths = [self.channels, *(m * self.channels for m in self.c_mults)]
        return tuple(zip(widths, widths[1:], self.strides, strict=False))


class OobleckEncoderConfig(_OobleckConfig):
    """Options of the encoder (upstream autoencoders.py, OobleckEncoder)."""

    in_channels: Channels = 2


class OobleckDecoderConfig(_OobleckConfig):
    """Options of the decoder (upstream autoencoders.py, OobleckDecoder)."""

    out_channels: Channels = 2
    use_nearest_upsample: bool = False
    final_tanh: bool = True


class OobleckEncoderSection(Open):
    """The encoder of the autoencoder."""

    type: Literal["oobleck"]
    config: OobleckEncoderConfig


class OobleckDecoderSection(Open):
    """The decoder of the autoencoder; ``soft_clip`` puts a tanh after it."""

    type: Literal["oobleck"]
    config: OobleckDecoderConfig
    soft_clip: bool = False


class BottleneckSection(Open):
    """The bottleneck: mean and scale of a posterior."""

    type: Literal["vae"]


class AutoencoderConfig(Open):
    """The autoencoder; ``downsampling_ratio`` is samples per latent frame."""

    encoder: OobleckEncoderSection
    decoder: OobleckDecoderSection
    bottleneck: BottleneckSection
    latent_dim: LatentChannels
    downsampling_ratio: int = Field(ge=1, le=bounds.SAMPLES_PER_FRAME)
    io_channels: Channels
    pretransform: None = None

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        for side, config in (("encoder", self.encoder.config), ("decoder", self.decoder.config)):
            ratio = math.prod(stride for *_, stride in config.stages)
            if ratio != self.downsampling_ratio:
                raise ValueError(
                    f"{side} strides multiply to {ratio}, not {self.downsampling_ratio}"
                )
        if self.encoder.config.latent_dim != 2 * self.latent_dim:
            raise ValueError("encoder latent_dim must be twice latent_dim (mean and scale)")
        if self.decoder.config.latent_dim != self.latent_dim:
            raise ValueError("decoder latent_dim differs from latent_dim")
        return self


class PretransformSection(Open):
    """The autoencoder in the model; latents are divided by ``scale``."""

    type: Literal["autoencoder"]
    config: AutoencoderConfig
    scale: float = Field(default=1.0, ge=1e-6, le=1e6)
    # How upstream executes it; here the recipe and the windowed decode decide that.
    model_half: bool = False
    iterate_batch: bool = False
    chunked: bool = False
