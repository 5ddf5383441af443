"""Losses and noise levels of ARC post-training.

Novack et al. 2025, "Fast Text-to-Audio Generation with Adversarial Post-Training" (arXiv
2505.08175). A generator guesses a clean latent from a noisy one in a single step; real
latent and guess get noise again, the same noise at the same level, and a discriminator scores both
for the same prompt. Scores have the shape (B, ...) of the discriminator's answer throughout.

Times t in [0, 1] are those of the flow ``x_t = (1 - t) x_0 + t noise``, whose velocity is
``noise - x_0``; log-SNR is ``log((1 - t) / t)``, as the sampler's schedule counts it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from arcmobile.export.manifest import SCHEDULE
from arcmobile.runtime.errors import InputError

_HASH = 1 << 40  # of the weights of token ids: products and sums stay far inside int64


def noised(clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """``(1 - t) x_0 + t noise`` of (B, C, T) at times (B,)."""
    level = time.view(-1, 1, 1)
    return (1 - level) * clean + level * noise


def one_step_estimate(latent: Tensor, velocity: Tensor, time: Tensor) -> Tensor:
    """The clean latent that a velocity at times (B,) points to: ``x_t - t v``."""
    return latent - time.view(-1, 1, 1) * velocity


def generator_times(count: int, random: torch.Generator) -> Tensor:
    """Times (count,) of the generator's inputs: log-SNR uniform over the sampler's range.

    These are the levels that ping-pong sampling visits, with the density of its schedule.
    """
    span = SCHEDULE.logsnr_end - SCHEDULE.logsnr_start
    logsnr = SCHEDULE.logsnr_start + span * torch.rand(
        count, generator=random, device=random.device
    )
    return torch.sigmoid(-logsnr)


def logit_normal_times(count: int, mean: float, std: float, random: torch.Generator) -> Tensor:
    """Times (count,) whose logit is normal; a negative mean favours little noise.

    Esser et al. 2024, "Scaling Rectified Flow Transformers", section 3.1.
    """
    drawn = torch.randn(count, generator=random, device=random.device)
    return torch.sigmoid(mean + std * drawn)


def relativistic_generator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """``E f(D(real) - D(fake))``, ``f = softplus``, over pairs of one prompt.

    Jolicoeur-Martineau 2018, "The relativistic discriminator". Each guess is measured against its
    own real partner, so no single good answer satisfies it.
    """
    return F.softplus(real - fake).mean()


def relativistic_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """``E f(D(fake) - D(real))``, ``f = softplus``: the generator's with the roles exchanged."""
    return F.softplus(fake - real).mean()


def contrastive_loss(right: Tensor, wrong: Tensor, counted: Tensor) -> Tensor:
    """``E f(D(x, other prompt) - D(x, its prompt))`` on real latents.

    Args:
        right: scores (B, ...) of real latents with their prompts.
        wrong: scores of the same latents with the prompts of others.
        counted: (B,) bool, False where no other prompt was to be had. With none it is 0.
    """
    each = F.softplus(wrong - right).flatten(1).mean(1)
    weights = counted.to(each.dtype)
    return (each * weights).sum() / weights.sum().clamp_min(1)


def smoothness_penalty(scores: Tensor, shaken: Tensor, deviation: float) -> Tensor:
    """Squared slope of the discriminator, ``E (D(x + s n) - D(x))^2 / s^2`` with n normal.

    The finite-difference form of R1 (on real inputs) and R2 (on generated ones) that needs no
    second derivatives: Lin et al. 2025, "Diffusion Adversarial Post-Training for One-Step Video
    Generation" (arXiv 2501.08316). R3GAN (Huang et al. 2024) shows why a relativistic
    loss wants both. Divided by s^2, so that the weight means the same for every deviation.
    """
    return (shaken - scores).square().mean() / deviation**2


def mismatched_prompts(ids: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """A permutation of a batch's prompts that gives no latent its own caption.

    Captions that occur several times are laid side by side and moved on by the largest count:
    none then meets an equal one, unless one caption fills more than half of the batch.

    Args:
        ids: (B, L) token ids; equal rows are equal captions.
        random: orders the captions.

    Returns:
        ``order`` (B,) int64, the prompt each latent gets, and ``differs`` (B,) bool, False where
        that had to be an equal caption.
    """
    if ids.ndim != 2:
        raise InputError(f"token ids have shape {tuple(ids.shape)}; give (batch, tokens)")
    # A number per caption by a random hash: the order of captions is random, equal ones are equal,
    # and nothing has to be read back from a GPU.
    device, count = random.device, len(ids)
    weights = torch.randint(-_HASH, _HASH, ids.shape[1:], generator=random, device=device)
    caption = (ids.to(device) * weights).sum(1)
    shuffled = torch.randperm(count, generator=random, device=device)
    laid = shuffled[torch.argsort(caption[shuffled], stable=True)]
    places = torch.arange(count, device=device)
    first = torch.ones(count, dtype=torch.bool, device=device)
    first[1:] = caption[laid[1:]] != caption[laid[:-1]]
    longest = (places - torch.where(first, places, 0).cummax(0).values).max() + 1
    order = torch.empty_like(laid)
    order[laid] = laid[(places + longest) % count]
    return order.to(ids.device), (caption[order] != caption).to(ids.device)
