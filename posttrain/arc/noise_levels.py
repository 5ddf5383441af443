"""Noise levels that ARC trains at: those of the generator's inputs and of the discriminator's.

ARC paper (arXiv 2505.08175), the distributions of the generator's and the discriminator's time.
Levels are times t in [0, 1] of the flow (:mod:`arcmobile.posttrain.flow.interpolation`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from arcmobile.export.manifest import SCHEDULE
from arcmobile.posttrain.flow.interpolation import logit_normal_times
from arcmobile.posttrain.training.settings import ArcSettings


def generator_times(count: int, random: torch.Generator) -> Tensor:
    """Draw times (count,) of the generator's inputs: log-SNR uniform over the sampler's range.

    These are the levels that ping-pong sampling visits, with the density of its schedule.
    """
    span = SCHEDULE.logsnr_end - SCHEDULE.logsnr_start
    uniform = torch.rand(count, generator=random, device=random.device)
    return torch.sigmoid(-(SCHEDULE.logsnr_start + span * uniform))


def discriminator_times(count: int, settings: ArcSettings, random: torch.Generator) -> Tensor:
    """Draw times (count,) at which the discriminator compares real and generated latents.

    Logit-normal; a lower ``renoise_mean`` shows it more detail, a higher one more structure.
    """
    return logit_normal_times(count, settings.renoise_mean, settings.renoise_std, random)
