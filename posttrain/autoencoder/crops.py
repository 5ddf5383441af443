"""Crops of synthesized sounds for the autoencoder; step n depends on the seed and n alone."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from arcmobile.posttrain.sounds import synthesize

Audio = npt.NDArray[np.float32]
MakeSound = Callable[[int], Audio]
"""Makes the sound (2, samples) of a seed."""

HELD_OUT_SEED = 1 << 40
"""Sounds from here on are for evaluation; those to train on start at twice this."""

_TRAINING_SEED = 2 * HELD_OUT_SEED
_SEEDS_PER_RUN = 1 << 32
_CANDIDATES = 6  # starts, of which the loudest crop is taken: much of a short sound is silence
_OVERHANG = 0.25  # of a crop may lie before the start or after the end, as zeros
_GAIN_DECIBELS = (-9.0, 1.0)


def synthesized_audio(seed: int) -> Audio:
    """Synthesize the sound of a seed, (2, samples) at 44.1 kHz."""
    return synthesize(seed).audio


def crop_of(sound: Audio, samples: int, rng: np.random.Generator) -> Audio:
    """Cut a random crop (2, samples), zero beyond the ends; channels may be swapped."""
    overhang = int(_OVERHANG * samples)
    padded = np.pad(sound, ((0, 0), (overhang, overhang)))
    padded = np.pad(padded, ((0, 0), (0, max(0, samples - padded.shape[1]))))
    starts = rng.integers(0, padded.shape[1] - samples + 1, _CANDIDATES)
    crops = [padded[:, start : start + samples] for start in starts]
    loudest = max(crops, key=lambda crop: float(np.vdot(crop, crop)))
    gain = np.float32(10 ** (rng.uniform(*_GAIN_DECIBELS) / 20))
    return np.ascontiguousarray((loudest[::-1] if rng.random() < 0.5 else loudest) * gain)


def crop_batch(seed: int, step: int, batch: int, samples: int, make_sound: MakeSound) -> Audio:
    """Make the crops of one step, (batch, 2, samples)."""
    first = _TRAINING_SEED + seed * _SEEDS_PER_RUN + step * batch
    return np.stack(
        [
            crop_of(make_sound(index), samples, np.random.default_rng([seed, index]))
            for index in range(first, first + batch)
        ]
    )


def crop_batches(
    seed: int, start: int, batch: int, samples: int, make_sound: MakeSound
) -> Generator[Audio, None, None]:
    """Yield the batches from step ``start`` on; the next one is made while one is in use."""
    with ThreadPoolExecutor(max_workers=1) as pool:

        def ahead(step: int) -> Future[Audio]:
            return pool.submit(crop_batch, seed, step, batch, samples, make_sound)

        step, coming = start, ahead(start)
        while True:
            ready, step = coming.result(), step + 1
            coming = ahead(step)
            yield ready
