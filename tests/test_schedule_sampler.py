"""The schedule against upstream's values, and the sampler against its recurrence."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from contract import vectors

from arcmobile.runtime.errors import InputError
from arcmobile.runtime.sampler import Cancelled, Latent, pingpong
from arcmobile.runtime.schedule import pingpong_schedule

VECTORS = vectors("schedule")
LINE = {"logsnr_start": -6.0, "logsnr_end": 2.0}
SHAPE = (1, 2, 3)


@pytest.mark.parametrize(
    "case", VECTORS["upstream"], ids=lambda c: f"{c['steps']}-{c['sigma_max']}"
)
def test_schedule_is_upstreams(case: dict) -> None:
    times = pingpong_schedule(case["steps"], sigma_max=case["sigma_max"], **LINE)
    assert times.dtype == np.float32
    np.testing.assert_allclose(times, case["times"], rtol=0, atol=VECTORS["tolerance"])


def test_every_step_count_has_a_falling_schedule() -> None:
    for steps in range(1, 65):
        times = pingpong_schedule(steps, **LINE)
        assert times[0] == 1
        assert times[-1] == 0
        assert (np.diff(times) < 0).all()


@pytest.mark.parametrize(
    ("steps", "sigma_max"),
    [(0, 1.0), (65, 1.0), (-1, 1.0), (8, 0.0), (8, 1.1), (8, float("nan"))],
)
def test_out_of_range(steps: int, sigma_max: float) -> None:
    with pytest.raises(InputError):
        pingpong_schedule(steps, sigma_max=sigma_max, **LINE)


class Recorded:
    """Noise from a list: the initial one, then one per step."""

    def __init__(self, steps: int) -> None:
        shape = (steps + 1, *SHAPE)
        self.draws = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        self.asked: list[int] = []

    def initial(self, shape: tuple[int, ...]) -> Latent:
        assert shape == SHAPE
        return self.draws[0]

    def step(self, index: int, shape: tuple[int, ...]) -> Latent:
        assert shape == SHAPE
        self.asked.append(index)
        return self.draws[index]

    def encoder(self, shape: tuple[int, ...]) -> Latent:
        raise AssertionError(shape)


def velocity(x: Latent, t: np.float32) -> Latent:
    return np.float32(0.3) * x + t


def test_recurrence() -> None:
    noise = Recorded(3)
    times = pingpong_schedule(3, **LINE)
    seen: list[tuple[int, int]] = []
    latent = pingpong(velocity, times, noise, SHAPE, on_step=lambda *done: seen.append(done))

    x = noise.draws[0]
    for index, (now, following) in enumerate(pairwise(times), 1):
        denoised = x - now * velocity(x, now)
        fresh = noise.draws[index] if index < 3 else np.float32(0)
        x = (1 - following) * denoised + following * fresh
    np.testing.assert_allclose(latent, x, rtol=0, atol=1e-7)
    assert latent.dtype == np.float32
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert noise.asked == [1, 2]  # the last step's noise would be multiplied by 0


def test_init_latent_is_mixed_at_the_noise_level() -> None:
    noise = Recorded(1)
    init = np.ones(SHAPE, np.float32)
    times = pingpong_schedule(1, sigma_max=0.25, **LINE)
    starts: list[Latent] = []

    def spy(x: Latent, t: np.float32) -> Latent:
        starts.append(x)
        return np.zeros_like(x)

    pingpong(spy, times, noise, SHAPE, init=init)
    np.testing.assert_allclose(starts[0], 0.75 + 0.25 * noise.draws[0], atol=1e-7)


def test_cancellation_stops_before_the_next_step() -> None:
    done: list[int] = []
    with pytest.raises(Cancelled):
        pingpong(
            velocity,
            pingpong_schedule(4, **LINE),
            Recorded(4),
            SHAPE,
            on_step=lambda step, _: done.append(step),
            cancelled=lambda: len(done) == 2,
        )
    assert done == [1, 2]
