"""The discriminator of ARC: the flow model's first blocks and a small convolutional head.

ARC paper (arXiv 2505.08175): the backbone starts as the pre-trained model and is trained, the head
reads its audio tokens after three quarters of the blocks. The prompt reaches the score through the
backbone's own conditioning.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from arcmobile.posttrain.flow.generator import Conditioning, TrainableGenerator
from arcmobile.runtime.errors import InputError

_GROUPS = 32


class ScoreHead(nn.Module):
    """Strided convolutions with group norm and SiLU, from features over time to scores."""

    def __init__(self, width: int, layers: int):
        super().__init__()
        blocks: list[nn.Module] = []
        for _ in range(layers):
            blocks += [
                nn.Conv1d(width, width, 3, stride=2, padding=1),
                nn.GroupNorm(math.gcd(_GROUPS, width), width),
                nn.SiLU(),
            ]
        self.layers = nn.Sequential(*blocks, nn.Conv1d(width, 1, 3, padding=1))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, tokens, width) to (B, about tokens / 2^layers)."""
        scores: Tensor = self.layers(features.transpose(1, 2))
        return scores[:, 0]


class LatentDiscriminator(nn.Module):
    """Scores noisy latents, each for its prompt.

    Args:
        generator: the flow model; its weights are copied.
        depth: fraction of the blocks whose output the head reads, in (0, 1].
        head_layers: strided convolutions of the head.
        seed: of the head's weights.

    Raises:
        InputError: ``depth`` is out of range.
    """

    def __init__(self, generator: TrainableGenerator, *, depth: float, head_layers: int, seed: int):
        super().__init__()
        if not 0 < depth <= 1:
            raise InputError(f"discriminator depth {depth}: give a fraction in (0, 1]")
        config = generator.config.dit
        self.backbone = _first_blocks(generator, max(1, round(depth * config.depth)))
        self._prepended = config.prepended_tokens
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = ScoreHead(config.embed_dim, head_layers)

    def condition(self, ids: Tensor, mask: Tensor, seconds: Tensor) -> Conditioning:
        """Do what :meth:`TrainableGenerator.condition` does, for the blocks that are left."""
        return self.backbone.condition(ids, mask, seconds)

    def forward(self, latent: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        """Return float32 scores (B, places) of noisy latents (B, C, T) at times (B,)."""
        features = self.backbone.hidden_states(latent, time, conditioning)[-1]
        scores: Tensor = self.head(features[:, self._prepended :])
        return scores.float()


def _first_blocks(generator: TrainableGenerator, count: int) -> TrainableGenerator:
    """A copy that ends after ``count`` blocks; what it does not use is frozen."""
    backbone = copy.deepcopy(generator)
    crossing = sum(generator.config.dit.cross_attends(index) for index in range(count))
    backbone.dit.layers = backbone.dit.layers[:count]
    backbone.conditioner.cross_layers = backbone.conditioner.cross_layers[:crossing]
    for unused in (backbone.dit.project_out, backbone.dit.postprocess):
        unused.requires_grad_(False)
    return backbone
