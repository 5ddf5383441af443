"""Chunked decoding and encoding equal the one-shot result, whatever the sizes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from arcmobile.runtime.decode import (
    Array,
    choose_window,
    encode_windows,
    plan_windows,
    stream_decode,
)
from arcmobile.runtime.errors import BundleError


@given(window=st.integers(1, 40), context=st.integers(0, 12), extra=st.integers(0, 100))
def test_plan_produces_every_frame_once(window: int, context: int, extra: int) -> None:
    frames = window + extra
    if extra and window <= 2 * context:
        with pytest.raises(BundleError, match="keeps nothing"):
            plan_windows(frames, window, context)
        return
    position = 0
    for part in plan_windows(frames, window, context):
        assert part.keep_start == position
        assert 0 <= part.start <= part.keep_start < part.keep_stop <= part.stop <= frames
        assert part.stop - part.start == window
        assert part.start == 0 or part.keep_start - part.start >= context
        assert part.stop == frames or part.stop - part.keep_stop >= context
        position = part.keep_stop
    assert position == frames


def test_sequence_shorter_than_the_window() -> None:
    with pytest.raises(BundleError, match="entry for 5 frames"):
        plan_windows(5, 6, 1)


def test_choice_of_window() -> None:
    assert choose_window(30, (6, 11, 64), context=3) == 11
    assert choose_window(6, (6, 11, 64), context=3) == 6
    assert choose_window(64, (6, 11, 64), context=3) == 64
    with pytest.raises(BundleError, match="30 frames"):
        choose_window(30, (6,), context=3)


def conv(x: Array, weights: Array) -> Array:
    """'Same' convolution of (channels, n) with (out, in, odd taps), zeros beyond the edges."""
    reach = weights.shape[2] // 2
    padded = np.pad(x, ((0, 0), (reach, reach)))
    taps = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2], axis=1)
    return np.einsum("oik,ink->on", weights, taps)


def weights(rng: np.random.Generator, *shape: int) -> NDArray[np.float64]:
    return rng.standard_normal(shape) / math.sqrt(shape[1] * shape[2])


def decoder(seed: int, reach: int, stride: int, missing: int) -> Callable[[Array], Array]:
    """Conv on frames, a phase-wise upsampling by ``stride``, conv on samples with 5 taps.

    The last ``missing`` samples fall away, as with transposed convolutions of odd stride.
    """
    rng = np.random.default_rng(seed)
    first = weights(rng, 4, 3, 2 * reach + 1)
    phases = weights(rng, 4, 4, stride)
    last = weights(rng, 2, 4, 5)

    def decode(latent: Array) -> Array:
        hidden = np.tanh(conv(latent[0], first))
        samples = np.einsum("ois,in->ons", phases, hidden).reshape(4, -1)
        kept = samples[:, : samples.shape[1] - missing]
        return conv(np.tanh(kept), last)[np.newaxis].astype(np.float32)

    return decode


@given(
    seed=st.integers(0, 2**16),
    reach=st.integers(0, 3),
    stride=st.integers(2, 5),
    missing=st.integers(0, 1),
    window_over=st.integers(1, 9),
    frames_over=st.integers(0, 30),
    share=st.floats(0.01, 1),
)
def test_chunked_equals_one_shot(
    seed: int,
    reach: int,
    stride: int,
    missing: int,
    window_over: int,
    frames_over: int,
    share: float,
) -> None:
    context = reach + math.ceil((2 + missing) / stride)
    window = 2 * context + window_over
    frames = window + frames_over
    latent = np.random.default_rng(seed + 1).standard_normal((1, 3, frames)).astype(np.float32)
    decode = decoder(seed, reach, stride, missing)
    one_shot = decode(latent)[0]

    chunks = list(stream_decode(latent, window, context, stride, decode))
    np.testing.assert_allclose(np.concatenate(chunks, axis=1), one_shot, rtol=0, atol=1e-6)

    needed = max(1, int(share * frames))
    calls: list[int] = []

    def counted(part: Array) -> Array:
        calls.append(part.shape[-1])
        return decode(part)

    head = np.concatenate(
        list(stream_decode(latent, window, context, stride, counted, needed)), axis=1
    )
    np.testing.assert_allclose(head, one_shot[:, : needed * stride], rtol=0, atol=1e-6)
    planned = plan_windows(frames, window, context)
    assert len(calls) == sum(part.keep_start < needed for part in planned)


def test_chunks_come_one_window_at_a_time() -> None:
    calls: list[int] = []

    def decode(part: Array) -> Array:
        calls.append(part.shape[-1])
        return np.repeat(part, 2, axis=2)

    stream = stream_decode(np.zeros((1, 1, 100), np.float32), 10, 2, 2, decode)
    assert next(stream).shape == (1, 16)
    assert calls == [10]


def test_a_window_that_comes_out_too_short() -> None:
    def decode(part: Array) -> Array:
        return np.repeat(part, 4, axis=2)[..., :-9]

    with pytest.raises(BundleError, match="too few"):
        list(stream_decode(np.zeros((1, 1, 30), np.float32), 10, 2, 4, decode))


@given(
    seed=st.integers(0, 2**16),
    stride=st.integers(2, 5),
    window_over=st.integers(1, 9),
    frames_over=st.integers(0, 30),
)
def test_chunked_encoding_equals_one_shot(
    seed: int, stride: int, window_over: int, frames_over: int
) -> None:
    rng = np.random.default_rng(seed)
    first, second = weights(rng, 4, 2, 5), weights(rng, 6, 4, 3)
    context = 1 + math.ceil((2 + stride) / stride)

    def encode(audio: Array) -> tuple[Array, Array]:
        latent = conv(np.tanh(conv(audio[0], first))[:, ::stride], second)[np.newaxis]
        return latent[:, :3], latent[:, 3:]

    window = 2 * context + window_over
    samples = (window + frames_over) * stride
    audio = rng.standard_normal((1, 2, samples)).astype(np.float32)
    for chunked, whole in zip(
        encode_windows(audio, window, context, stride, encode), encode(audio), strict=True
    ):
        np.testing.assert_allclose(chunked, whole, rtol=0, atol=1e-6)
