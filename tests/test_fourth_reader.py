"""A fourth reader: the formulas of ``docs/bundle.md`` with nothing but the standard library.

What the page says has to be enough to meet the test vectors, bit for bit.
"""

from __future__ import annotations

import math
import struct

from contract import vectors

MASK = 0xFFFFFFFF
LN_TERMS = [1 / (2 * k + 1) for k in range(11)]
COS_TERMS = [(-1) ** k / math.factorial(2 * k) for k in range(9)]
SIN_TERMS = [(-1) ** k / math.factorial(2 * k + 1) for k in range(9)]


def f32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


def from_bits(bits: str) -> float:
    return struct.unpack("<f", struct.pack("<I", int(bits, 16)))[0]


def to_bits(values: list[float]) -> list[str]:
    return [f"{struct.unpack('<I', struct.pack('<f', value))[0]:08x}" for value in values]


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> list[int]:
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        first, second = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (
            (second >> 32) ^ c1 ^ k0,
            second & MASK,
            (first >> 32) ^ c3 ^ k1,
            first & MASK,
        )
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return [c0, c1, c2, c3]


def horner(terms: list[float], z: float) -> float:
    p = terms[-1]
    for k in reversed(terms[:-1]):
        p = p * z + k
    return p


def ln(n: int) -> float:
    """Return the logarithm of ``n / 2^32``."""
    f, e = math.frexp(n)
    if f < 0.7071067811865476:
        f, e = f * 2, e - 1
    s = (f - 1) / (f + 1)
    return (e - 32) * 0.6931471805599453 + (2 * s) * horner(LN_TERMS, s * s)


def box_muller(a: int, b: int) -> tuple[float, float]:
    r = math.sqrt(-2 * ln(a + 1))
    quadrant = ((b + 2**29) % 2**32) >> 30
    d = (b - quadrant * 2**30) % 2**32
    x = (d - 2**32 if d >= 2**31 else d) * (6.283185307179586 / 2**32)
    c, s = horner(COS_TERMS, x * x), x * horner(SIN_TERMS, x * x)
    cos, sin = [(c, s), (-s, c), (-c, -s), (s, -c)][quadrant]
    return f32(r * cos), f32(r * sin)


def normal(seed: int, stream: int, item: int, element: int) -> float:
    words = philox((element // 4, 0, stream, item), (seed & MASK, seed >> 32))
    pair = element % 4 // 2 * 2
    return box_muller(words[pair], words[pair + 1])[element % 2]


def times(steps: int, start: float, end: float, sigma: float) -> list[float]:
    if sigma < 1:
        start = math.log((1 - sigma) / sigma + 1e-6)
    first, last = f32(start), f32(end)
    step = f32(f32(last - first) / steps)
    t = []
    for i in range(steps + 1):
        if i < (steps + 1) // 2:
            u = f32(first + f32(step * i))
        else:
            u = f32(last - f32(step * (steps - i)))
        t.append(f32(1 / f32(1 + f32(math.exp(u)))))
    t[0], t[steps] = f32(sigma), 0.0
    return t


def test_noise() -> None:
    stored = vectors("noise")
    for case in stored["philox"]:
        assert philox(case["counter"], case["key"]) == case["words"]
    for case in stored["normals"]:
        where = (int(case["seed"]), case["stream"], case["item"])
        elements = range(case["first"], case["first"] + len(case["bits"]))
        assert to_bits([normal(*where, element) for element in elements]) == case["bits"]


def test_times() -> None:
    for case in vectors("schedule")["cases"]:
        line = (case["steps"], case["logsnr_start"], case["logsnr_end"], case["sigma_max"])
        assert to_bits(times(*line)) == case["bits"]


def test_sampler() -> None:
    for case in vectors("sampler")["cases"]:
        seed, size = int(case["seed"]), range(case["size"])
        t = times(case["steps"], case["logsnr_start"], case["logsnr_end"], 1.0)
        x = [normal(seed, 0, 0, i) for i in size]
        for step in range(case["steps"]):
            now, following = t[step], t[step + 1]
            velocity = [f32(f32(0.5 * value) - now) for value in x]
            x = [f32(value - f32(now * v)) for value, v in zip(x, velocity, strict=True)]
            if following > 0:
                kept = f32(1 - following)
                fresh = [f32(following * normal(seed, step + 1, 0, i)) for i in size]
                x = [f32(f32(kept * value) + new) for value, new in zip(x, fresh, strict=True)]
        assert to_bits(x) == case["bits"]


def test_windows() -> None:
    for case in vectors("windows")["windows"]:
        frames, window, context = case["frames"], case["window"], case["context"]
        plan, position = [], 0
        while position < frames:
            start = max(0, min(position - context, frames - window))
            stop = start + window
            keep_stop = frames if stop == frames else stop - context
            plan.append([start, stop, position, keep_stop])
            position = keep_stop
        assert plan == case["windows"]


def test_samples() -> None:
    for case in vectors("pcm16")["cases"]:
        value = from_bits(case["bits"])
        assert max(-32768, min(32767, round(value * 32768))) == case["sample"]
        assert (abs(value) > 1) == case["clipped"]
