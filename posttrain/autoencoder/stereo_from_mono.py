"""Makes a stereo autoencoder of one of a single channel.

Every layer gets the layer of one channel as two blocks on its diagonal, with zeros elsewhere, so
that left and right are coded alike and apart. Training may go on from there and fill the zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from arcmobile.export.model.autoencoder_config import AutoencoderConfig
from arcmobile.posttrain.autoencoder.tensors import PREFIX, expected_shapes


def stereo_config(mono: AutoencoderConfig) -> AutoencoderConfig:
    """Double the channels everywhere, and the latent."""
    content: dict[str, Any] = mono.model_dump(mode="json")
    for part in ("encoder", "decoder"):
        sizes = content[part]["config"]
        sizes["channels"] *= 2
        sizes["latent_dim"] *= 2
    content["encoder"]["config"]["in_channels"] *= 2
    content["decoder"]["config"]["out_channels"] *= 2
    content["latent_dim"] *= 2
    content["io_channels"] *= 2
    return AutoencoderConfig.model_validate(content)


def stereo_tensors(mono: AutoencoderConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Make the tensors of :func:`stereo_config`, whose latents are those of left, then right.

    Raises:
        KeyError: a tensor is missing.
    """
    last = f"{PREFIX}.encoder.layers.{len(mono.encoder.config.stages) + 2}."
    twice = {}
    for name in expected_shapes(mono):
        tensor = tensors[name]
        # The encoder's last layer: means of left and of right, then their deviations.
        parts = tensor.chunk(2) if name.startswith(last) else (tensor,)
        if name.endswith("weight_v"):  # (out, in, K)
            doubled = [_block_diagonal(part) for part in parts]
        else:
            doubled = [torch.cat((part, part)) for part in parts]
        twice[name] = torch.cat(doubled)
    return twice


def _block_diagonal(weight: Tensor) -> Tensor:
    """Two blocks (out, in, K) on the diagonal."""
    zeros = torch.zeros_like(weight)
    return torch.cat((torch.cat((weight, zeros), 1), torch.cat((zeros, weight), 1)))
