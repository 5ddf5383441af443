"""The tensors of a random checkpoint: how the values of each are drawn.

Random networks are only good for measuring when signals keep their size through them: with values
that vanish or explode, an SNR says nothing about quantization, and denormals slow the arithmetic.
So each weight has the standard deviation that gives its layer's output a chosen size, given the
size of its input (the comments say which). Shapes are those that the networks ask for when they
are built.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from arcmobile.export.checkpoint.folder import expected_tensors
from arcmobile.export.model.config import ModelConfig, T5Config
from arcmobile.export.model.forms import REFERENCE
from arcmobile.export.model.t5 import T5Encoder
from arcmobile.export.model.weights import ShapeOnlySource, Weights

Shapes = Mapping[str, tuple[int, ...]]
"""Tensor name -> shape, as the networks ask for them."""

COND_RMS = 0.3  # prompt and number embeddings, about what the trained T5-base gives
AUDIO_RMS = 0.1  # decoder output; the encoder expects the same

_SNAKE_LOG_STD = 0.35  # spread of log(alpha) and log(beta)
# Snake's slope is 1 + alpha/beta * sin(2 alpha x). With beta at 1, a random chain of 37 of them is
# chaotic: it amplifies any error by 20 dB, so that even float32 with int8 weights scores 15 dB.
# A larger beta keeps errors the size they are made, and the SNR says what the quantization does.
_SNAKE_LOG_BETA = 1.5
# Mean square of the autoencoder's stream at the start of a block, and what a residual unit adds.
_STREAM = 0.25
_BRANCH = 0.04
_SILU_RMS = 0.6  # rms of silu(x), and of the gated product x·silu(y), for unit normal x and y
_NORM_STD, _OFFSET_STD = 0.2, 0.1


@dataclass(frozen=True)
class TensorPlan:
    """A float32 tensor to draw: normal with `mean` and `std`, or the given `values`."""

    name: str
    shape: tuple[int, ...]
    mean: float = 0.0
    std: float = 1.0
    values: tuple[float, ...] | None = None

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def draw(self, seed: int) -> npt.NDArray[np.float32]:
        """Return the values; they depend on ``seed`` and the name, not on the other tensors."""
        if self.values is not None:
            return np.asarray(self.values, dtype=np.float32).reshape(self.shape)
        digest = hashlib.sha256(self.name.encode()).digest()
        entropy = [seed, *np.frombuffer(digest, dtype="<u4").tolist()]
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        values = generator.standard_normal(self.shape, dtype=np.float32)
        values *= np.float32(self.std)
        values += np.float32(self.mean)
        return values


def model_tensors(config: ModelConfig, text_config: T5Config) -> list[TensorPlan]:
    """Return all tensors of ``model.safetensors``."""
    shapes, _ = expected_tensors(config, text_config)
    dit, autoencoder = config.dit, config.autoencoder
    return [
        *_dit(shapes, dit.depth),
        *_number_conditioners(shapes, [number.id for number in config.conditioning.numbers]),
        *_encoder(shapes, len(autoencoder.encoder.config.strides)),
        *_decoder(shapes, len(autoencoder.decoder.config.strides)),
    ]


def text_encoder_tensors(config: T5Config) -> list[TensorPlan]:
    """Return all tensors of a T5 encoder, initialised as T5 is before training."""
    weights = Weights(ShapeOnlySource())
    T5Encoder(config, 1, weights, REFERENCE)
    shapes = weights.ledger.requested

    def dense(name: str) -> TensorPlan:
        return TensorPlan(name, shapes[name], std=shapes[name][1] ** -0.5)

    plans = [TensorPlan("shared.weight", shapes["shared.weight"])]
    for index in range(config.num_layers):
        block = f"encoder.block.{index}"
        attention = f"{block}.layer.0.SelfAttention"
        query = f"{attention}.q.weight"
        query_std = (config.d_model * config.d_kv) ** -0.5  # T5 folds 1/sqrt(d_kv) into the weights
        plans.append(TensorPlan(query, shapes[query], std=query_std))
        plans += [dense(f"{attention}.{side}.weight") for side in "kvo"]
        if index == 0:
            table = f"{attention}.relative_attention_bias.weight"
            plans.append(TensorPlan(table, shapes[table], std=0.5))
        plans.append(_gain(shapes, f"{block}.layer.0.layer_norm.weight"))
        plans += [dense(f"{block}.layer.1.DenseReluDense.{side}.weight") for side in ("wi", "wo")]
        plans.append(_gain(shapes, f"{block}.layer.1.layer_norm.weight"))
    return [*plans, _gain(shapes, "encoder.final_layer_norm.weight", mean=COND_RMS)]


def _gain(shapes: Shapes, name: str, mean: float = 1.0) -> TensorPlan:
    return TensorPlan(name, shapes[name], mean=mean, std=_NORM_STD * mean)


def _offset(shapes: Shapes, name: str, std: float = _OFFSET_STD) -> TensorPlan:
    return TensorPlan(name, shapes[name], std=std)


def _linear(shapes: Shapes, name: str, out_rms: float, in_rms: float) -> TensorPlan:
    """Plan a weight (out, in) that turns inputs of size ``in_rms`` into outputs of ``out_rms``."""
    shape = shapes[f"{name}.weight"]
    return TensorPlan(f"{name}.weight", shape, std=out_rms / (in_rms * math.sqrt(shape[1])))


def _dit(shapes: Shapes, depth: int) -> Iterator[TensorPlan]:
    model = "model.model"
    features = f"{model}.timestep_features.weight"
    yield TensorPlan(features, shapes[features])
    timestep = f"{model}.to_timestep_embed"
    yield _linear(shapes, f"{timestep}.0", out_rms=1.0, in_rms=math.sqrt(0.5))
    yield _offset(shapes, f"{timestep}.0.bias")
    # Global and timestep embedding add up to one prepended token of unit size.
    half = math.sqrt(0.5)
    yield _linear(shapes, f"{timestep}.2", out_rms=half, in_rms=_SILU_RMS)
    yield _offset(shapes, f"{timestep}.2.bias")
    for name, out_rms in (("to_cond_embed", 1.0), ("to_global_embed", half)):
        yield _linear(shapes, f"{model}.{name}.0", out_rms=1.0, in_rms=COND_RMS)
        yield _linear(shapes, f"{model}.{name}.2", out_rms=out_rms, in_rms=_SILU_RMS)
    for index in range(depth):
        yield from _dit_block(shapes, f"{model}.transformer.layers.{index}", depth)
    # The blocks bring the stream from mean square 1 to about 4; the velocity has unit size again.
    yield _linear(shapes, f"{model}.transformer.project_in", out_rms=1.0, in_rms=1.0)
    yield _linear(shapes, f"{model}.transformer.project_out", out_rms=1.0, in_rms=2.0)
    rotary = f"{model}.transformer.rotary_pos_emb.inv_freq"
    (count,) = shapes[rotary]
    frequencies = tuple(10000.0 ** (-2 * i / (2 * count)) for i in range(count))
    yield TensorPlan(rotary, shapes[rotary], values=frequencies)
    for side in ("preprocess_conv", "postprocess_conv"):  # both are added to their input
        name = f"{model}.{side}.weight"
        yield TensorPlan(name, shapes[name], std=0.2 * shapes[name][1] ** -0.5)


def _dit_block(shapes: Shapes, block: str, depth: int) -> Iterator[TensorPlan]:
    # 3 branches x depth blocks add 3 to the stream's mean square, whatever the depth.
    branch = depth**-0.5
    for attention, norm, projections, attended_rms in (
        # Averaging over tokens shrinks the values; padding rows (zeros) shrink them further.
        ("self_attn", "pre_norm", ("to_qkv",), 0.55),
        ("cross_attn", "cross_attend_norm", ("to_q", "to_kv"), 0.35),
    ):
        yield _gain(shapes, f"{block}.{norm}.gamma")
        yield _offset(shapes, f"{block}.{norm}.beta")
        name = f"{block}.{attention}"
        for projection in projections:
            yield _linear(shapes, f"{name}.{projection}", out_rms=1.0, in_rms=1.0)
        yield _linear(shapes, f"{name}.to_out", out_rms=branch, in_rms=attended_rms)
        for side in ("q_norm", "k_norm"):
            # Gains above 1 make the attention choose among tokens, as a trained one does.
            yield _gain(shapes, f"{name}.{side}.weight", mean=1.3)
            yield _offset(shapes, f"{name}.{side}.bias")
    yield _gain(shapes, f"{block}.ff_norm.gamma")
    yield _offset(shapes, f"{block}.ff_norm.beta")
    yield _linear(shapes, f"{block}.ff.ff.0.proj", out_rms=1.0, in_rms=1.0)
    yield _offset(shapes, f"{block}.ff.ff.0.proj.bias")
    yield _linear(shapes, f"{block}.ff.ff.2", out_rms=branch, in_rms=_SILU_RMS)
    yield _offset(shapes, f"{block}.ff.ff.2.bias", std=0.1 * branch)


def _number_conditioners(shapes: Shapes, names: Sequence[str]) -> Iterator[TensorPlan]:
    for name in names:
        embedder = f"conditioner.conditioners.{name}.embedder.embedding"
        yield TensorPlan(f"{embedder}.0.weights", shapes[f"{embedder}.0.weights"])
        yield _linear(shapes, f"{embedder}.1", out_rms=COND_RMS, in_rms=math.sqrt(0.5))
        yield _offset(shapes, f"{embedder}.1.bias", std=0.1 * COND_RMS)


def _encoder(shapes: Shapes, blocks: int) -> Iterator[TensorPlan]:
    root = "pretransform.model.encoder.layers"
    yield from _convolution(shapes, f"{root}.0", _STREAM, AUDIO_RMS**2)
    for index in range(1, blocks + 1):
        block = f"{root}.{index}.layers"
        for unit in range(3):
            yield from _residual_unit(shapes, f"{block}.{unit}", _STREAM + unit * _BRANCH)
        yield from _snake(shapes, f"{block}.3")
        square = _after_snake(_STREAM + 3 * _BRANCH)
        yield from _convolution(shapes, f"{block}.4", _STREAM, square)
    yield from _snake(shapes, f"{root}.{blocks + 1}")
    yield from _convolution(shapes, f"{root}.{blocks + 2}", 1.0, _after_snake(_STREAM))


def _decoder(shapes: Shapes, blocks: int) -> Iterator[TensorPlan]:
    root = "pretransform.model.decoder.layers"
    square = _STREAM
    yield from _convolution(shapes, f"{root}.0", square, 1.0)
    for index in range(1, blocks + 1):
        block = f"{root}.{index}.layers"
        yield from _snake(shapes, f"{block}.0")
        yield from _transposed(shapes, f"{block}.1", _STREAM, _after_snake(square))
        for unit in range(3):
            yield from _residual_unit(shapes, f"{block}.{unit + 2}", _STREAM + unit * _BRANCH)
        square = _STREAM + 3 * _BRANCH
    yield from _snake(shapes, f"{root}.{blocks + 1}")
    last, square = f"{root}.{blocks + 2}", _after_snake(square)
    yield from _convolution(shapes, last, AUDIO_RMS**2, square, bias=False)


def _residual_unit(shapes: Shapes, name: str, square: float) -> Iterator[TensorPlan]:
    """Snake, 7-tap convolution, snake, 1-tap convolution, added to an input of mean square."""
    layers = f"{name}.layers"
    yield from _snake(shapes, f"{layers}.0")
    yield from _convolution(shapes, f"{layers}.1", _STREAM, _after_snake(square))
    yield from _snake(shapes, f"{layers}.2")
    yield from _convolution(shapes, f"{layers}.3", _BRANCH, _after_snake(_STREAM))


def _snake(shapes: Shapes, name: str) -> Iterator[TensorPlan]:
    alpha, beta = f"{name}.alpha", f"{name}.beta"
    yield TensorPlan(alpha, shapes[alpha], std=_SNAKE_LOG_STD)
    yield TensorPlan(beta, shapes[beta], mean=_SNAKE_LOG_BETA, std=_SNAKE_LOG_STD)


def _after_snake(square: float) -> float:
    """Mean square of x + sin²(alpha·x)/beta for normal x of mean square `square` and alpha 1."""
    fourth = 3 / 8 - math.exp(-2 * square) / 2 + math.exp(-8 * square) / 8  # E[sin⁴]
    return square + fourth * math.exp(2 * _SNAKE_LOG_STD**2 - 2 * _SNAKE_LOG_BETA)


def _convolution(
    shapes: Shapes, name: str, target: float, square: float, bias: bool = True
) -> Iterator[TensorPlan]:
    """Conv1d with weight norm, from inputs of mean square ``square`` to outputs of ``target``."""
    _, inner, taps = shapes[f"{name}.weight_v"]
    yield from _weight_norm(shapes, name, math.sqrt(target / (square * inner * taps)))
    if bias:
        yield _offset(shapes, f"{name}.bias", std=0.05 * math.sqrt(target))


def _transposed(shapes: Shapes, name: str, target: float, square: float) -> Iterator[TensorPlan]:
    """ConvTranspose1d with kernel 2·stride: each output sample sees two taps of each input."""
    inner, _, _ = shapes[f"{name}.weight_v"]
    yield from _weight_norm(shapes, name, math.sqrt(target / (square * inner * 2)))
    yield _offset(shapes, f"{name}.bias", std=0.05 * math.sqrt(target))


def _weight_norm(shapes: Shapes, name: str, std: float) -> Iterator[TensorPlan]:
    """Plan `weight_v`, and `weight_g` about as long as its rows: g·v/|v| has size std."""
    gains, values = f"{name}.weight_g", f"{name}.weight_v"
    shape = shapes[values]
    length = std * math.sqrt(shape[1] * shape[2])
    yield TensorPlan(gains, shapes[gains], mean=length, std=0.1 * length)
    yield TensorPlan(values, shape, std=std)
