"""Noise that is the same on every runtime: Philox4x32-10 and Box-Muller, bit for bit.

A seed must give the same sound in Python, C++ and Kotlin, so the generator uses nothing that
differs between machines: integer arithmetic, and the IEEE 754 operations ``+ - * / sqrt`` on
float64, each rounded to nearest. It is specified in ``docs/bundle.md`` (Noise), and
``contract/vectors/noise.json`` checks a re-implementation.

Philox: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial, prod
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

NOISE_ID: Final = "philox4x32-10-boxmuller-1"
MAX_SEED: Final = 2**64 - 1

STREAM_INITIAL: Final = 0
STREAM_ENCODER: Final = 0xFFFFFFFF

SQRT_HALF: Final = 0.7071067811865476
LN2: Final = 0.6931471805599453
TWO_PI_OVER_2_32: Final = 6.283185307179586 / 2**32
# ln((1 + s) / (1 - s)) = 2 s (1 + z/3 + z^2/5 + ...); |s| < 0.172, so the rest is below 1e-18.
LOG_TERMS: Final = tuple(1.0 / (2 * k + 1) for k in range(11))
# Taylor series; |x| <= pi/4, so the rest is below 1e-17.
COS_TERMS: Final = tuple((-1.0) ** k / factorial(2 * k) for k in range(9))
SIN_TERMS: Final = tuple((-1.0) ** k / factorial(2 * k + 1) for k in range(9))

_MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)
_ROUNDS: Final = 10
_LOW32: Final = np.uint64(0xFFFFFFFF)
_32: Final = np.uint64(32)


def philox4x32(
    counter: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike], key: tuple[int, int]
) -> NDArray[np.uint32]:
    """Return Philox4x32-10 of broadcastable counter words (uint32 values) under one key.

    The result is uint32 of shape ``(*broadcast, 4)``.
    """
    # uint32 values in uint64, so that products keep their high half.
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.asarray(word, np.uint64) for word in counter))
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0 = c0 * _MULTIPLIERS[0]
        product1 = c2 * _MULTIPLIERS[1]
        c0 = (product1 >> _32) ^ c1 ^ np.uint64(k0)
        c1 = product1 & _LOW32
        c2 = (product0 >> _32) ^ c3 ^ np.uint64(k1)
        c3 = product0 & _LOW32
        k0 = (k0 + _WEYL[0]) & 0xFFFFFFFF
        k1 = (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def _horner(terms: tuple[float, ...], z: NDArray[np.float64]) -> NDArray[np.float64]:
    value = np.full_like(z, terms[-1])
    for term in reversed(terms[:-1]):
        value = value * z + term  # two numpy calls: never fused
    return value


def log_unit(word: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return the natural logarithm of ``(word + 1) / 2^32``, by a polynomial; float64."""
    fraction, exponent = np.frexp(word.astype(np.float64) + 1.0)  # exact
    low = fraction < SQRT_HALF
    fraction = np.where(low, fraction * 2.0, fraction)
    power = exponent.astype(np.float64) - np.where(low, 33.0, 32.0)
    s = (fraction - 1.0) / (fraction + 1.0)
    return power * LN2 + (2.0 * s) * _horner(LOG_TERMS, s * s)


def cos_sin_turn(word: NDArray[np.uint32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return cosine and sine of ``2 pi word / 2^32``, by polynomials; float64."""
    quadrant = (word + np.uint32(1 << 29)) >> np.uint32(30)  # uint32 addition wraps
    rest = (word - (quadrant << np.uint32(30))).view(np.int32)
    x = rest.astype(np.float64) * TWO_PI_OVER_2_32
    z = x * x
    c = _horner(COS_TERMS, z)
    s = x * _horner(SIN_TERMS, z)
    odd, upper = (quadrant & np.uint32(1)) == 1, quadrant >= 2
    # Quadrants 0..3: (c, s), (-s, c), (-c, -s), (s, -c).
    cos = np.where(odd, s, c)
    sin = np.where(odd, c, s)
    return np.where(odd ^ upper, -cos, cos), np.where(upper, -sin, sin)


def normal_noise(
    seed: int, stream: int, shape: tuple[int, ...], *, item: int = 0
) -> NDArray[np.float32]:
    """Return the standard normal float32 tensor ``(seed, stream, item)`` of ``shape``, in C order.

    A shorter tensor is the beginning of a longer one.

    Raises:
        ValueError: a seed outside 0 .. 2^64 - 1, a stream or item outside uint32, or more than 2^34
            elements.
    """
    count = prod(shape)
    blocks = -(-count // 4)
    if not 0 <= seed <= MAX_SEED or not 0 <= min(stream, item) <= max(stream, item) < 2**32:
        raise ValueError(f"seed {seed}, stream {stream} or item {item} out of range")
    if blocks > 2**32:
        raise ValueError(f"{count} elements; the block counter has 32 bits")
    zero = np.uint64(0)
    counter = (np.arange(blocks, dtype=np.uint64), zero, np.uint64(stream), np.uint64(item))
    words = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))
    radius = np.sqrt(-2.0 * log_unit(words[:, 0::2]))
    cos, sin = cos_sin_turn(words[:, 1::2])
    normals = np.stack([radius * cos, radius * sin], axis=-1)
    return normals.reshape(-1)[:count].astype(np.float32).reshape(shape)


@dataclass(frozen=True)
class PhiloxNoise:
    """The noise of one generation, see :class:`arcmobile.runtime.sampler.NoiseSource`."""

    seed: int
    item: int = 0

    def initial(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the noise that sampling starts from."""
        return normal_noise(self.seed, STREAM_INITIAL, shape, item=self.item)

    def step(self, index: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the noise added after sampler step ``index``, counted from 1."""
        return normal_noise(self.seed, index, shape, item=self.item)

    def encoder(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the noise of the VAE posterior of init audio."""
        return normal_noise(self.seed, STREAM_ENCODER, shape, item=self.item)
