"""The straight path of a rectified flow between latents and noise.

Liu et al. 2023, "Flow Straight and Fast"; Lipman et al. 2023, "Flow Matching for Generative
Modeling": ``x_t = (1 - t) x_0 + t noise`` for times t in [0, 1], and the velocity is
``noise - x_0``. The log-SNR of time t is ``log((1 - t) / t)``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def noised(clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Return ``(1 - t) x_0 + t noise`` of (B, C, T) at times (B,)."""
    level = time.view(-1, 1, 1)
    return (1 - level) * clean + level * noise


def one_step_estimate(latent: Tensor, velocity: Tensor, time: Tensor) -> Tensor:
    """Return the clean latent that a velocity at times (B,) points to: ``x_t - t v``."""
    return latent - time.view(-1, 1, 1) * velocity


def logit_normal_times(count: int, mean: float, std: float, random: torch.Generator) -> Tensor:
    """Draw times (count,) whose logit is normal; a negative mean favours little noise.

    Esser et al. 2024, "Scaling Rectified Flow Transformers", section 3.1.
    """
    normal = torch.randn(count, generator=random, device=random.device)
    return torch.sigmoid(mean + std * normal)
