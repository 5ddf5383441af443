"""The noise generator against published vectors, exact mathematics, and its own stored values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from contract import vectors

from arcmobile.runtime.noise import (
    NOISE_ID,
    PhiloxNoise,
    cos_sin_turn,
    log_unit,
    normal_noise,
    philox4x32,
)

VECTORS = vectors("noise")
ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # known answers of Random123 (kat_vectors, philox4x32 with 10 rounds)
        ((0,) * 4, (0,) * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((ONES,) * 4, (ONES,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_known_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], words: str
) -> None:
    assert " ".join(f"{word:08x}" for word in philox4x32(counter, key)) == words


def test_polynomials_against_the_math_library() -> None:
    edges = [0, 1, 2, 2**29 - 1, 2**29, 2**30, 2**31 - 1, 2**31, 3 * 2**30, ONES - 1, ONES]
    random = np.random.default_rng(0).integers(0, 2**32, 2000)
    words = np.concatenate([edges, random]).astype(np.uint32)
    turns = words.astype(np.float64) / 2**32
    logs = [math.log((int(word) + 1) / 2**32) for word in words]
    cos, sin = cos_sin_turn(words)
    np.testing.assert_allclose(log_unit(words), logs, rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(cos, np.cos(2 * math.pi * turns), rtol=0, atol=1e-15)
    np.testing.assert_allclose(sin, np.sin(2 * math.pi * turns), rtol=0, atol=1e-15)


def test_moments_and_independence() -> None:
    first, second = normal_noise(7, 0, (200_000,)), normal_noise(7, 1, (200_000,))
    error = 1 / math.sqrt(first.size)
    for noise in (first.astype(np.float64), second.astype(np.float64)):
        for power, moment in enumerate([0, 1, 0, 3, 0, 15], 1):
            # 5 standard errors of the estimate of each moment
            spread = math.sqrt(math.prod(range(2 * power - 1, 0, -2)) - moment**2)
            assert abs(np.mean(noise**power) - moment) < 5 * spread * error
    assert abs(np.mean(first * second)) < 5 * error
    assert abs(np.mean(first[:-1] * first[1:])) < 5 * error
    assert np.abs(first).max() < 6.7  # the 32-bit uniform bounds the tail


def test_stored_vectors() -> None:
    assert VECTORS["id"] == NOISE_ID
    for case in VECTORS["philox"]:
        words = philox4x32(tuple(case["counter"]), tuple(case["key"]))
        assert words.tolist() == case["words"]
    for case in VECTORS["normals"]:
        first, count = case["first"], len(case["bits"])
        noise = normal_noise(
            int(case["seed"]), case["stream"], (first + count,), item=case["item"]
        )[first:]
        assert [f"{bits:08x}" for bits in noise.view(np.uint32)] == case["bits"]
        np.testing.assert_array_equal(noise, np.array(case["values"], np.float32))


def test_shape_is_filled_in_c_order() -> None:
    flat = normal_noise(3, 0, (2 * 3 * 5,))
    np.testing.assert_array_equal(normal_noise(3, 0, (2, 3, 5)), flat.reshape(2, 3, 5))
    assert normal_noise(3, 0, (0,)).shape == (0,)


def test_streams_of_a_generation_differ() -> None:
    noise = PhiloxNoise(5)
    draws = [noise.initial((8,)), noise.step(1, (8,)), noise.step(2, (8,)), noise.encoder((8,))]
    draws.append(PhiloxNoise(5, item=1).initial((8,)))
    draws.append(PhiloxNoise(5 + 2**32).initial((8,)))
    assert len({draw.tobytes() for draw in draws}) == len(draws)


@pytest.mark.parametrize(("seed", "stream"), [(-1, 0), (2**64, 0), (0, -1), (0, 2**32)])
def test_out_of_range(seed: int, stream: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        normal_noise(seed, stream, (4,))
