"""Ping-pong sampling: denoise fully, add fresh noise at the next level, repeat.

At every step the model gives the velocity ``v`` at time ``t``; ``denoised = x - t * v`` is its
estimate of the clean latent, and ``x = (1 - t_next) * denoised + t_next * fresh noise`` goes to the
next step. Everything is float32, as upstream computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Latent = NDArray[np.float32]  # (1, latent_channels, frames)


class Cancelled(Exception):
    """The caller cancelled; there is no result."""


class NoiseSource(Protocol):
    """Source of noise: :class:`~arcmobile.runtime.noise.PhiloxNoise`, or recorded arrays.

    Each call returns standard normal float32 of ``shape``; no call changes what another returns.
    """

    def initial(self, shape: tuple[int, ...]) -> Latent:
        """Return the noise that sampling starts from."""
        ...

    def step(self, index: int, shape: tuple[int, ...]) -> Latent:
        """Return the noise added after sampler step ``index``, counted from 1."""
        ...

    def encoder(self, shape: tuple[int, ...]) -> Latent:
        """Return the noise of the VAE posterior of init audio."""
        ...


def pingpong(
    velocity: Callable[[Latent, np.float32], Latent],
    times: NDArray[np.float32],
    noise: NoiseSource,
    shape: tuple[int, ...],
    *,
    init: Latent | None = None,
    on_step: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Latent:
    """Run the sampler.

    Args:
        velocity: the model, ``velocity(x, t)`` with ``x`` of ``shape`` and ``t`` in (0, 1].
        times: of :func:`~arcmobile.runtime.schedule.pingpong_schedule`, steps + 1 values.
        noise: source of the noise.
        shape: of the latent.
        init: latent of init audio, to start from it mixed with noise at ``times[0]``.
        on_step: called as ``on_step(done, total)`` after each step.
        cancelled: called before each step; True stops the sampler.

    Returns:
        The final latent of ``shape``, float32.

    Raises:
        Cancelled: ``cancelled`` returned True.
    """
    steps = len(times) - 1
    x = noise.initial(shape)
    if init is not None:
        x = init * (np.float32(1) - times[0]) + x * times[0]
    for index in range(steps):
        if cancelled is not None and cancelled():
            raise Cancelled(f"cancelled before step {index + 1} of {steps}")
        now, following = times[index], times[index + 1]
        denoised = x - now * velocity(x, now)
        # Upstream makes noise for the last step too and multiplies it by 0; a counter-based
        # generator can leave that out.
        if following > 0:
            fresh = noise.step(index + 1, shape)
            x = (np.float32(1) - following) * denoised + following * fresh
        else:
            x = denoised
        if on_step is not None:
            on_step(index + 1, steps)
    return x
