"""The tensors of a random checkpoint: every upstream name and shape, and how its values are drawn.

Random networks are only good for measuring when signals keep their size through them: with values
that vanish or explode, an SNR says nothing about quantization and denormals distort the clock. So
each weight is drawn with the standard deviation that gives its layer's output a chosen size, given
the size of its input (the comments say which). All sizes come from the two configs; nothing here
knows the presets.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Config = Mapping[str, Any]

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
_FOURIER = 256  # features of the timestep and of each number, fixed upstream


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
        return math.prod(self.shape)

    def draw(self, seed: int) -> npt.NDArray[np.float32]:
        """The values; they depend on `seed` and the name only, not on the other tensors."""
        if self.values is not None:
            return np.asarray(self.values, dtype=np.float32).reshape(self.shape)
        digest = hashlib.sha256(self.name.encode()).digest()
        entropy = [seed, *np.frombuffer(digest, dtype="<u4").tolist()]
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        values = generator.standard_normal(self.shape, dtype=np.float32)
        values *= np.float32(self.std)
        values += np.float32(self.mean)
        return values


def model_tensors(model_config: Config) -> Iterator[TensorPlan]:
    """All tensors of `model.safetensors` for an upstream `model_config.json`."""
    model = model_config["model"]
    yield from _dit(model["diffusion"]["config"])
    yield from _number_conditioners(model["conditioning"])
    autoencoder = model["pretransform"]["config"]
    yield from _encoder(autoencoder["encoder"]["config"])
    yield from _decoder(autoencoder["decoder"]["config"])


def text_encoder_tensors(config: Config) -> Iterator[TensorPlan]:
    """All tensors of a T5 encoder in transformers layout, initialised as T5 is before training."""
    model, inner = config["d_model"], config["num_heads"] * config["d_kv"]
    yield TensorPlan("shared.weight", (config["vocab_size"], model))
    for index in range(config["num_layers"]):
        block = f"encoder.block.{index}"
        attention = f"{block}.layer.0.SelfAttention"
        query_std = (model * config["d_kv"]) ** -0.5  # T5 folds 1/sqrt(d_kv) into the weights
        yield TensorPlan(f"{attention}.q.weight", (inner, model), std=query_std)
        yield TensorPlan(f"{attention}.k.weight", (inner, model), std=model**-0.5)
        yield TensorPlan(f"{attention}.v.weight", (inner, model), std=model**-0.5)
        yield TensorPlan(f"{attention}.o.weight", (model, inner), std=inner**-0.5)
        if index == 0:
            buckets = (config["relative_attention_num_buckets"], config["num_heads"])
            yield TensorPlan(f"{attention}.relative_attention_bias.weight", buckets, std=0.5)
        yield _gain(f"{block}.layer.0.layer_norm.weight", model)
        dense = f"{block}.layer.1.DenseReluDense"
        yield TensorPlan(f"{dense}.wi.weight", (config["d_ff"], model), std=model**-0.5)
        yield TensorPlan(f"{dense}.wo.weight", (model, config["d_ff"]), std=config["d_ff"] ** -0.5)
        yield _gain(f"{block}.layer.1.layer_norm.weight", model)
    yield _gain("encoder.final_layer_norm.weight", model, mean=COND_RMS)


def _gain(name: str, width: int, mean: float = 1.0) -> TensorPlan:
    return TensorPlan(name, (width,), mean=mean, std=_NORM_STD * mean)


def _offset(name: str, width: int, std: float = _OFFSET_STD) -> TensorPlan:
    return TensorPlan(name, (width,), std=std)


def _linear(name: str, out: int, inner: int, out_rms: float, in_rms: float) -> TensorPlan:
    """A weight (out, inner) that turns inputs of size `in_rms` into outputs of size `out_rms`."""
    return TensorPlan(f"{name}.weight", (out, inner), std=out_rms / (in_rms * math.sqrt(inner)))


def _dit(config: Config) -> Iterator[TensorPlan]:
    io, width, depth = config["io_channels"], config["embed_dim"], config["depth"]
    model = "model.model"
    yield TensorPlan(f"{model}.timestep_features.weight", (_FOURIER // 2, 1))
    timestep = f"{model}.to_timestep_embed"
    yield _linear(f"{timestep}.0", width, _FOURIER, out_rms=1.0, in_rms=math.sqrt(0.5))
    yield _offset(f"{timestep}.0.bias", width)
    # Global and timestep embedding add up to one prepended token of unit size.
    half = math.sqrt(0.5)
    yield _linear(f"{timestep}.2", width, width, out_rms=half, in_rms=_SILU_RMS)
    yield _offset(f"{timestep}.2.bias", width)
    for name, inner, out_rms in (
        ("to_cond_embed", config["cond_token_dim"], 1.0),
        ("to_global_embed", config["global_cond_dim"], half),
    ):
        yield _linear(f"{model}.{name}.0", width, inner, out_rms=1.0, in_rms=COND_RMS)
        yield _linear(f"{model}.{name}.2", width, width, out_rms=out_rms, in_rms=_SILU_RMS)
    for index in range(depth):
        yield from _dit_block(f"{model}.transformer.layers.{index}", config)
    # The blocks bring the stream from mean square 1 to about 4; the velocity has unit size again.
    yield _linear(f"{model}.transformer.project_in", width, io, out_rms=1.0, in_rms=1.0)
    yield _linear(f"{model}.transformer.project_out", io, width, out_rms=1.0, in_rms=2.0)
    rotary = max(width // config["num_heads"] // 2, 32)
    yield TensorPlan(
        f"{model}.transformer.rotary_pos_emb.inv_freq",
        (rotary // 2,),
        values=tuple(10000.0 ** (-2 * i / rotary) for i in range(rotary // 2)),
    )
    for name in ("preprocess_conv", "postprocess_conv"):  # both are added to their input
        yield TensorPlan(f"{model}.{name}.weight", (io, io, 1), std=0.2 * io**-0.5)


def _dit_block(block: str, config: Config) -> Iterator[TensorPlan]:
    width = config["embed_dim"]
    head = width // config["num_heads"]
    # 3 branches x depth blocks add 3 to the stream's mean square, whatever the depth.
    branch = config["depth"] ** -0.5
    for attention, norm, projections, attended_rms in (
        # Averaging over tokens shrinks the values; padding rows (zeros) shrink them further.
        ("self_attn", "pre_norm", (("to_qkv", 3),), 0.55),
        ("cross_attn", "cross_attend_norm", (("to_q", 1), ("to_kv", 2)), 0.35),
    ):
        yield _gain(f"{block}.{norm}.gamma", width)
        yield _offset(f"{block}.{norm}.beta", width)
        name = f"{block}.{attention}"
        for projection, count in projections:
            yield _linear(f"{name}.{projection}", count * width, width, out_rms=1.0, in_rms=1.0)
        yield _linear(f"{name}.to_out", width, width, out_rms=branch, in_rms=attended_rms)
        for side in ("q_norm", "k_norm"):
            # Gains above 1 make the attention choose among tokens, as a trained one does.
            yield _gain(f"{name}.{side}.weight", head, mean=1.3)
            yield _offset(f"{name}.{side}.bias", head)
    yield _gain(f"{block}.ff_norm.gamma", width)
    yield _offset(f"{block}.ff_norm.beta", width)
    inner = 4 * width
    yield _linear(f"{block}.ff.ff.0.proj", 2 * inner, width, out_rms=1.0, in_rms=1.0)
    yield _offset(f"{block}.ff.ff.0.proj.bias", 2 * inner)
    yield _linear(f"{block}.ff.ff.2", width, inner, out_rms=branch, in_rms=_SILU_RMS)
    yield _offset(f"{block}.ff.ff.2.bias", width, std=0.1 * branch)


def _number_conditioners(conditioning: Config) -> Iterator[TensorPlan]:
    width = conditioning["cond_dim"]
    for conditioner in conditioning["configs"]:
        if conditioner["type"] != "number":
            continue
        embedder = f"conditioner.conditioners.{conditioner['id']}.embedder.embedding"
        features = _FOURIER + 1
        yield TensorPlan(f"{embedder}.0.weights", (_FOURIER // 2,))
        yield _linear(f"{embedder}.1", width, features, out_rms=COND_RMS, in_rms=math.sqrt(0.5))
        yield _offset(f"{embedder}.1.bias", width, std=0.1 * COND_RMS)


def _widths(config: Config) -> list[int]:
    return [config["channels"] * mult for mult in (1, *config["c_mults"])]


def _encoder(config: Config) -> Iterator[TensorPlan]:
    root = "pretransform.model.encoder.layers"
    widths, strides = _widths(config), config["strides"]
    yield from _convolution(f"{root}.0", widths[0], config["in_channels"], 7, _STREAM, AUDIO_RMS**2)
    for index, stride in enumerate(strides):
        inner, out = widths[index], widths[index + 1]
        block = f"{root}.{index + 1}.layers"
        for unit in range(3):
            yield from _residual_unit(f"{block}.{unit}", inner, _STREAM + unit * _BRANCH)
        yield from _snake(f"{block}.3", inner)
        square = _after_snake(_STREAM + 3 * _BRANCH)
        yield from _convolution(f"{block}.4", out, inner, 2 * stride, _STREAM, square)
    yield from _snake(f"{root}.{len(strides) + 1}", widths[-1])
    last, square = f"{root}.{len(strides) + 2}", _after_snake(_STREAM)
    yield from _convolution(last, config["latent_dim"], widths[-1], 3, 1.0, square)


def _decoder(config: Config) -> Iterator[TensorPlan]:
    root = "pretransform.model.decoder.layers"
    widths, strides = _widths(config), config["strides"]
    square = _STREAM
    yield from _convolution(f"{root}.0", widths[-1], config["latent_dim"], 7, square, 1.0)
    for index, stride in enumerate(reversed(strides)):
        inner, out = widths[-1 - index], widths[-2 - index]
        block = f"{root}.{index + 1}.layers"
        yield from _snake(f"{block}.0", inner)
        yield from _transposed(f"{block}.1", inner, out, stride, _STREAM, _after_snake(square))
        for unit in range(3):
            yield from _residual_unit(f"{block}.{unit + 2}", out, _STREAM + unit * _BRANCH)
        square = _STREAM + 3 * _BRANCH
    yield from _snake(f"{root}.{len(strides) + 1}", widths[0])
    last, loud = f"{root}.{len(strides) + 2}", AUDIO_RMS**2
    square, channels = _after_snake(square), config["out_channels"]
    yield from _convolution(last, channels, widths[0], 7, loud, square, bias=False)


def _residual_unit(name: str, width: int, square: float) -> Iterator[TensorPlan]:
    """Snake, 7-tap convolution, snake, 1-tap convolution, added to an input of mean square."""
    layers = f"{name}.layers"
    yield from _snake(f"{layers}.0", width)
    yield from _convolution(f"{layers}.1", width, width, 7, _STREAM, _after_snake(square))
    yield from _snake(f"{layers}.2", width)
    yield from _convolution(f"{layers}.3", width, width, 1, _BRANCH, _after_snake(_STREAM))


def _snake(name: str, width: int) -> Iterator[TensorPlan]:
    yield TensorPlan(f"{name}.alpha", (width,), std=_SNAKE_LOG_STD)
    yield TensorPlan(f"{name}.beta", (width,), mean=_SNAKE_LOG_BETA, std=_SNAKE_LOG_STD)


def _after_snake(square: float) -> float:
    """Mean square of x + sin²(alpha·x)/beta for normal x of mean square `square` and alpha 1."""
    fourth = 3 / 8 - math.exp(-2 * square) / 2 + math.exp(-8 * square) / 8  # E[sin⁴]
    return square + fourth * math.exp(2 * _SNAKE_LOG_STD**2 - 2 * _SNAKE_LOG_BETA)


def _convolution(
    name: str, out: int, inner: int, taps: int, target: float, square: float, bias: bool = True
) -> Iterator[TensorPlan]:
    """Conv1d with weight norm, from inputs of mean square `square` to outputs of `target`."""
    std = math.sqrt(target / (square * inner * taps))
    yield from _weight_norm(name, (out, inner, taps), std)
    if bias:
        yield _offset(f"{name}.bias", out, std=0.05 * math.sqrt(target))


def _transposed(
    name: str, inner: int, out: int, stride: int, target: float, square: float
) -> Iterator[TensorPlan]:
    """ConvTranspose1d with kernel 2·stride: each output sample sees two taps of each input."""
    std = math.sqrt(target / (square * inner * 2))
    yield from _weight_norm(name, (inner, out, 2 * stride), std)
    yield _offset(f"{name}.bias", out, std=0.05 * math.sqrt(target))


def _weight_norm(name: str, shape: tuple[int, int, int], std: float) -> Iterator[TensorPlan]:
    """`weight_v`, and `weight_g` (along axis 0) about as long as its rows: g·v/|v| has size std."""
    length = std * math.sqrt(shape[1] * shape[2])
    yield TensorPlan(f"{name}.weight_g", (shape[0], 1, 1), mean=length, std=0.1 * length)
    yield TensorPlan(f"{name}.weight_v", shape, std=std)
