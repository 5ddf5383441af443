"""Batches of cached latents and tokenized captions, as the generator is trained on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.manifest import folder_tokenizer
from arcmobile.posttrain.latents.cache import LatentBatch, LatentCache
from arcmobile.runtime.errors import InputError
from arcmobile.runtime.tokenizer import PromptTokenizer


class GeneratorBatch(NamedTuple):
    """Sounds to learn from.

    Attributes:
        latents: (B, channels, frames) float32, of about unit variance.
        ids: (B, L) int64, token ids of the prompts.
        mask: (B, L) float32, 1 = token, 0 = padding.
        seconds: (B,) float32.
    """

    latents: Tensor
    ids: Tensor
    mask: Tensor
    seconds: Tensor

    def to(self, device: torch.device) -> GeneratorBatch:
        """Copy the batch to a device."""
        return GeneratorBatch(*(tensor.to(device) for tensor in self))


Batches = Callable[[int], GeneratorBatch]
"""The batch of a step, the same whenever it is asked for."""


class Latents(Protocol):
    """What batches need of a :class:`LatentCache`."""

    def batch(self, rng: np.random.Generator, size: int) -> LatentBatch:
        """Draw ``size`` latents (channels, frames) with captions and seconds."""
        ...


def tokenized(tokenizer: PromptTokenizer, captions: list[str]) -> tuple[Tensor, Tensor]:
    """Return token ids (B, L) int64 and mask (B, L) float32 of captions."""
    prompts = [tokenizer(caption) for caption in captions]
    ids = np.concatenate([prompt.input_ids for prompt in prompts])
    mask = np.concatenate([prompt.attention_mask for prompt in prompts])
    return torch.from_numpy(ids).long(), torch.from_numpy(mask)


def cached_batches(cache: Latents, tokenizer: PromptTokenizer, *, seed: int, size: int) -> Batches:
    """Return batches of ``size`` from a cache; each depends on the seed and the step alone."""

    def batch(step: int) -> GeneratorBatch:
        latents, captions, seconds = cache.batch(np.random.default_rng([seed, step]), size)
        return GeneratorBatch(latents, *tokenized(tokenizer, captions), seconds)

    return batch


def checkpoint_batches(
    cache: LatentCache, checkpoint: CheckpointFolder, *, seed: int, size: int
) -> Batches:
    """Return batches for a checkpoint's generator.

    Raises:
        InputError: the latents have other channels, or are longer than the generator can see.
    """
    channels, frames = cache.mean.shape[1:]
    config = checkpoint.config
    if channels != config.dit.io_channels or frames > config.max_frames:
        raise InputError(
            f"--latents {cache.folder}: {channels} channels of {frames} frames; the base takes "
            f"{config.dit.io_channels} channels of at most {config.max_frames} frames"
        )
    return cached_batches(cache, folder_tokenizer(checkpoint), seed=seed, size=size)
