"""Crops of drawn sounds for the autoencoder: what step n sees depends on the seed and n alone."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from arcmobile.posttrain.sounds import draw

Audio = npt.NDArray[np.float32]
DrawSound = Callable[[int], Audio]
"""Seed of a sound -> (2, samples)."""

HELD_OUT_SEED = 1 << 40
"""Sounds from here on are kept for judging; those of training lie behind twice this."""

_TRAINING_SEED = 2 * HELD_OUT_SEED
_SEEDS_PER_RUN = 1 << 32
_CANDIDATES = 6  # starts, of which the loudest crop is taken: much of a short sound is silence
_OVERHANG = 0.25  # of a crop may lie before the start or behind the end, as zeros
_GAIN_DECIBELS = (-9.0, 1.0)


def drawn_audio(seed: int) -> Audio:
    """(2, samples) at 44.1 kHz."""
    return draw(seed).audio


def crop_of(sound: Audio, samples: int, rng: np.random.Generator) -> Audio:
    """A random crop (2, samples), zeros where it reaches over an end; channels may be swapped."""
    overhang = int(_OVERHANG * samples)
    padded = np.pad(sound, ((0, 0), (overhang, overhang)))
    padded = np.pad(padded, ((0, 0), (0, max(0, samples - padded.shape[1]))))
    starts = rng.integers(0, padded.shape[1] - samples + 1, _CANDIDATES)
    crops = [padded[:, start : start + samples] for start in starts]
    loudest = max(crops, key=lambda crop: float(np.vdot(crop, crop)))
    gain = np.float32(10 ** (rng.uniform(*_GAIN_DECIBELS) / 20))
    return np.ascontiguousarray((loudest[::-1] if rng.random() < 0.5 else loudest) * gain)


def crop_batch(seed: int, step: int, batch: int, samples: int, draw_sound: DrawSound) -> Audio:
    """(batch, 2, samples): the crops of one step."""
    first = _TRAINING_SEED + seed * _SEEDS_PER_RUN + step * batch
    return np.stack(
        [
            crop_of(draw_sound(index), samples, np.random.default_rng([seed, index]))
            for index in range(first, first + batch)
        ]
    )


def crop_batches(
    seed: int, start: int, batch: int, samples: int, draw_sound: DrawSound
) -> Generator[Audio, None, None]:
    """The batches of step ``start`` and on; the next one is drawn while this one is in use."""
    with ThreadPoolExecutor(max_workers=1) as pool:

        def ahead(step: int) -> Future[Audio]:
            return pool.submit(crop_batch, seed, step, batch, samples, draw_sound)

        step, coming = start, ahead(start)
        while True:
            ready, step = coming.result(), step + 1
            coming = ahead(step)
            yield ready
