"""Losses of ARC post-training (arXiv 2505.08175).

A generator guesses a clean latent from a noisy one in a single step. Real latent and guess get
noise again, the same noise at the same level, and a discriminator D scores both for the same
prompt c. Scores have the shape (B, ...) of the discriminator's answer throughout.

==========================  ====================================================================
adversarial relativistic    ``E f(D(fake, c) - D(real, c))``, ``f = softplus``; the generator
                            exchanges the roles
contrastive                 ``E f(D(real, c') - D(real, c))`` for the prompt c' of another sound
discriminator's loss        relativistic + ``contrastive`` * contrastive + penalty
==========================  ====================================================================
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from arcmobile.runtime.errors import InputError

_HASH = 1 << 40  # of the weights of token ids: products and sums stay far inside int64


def relativistic_generator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return ``E f(D(real) - D(fake))``, ``f = softplus``, over pairs of one prompt.

    The relativistic loss of the ARC paper for the generator, after Jolicoeur-Martineau 2018, "The
    relativistic discriminator". Each guess is measured against its own real partner, so no single
    good answer satisfies it.
    """
    return F.softplus(real - fake).mean()


def relativistic_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return ``E f(D(fake) - D(real))``: the generator's loss with the roles exchanged."""
    return F.softplus(fake - real).mean()


def contrastive_loss(right: Tensor, wrong: Tensor, counted: Tensor) -> Tensor:
    """Return ``E f(D(x, other prompt) - D(x, its prompt))`` on real latents.

    The contrastive loss of the ARC paper, which makes the discriminator follow prompts.

    Args:
        right: scores (B, ...) of real latents with their prompts.
        wrong: scores of the same latents with the prompts of others.
        counted: (B,) bool, False where there was no other prompt. With none it is 0.
    """
    each = F.softplus(wrong - right).flatten(1).mean(1)
    weights = counted.to(each.dtype)
    return (each * weights).sum() / weights.sum().clamp_min(1)


def smoothness_penalty(scores: Tensor, perturbed: Tensor, deviation: float) -> Tensor:
    """Return the squared slope of the discriminator, ``E (D(x + s n) - D(x))^2 / s^2``.

    With n standard normal and s the ``deviation``. The finite-difference form of R1 (on real
    inputs) and R2 (on generated ones) that needs no second derivatives: Lin et al. 2025, "Diffusion
    Adversarial Post-Training for One-Step Video Generation" (arXiv 2501.08316). R3GAN (Huang et al.
    2024) shows why a relativistic loss needs both. Divided by s^2, so that the weight means the
    same for every deviation.
    """
    return (perturbed - scores).square().mean() / deviation**2


def mismatched_prompts(ids: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose the wrong prompts of the contrastive loss: another caption for every latent.

    Captions that occur several times are put side by side and moved on by the largest count:
    then none meets an equal one, unless one caption fills more than half of the batch.

    Args:
        ids: (B, L) token ids; equal rows are equal captions.
        random: orders the captions.

    Returns:
        ``order`` (B,) int64, the prompt that each latent gets, and ``differs`` (B,) bool, False
        where that had to be an equal caption.

    Raises:
        InputError: ``ids`` has another number of dimensions.
    """
    if ids.ndim != 2:
        raise InputError(f"token ids have shape {tuple(ids.shape)}; give (batch, tokens)")
    # A number per caption by a random hash: the order of captions is random, equal ones are equal,
    # and nothing has to be read back from a GPU.
    device, count = random.device, len(ids)
    weights = torch.randint(-_HASH, _HASH, ids.shape[1:], generator=random, device=device)
    caption = (ids.to(device) * weights).sum(1)
    shuffled = torch.randperm(count, generator=random, device=device)
    sorted_rows = shuffled[torch.argsort(caption[shuffled], stable=True)]
    places = torch.arange(count, device=device)
    first = torch.ones(count, dtype=torch.bool, device=device)
    first[1:] = caption[sorted_rows[1:]] != caption[sorted_rows[:-1]]
    longest = (places - torch.where(first, places, 0).cummax(0).values).max() + 1
    order = torch.empty_like(sorted_rows)
    order[sorted_rows] = sorted_rows[(places + longest) % count]
    return order.to(ids.device), (caption[order] != caption).to(ids.device)
