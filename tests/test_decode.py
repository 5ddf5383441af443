"""Chunked decoding and encoding equal the one-shot result, whatever the sizes."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from arcmobile.runtime.decode import (
    Array,
    PartPlan,
    choose_window,
    count_calls,
    encode_windows,
    plan_windows,
    stream_decode,
)
from arcmobile.runtime.errors import BundleError
from arcmobile.runtime.tensors import decoder_part


@given(window=st.integers(1, 40), context=st.integers(0, 12), extra=st.integers(0, 100))
@settings(deadline=None)
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


@dataclass(frozen=True)
class Layers:
    """A part: conv on frames, a phase-wise upsampling by ``stride``, conv on what comes out.

    The last ``missing`` samples fall away, as with transposed convolutions of odd stride.
    """

    first: NDArray[np.float64]
    phases: NDArray[np.float64]
    last: NDArray[np.float64]
    missing: int

    def __call__(self, x: Array) -> Array:
        hidden = np.tanh(conv(x[0], self.first))
        upsampled = np.einsum("ois,in->ons", self.phases, hidden).reshape(len(self.last[0]), -1)
        kept = upsampled[:, : upsampled.shape[1] - self.missing]
        return conv(np.tanh(kept), self.last)[np.newaxis].astype(np.float32)


@dataclass(frozen=True)
class Chain:
    """A decoder in parts, how each is windowed, and the latent it decodes."""

    latent: Array
    parts: tuple[PartPlan, ...]
    layers: dict[str, Layers]

    def run(self, part: PartPlan, window: Array) -> Array:
        assert window.shape[-1] == part.window
        return self.layers[part.component](window)

    def one_shot(self) -> Array:
        x = self.latent
        for part in self.parts:
            x = self.layers[part.component](x)
        return x[0]


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """One to three parts of any reach, stride and window; only the last has an odd stride."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    count = draw(st.integers(1, 3))
    frames = draw(st.integers(1, 40))
    latent = rng.standard_normal((1, 3, frames)).astype(np.float32)
    parts, layers = [], {}
    for index in range(count):
        last = index == count - 1
        reach, after = draw(st.integers(0, 3)), draw(st.integers(0, 2))
        stride, missing = draw(st.integers(1, 4)), draw(st.integers(0, 1)) if last else 0
        stride = max(stride, 1 + missing)
        context = reach + math.ceil((after + missing) / stride)
        window = min(frames, 2 * context + draw(st.integers(1, 9)))
        name = decoder_part(index)
        layers[name] = Layers(
            weights(rng, 4, 3, 2 * reach + 1),
            weights(rng, 4, 4, stride),
            weights(rng, 2 if last else 3, 4, 2 * after + 1),
            missing,
        )
        parts.append(PartPlan(name, frames, window, context, stride))
        frames *= stride
    return Chain(latent, tuple(parts), layers)


@given(chain=chains(), share=st.floats(0.001, 1))
@settings(deadline=None)
def test_chunked_equals_one_shot(chain: Chain, share: float) -> None:
    one_shot = chain.one_shot()
    chunks = list(stream_decode(chain.latent, chain.parts, chain.run))
    np.testing.assert_allclose(np.concatenate(chunks, axis=1), one_shot, rtol=0, atol=1e-6)

    needed = max(1, int(share * one_shot.shape[1]))
    calls = Counter[str]()

    def counted(part: PartPlan, window: Array) -> Array:
        calls[part.component] += 1
        return chain.run(part, window)

    def counts() -> list[int]:
        return [calls[part.component] for part in chain.parts]

    stream = stream_decode(chain.latent, chain.parts, counted, needed)
    head = [next(stream)]
    assert counts() == count_calls(chain.parts, 1)
    head += stream
    np.testing.assert_allclose(
        np.concatenate(head, axis=1), one_shot[:, :needed], rtol=0, atol=1e-6
    )
    assert counts() == count_calls(chain.parts, needed)
    whole = count_calls(chain.parts, one_shot.shape[1])
    assert whole == [len(part.windows()) for part in chain.parts]


def test_parts_take_turns() -> None:
    """A part runs only when the one behind it needs more of its output."""
    order: list[str] = []
    parts = (PartPlan("a", 100, 10, 2, 2), PartPlan("b", 200, 14, 1, 3))

    def repeat(part: PartPlan, window: Array) -> Array:
        order.append(part.component)
        return np.repeat(window, part.ratio, axis=2)

    latent = np.arange(100, dtype=np.float32)[np.newaxis, np.newaxis]
    stream = stream_decode(latent, parts, repeat)
    assert next(stream).shape == (1, 39)
    assert order == ["a", "b"]  # the first window of a keeps 16 frames
    assert next(stream).shape == (1, 36)
    assert order == ["a", "b", "a", "b"]
    assert sum(chunk.shape[1] for chunk in stream) == 600 - 39 - 36


def test_a_window_that_comes_out_too_short() -> None:
    def repeat(part: PartPlan, window: Array) -> Array:
        return np.repeat(window, 4, axis=2)[..., :-9]

    part = PartPlan("decoder_1", 30, 10, 2, 4)
    with pytest.raises(BundleError, match=r"decoder_1 gives 31 .* too few"):
        list(stream_decode(np.zeros((1, 1, 30), np.float32), [part], repeat))


@given(
    seed=st.integers(0, 2**16),
    stride=st.integers(2, 5),
    window_over=st.integers(1, 9),
    frames_over=st.integers(0, 30),
)
@settings(deadline=None)
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
