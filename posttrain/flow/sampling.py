"""Samplers of latents in PyTorch: ping-pong as the runtime does it, and Euler.

Ping-pong (few steps, no guidance) is for post-trained models; Euler with classifier-free guidance
is for the flow models they start from.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from arcmobile.export.manifest import SCHEDULE
from arcmobile.posttrain.flow.generator import Conditioning, TrainableGenerator
from arcmobile.posttrain.flow.interpolation import noised, one_step_estimate
from arcmobile.runtime.errors import InputError
from arcmobile.runtime.schedule import pingpong_schedule


@torch.no_grad()
def pingpong_sample(
    generator: TrainableGenerator,
    conditioning: Conditioning,
    noise: Tensor,
    steps: int = SCHEDULE.default_steps,
    *,
    fresh: Sequence[Tensor] | None = None,
    seed: int = 0,
) -> Tensor:
    """Sample latents (B, C, T) as :func:`arcmobile.runtime.sampler.pingpong` does.

    Args:
        generator: post-trained by ARC.
        conditioning: of the prompts.
        noise: (B, C, T) standard normal, where sampling starts.
        steps: 1 to 64.
        fresh: noise added after each step but the last, (B, C, T) each; drawn from ``seed`` on the
            CPU by default.
        seed: of ``fresh``.

    Raises:
        InputError: the steps are out of range, or there is too little fresh noise.
    """
    times = pingpong_schedule(
        steps, logsnr_start=SCHEDULE.logsnr_start, logsnr_end=SCHEDULE.logsnr_end
    )
    if fresh is None:
        random = torch.Generator().manual_seed(seed)
        fresh = [torch.randn(noise.shape, generator=random) for _ in range(steps - 1)]
    if len(fresh) < steps - 1:
        raise InputError(f"{steps} steps take {steps - 1} draws of fresh noise, not {len(fresh)}")
    x = noise
    for index, (now, following) in enumerate(pairwise(times.tolist())):
        time = torch.full((len(x),), now, device=x.device)
        clean = one_step_estimate(x, generator.velocity(x, time, conditioning), time)
        if index == steps - 1:
            return clean
        x = noised(clean, fresh[index].to(x.device), torch.full_like(time, following))
    return x


@torch.no_grad()
def euler_sample(
    generator: TrainableGenerator,
    conditioning: Conditioning,
    noise: Tensor,
    steps: int = 50,
    *,
    guidance: float = 1.0,
) -> Tensor:
    """Sample latents (B, C, T) by Euler steps along the flow, at even times from 1 to 0.

    With ``guidance`` w other than 1 the velocity is ``v_0 + w (v - v_0)``, where ``v_0`` has no
    prompt (Ho and Salimans 2022).

    Raises:
        InputError: there is less than one step.
    """
    if steps < 1:
        raise InputError(f"{steps} steps: give at least 1")
    without_prompt = conditioning.dropped(torch.zeros(len(noise), device=noise.device))
    x = noise
    for now, following in pairwise(torch.linspace(1, 0, steps + 1).tolist()):
        time = torch.full((len(x),), now, device=x.device)
        velocity = generator.velocity(x, time, conditioning)
        if guidance != 1.0:
            without = generator.velocity(x, time, without_prompt)
            velocity = without + guidance * (velocity - without)
        x = x + (following - now) * velocity
    return x
