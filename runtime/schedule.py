"""The times of the ping-pong sampler: upstream's log-SNR schedule, in its float32."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arcmobile.runtime import bounds
from arcmobile.runtime.errors import InputError

MAX_STEPS: Final = bounds.STEPS


def pingpong_schedule(
    steps: int,
    *,
    logsnr_start: float,
    logsnr_end: float,
    sigma_max: float = 1.0,
) -> NDArray[np.float32]:
    """Return times ``t`` of shape ``(steps + 1,)``, float32, from ``sigma_max`` down to 0.

    ``t = sigmoid(-linspace(logsnr_start, logsnr_end, steps + 1))`` with the first value replaced by
    ``sigma_max`` and the last by 0. With ``sigma_max`` below 1 (audio to audio) the line starts at
    the log-SNR of ``sigma_max`` instead. As upstream does, a ``sigma_max`` below
    ``sigmoid(-logsnr_end)`` makes the inner times rise before they fall to 0.

    Raises:
        InputError: steps outside 1 .. 64, or sigma_max outside (0, 1].
    """
    if not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS:
        raise InputError(f"--steps {steps}: give 1 to {MAX_STEPS}")
    if not 0.0 < sigma_max <= 1.0:
        raise InputError(f"--noise-level {sigma_max}: give more than 0 and at most 1")
    if sigma_max < 1.0:
        logsnr_start = math.log((1.0 - sigma_max) / sigma_max + 1e-6)
    logsnr = _linspace(logsnr_start, logsnr_end, steps + 1)
    # In float64: float32 exponentials differ between libraries in the last bit, which int8 networks
    # turn into other roundings, and a seed would sound a little different elsewhere.
    odds = np.exp(logsnr.astype(np.float64)).astype(np.float32)
    times = np.float32(1) / (np.float32(1) + odds)
    times[0], times[-1] = sigma_max, 0.0
    return times


def _linspace(start: float, end: float, count: int) -> NDArray[np.float32]:
    """Return a float32 ``linspace`` from both ends, as PyTorch's; numpy's differs."""
    first, last = np.float32(start), np.float32(end)
    step = (last - first) / np.float32(count - 1)
    index = np.arange(count, dtype=np.float32)
    from_start = first + step * index
    from_end = last - step * index[::-1]
    return np.where(np.arange(count) < count // 2, from_start, from_end)
