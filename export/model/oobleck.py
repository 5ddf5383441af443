"""Oobleck autoencoder: latents <-> stereo audio.

A rewrite of stable-audio-tools' OobleckEncoder and OobleckDecoder (models/autoencoders.py,
bottleneck.py, commit 50049e3) with weight norm folded, snake's logs and reciprocals precomputed,
and the pretransform's latent scale applied inside.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arcmobile.export.model.autoencoder_config import (
    AutoencoderConfig,
    OobleckDecoderConfig,
    OobleckEncoderConfig,
)
from arcmobile.export.model.forms import NetworkForm
from arcmobile.export.model.weights import Weights, parameter

_DILATIONS = (1, 3, 9)
_KERNEL = 7
_SNAKE_EPS = 1e-9
_STDEV_FLOOR = 1e-4


def folded_weight(weights: Weights, *shape: int) -> Tensor:
    """Take ``weight_g * weight_v / |weight_v|``, the norm over all axes but the first.

    As torch's ``weight_norm`` with dim 0; for a transposed convolution that is the *input* axis.
    """
    direction = weights.take("weight_v", *shape)
    gain = weights.take("weight_g", shape[0], *([1] * (len(shape) - 1)))
    if direction.is_meta or gain.is_meta:
        return torch.empty(shape, device="meta")
    norm = direction.flatten(1).norm(dim=1).view(gain.shape)
    return gain * direction / norm


def convolution(
    weights: Weights,
    form: NetworkForm,
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: int = 0,
    bias: bool = True,
) -> nn.Module:
    """Build a weight-normed convolution along time, in the form the runtime wants."""
    weight = folded_weight(weights, outputs, inputs, kernel)
    offset = parameter(weights.take("bias", outputs)) if bias else None
    layer: nn.Conv1d | nn.Conv2d
    if form.flat_conv:
        layer = nn.Conv1d(
            inputs, outputs, kernel, stride, padding, dilation, bias=bias, device="meta"
        )
        layer.weight = parameter(weight)
    else:
        layer = nn.Conv2d(
            inputs, outputs, (1, kernel), (1, stride), (0, padding), (1, dilation),
            bias=bias, device="meta",
        )  # fmt: skip
        layer.weight = parameter(weight.unsqueeze(2))
    layer.bias = offset
    return layer


class ProductUpsample(nn.Module):
    """A transposed convolution of kernel 2 * stride as one linear layer: ``(B, C, 1, T)``.

    Between two neighbouring frames lie ``stride`` outputs that depend on these two and on no other;
    a row of both frames, times a matrix, gives them all. As a linear layer it is quantized with a
    range per row instead of one for the whole window.
    """

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, padding: int):
        super().__init__()
        inputs, self.outputs, _ = weight.shape
        self.stride, self.padding = stride, padding
        # (C_in, C_out, [late half of the earlier frame's taps, early half of the later's])
        earlier, later = weight[..., stride:], weight[..., :stride]
        rows = torch.stack([earlier, later]).permute(3, 2, 0, 1)  # (stride, C_out, 2, C_in)
        self.product = nn.Linear(2 * inputs, stride * self.outputs, device="meta")
        self.product.weight = parameter(rows.reshape(stride * self.outputs, 2 * inputs))
        self.product.bias = parameter(bias.repeat(stride))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, C_in, 1, T) -> (B, C_out, 1, about T * stride)."""
        # Reshaped, not squeezed: XNNPACK's delegate would leave that to others.
        frames = x.permute(0, 2, 3, 1).reshape(x.shape[0], x.shape[3], x.shape[1])  # (B, T, C)
        pairs = torch.cat([F.pad(frames, (0, 0, 1, 0)), F.pad(frames, (0, 0, 0, 1))], dim=-1)
        length = (frames.shape[1] - 1) * self.stride + 2 * self.stride - 2 * self.padding
        spread = self.product(pairs).reshape(x.shape[0], -1, self.outputs)
        kept = spread[:, self.padding : self.padding + length]
        return kept.reshape(x.shape[0], 1, length, self.outputs).permute(0, 3, 1, 2)


def transposed_convolution(
    weights: Weights, form: NetworkForm, inputs: int, outputs: int, stride: int
) -> nn.Module:
    """Build a weight-normed upsampling convolution of kernel 2 * stride."""
    kernel, padding = 2 * stride, math.ceil(stride / 2)
    weight = folded_weight(weights, inputs, outputs, kernel)
    bias = weights.take("bias", outputs)
    if form.product_upsample:
        return ProductUpsample(weight, bias, stride, padding)
    layer: nn.ConvTranspose1d | nn.ConvTranspose2d
    if form.flat_conv:
        layer = nn.ConvTranspose1d(inputs, outputs, kernel, stride, padding, device="meta")
        layer.weight = parameter(weight)
    else:
        layer = nn.ConvTranspose2d(
            inputs, outputs, (1, kernel), (1, stride), (0, padding), device="meta"
        )
        layer.weight = parameter(weight.unsqueeze(2))
    layer.bias = parameter(bias)
    return layer


class Snake(nn.Module):
    """Snake-beta: ``x + sin(alpha x)^2 / beta`` (blocks.py, SnakeBeta; stored as logs)."""

    def __init__(self, weights: Weights, channels: int, form: NetworkForm):
        super().__init__()
        shape = (1, channels, 1) if form.flat_conv else (1, channels, 1, 1)
        alpha = weights.take("alpha", channels).exp()
        beta = weights.take("beta", channels).exp()
        self.frequency = parameter(alpha.view(shape))
        self.amplitude = parameter((1.0 / (beta + _SNAKE_EPS)).view(shape))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, C, T) or (B, C, 1, T), and the same back."""
        wave = torch.sin(x * self.frequency)
        return x + wave * wave * self.amplitude


def activation(use_snake: bool, weights: Weights, channels: int, form: NetworkForm) -> nn.Module:
    """Return the activation of a block: snake or ELU."""
    return Snake(weights, channels, form) if use_snake else nn.ELU()


class NearestUpsample(nn.Module):
    """Repeats each frame ``stride`` times and convolves (``use_nearest_upsample``)."""

    def __init__(self, weights: Weights, form: NetworkForm, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.stride = stride
        # torch pads "same" with the odd element on the right.
        self.left = (2 * stride - 1) // 2
        self.right = 2 * stride - 1 - self.left
        self.conv = convolution(weights.scope("1"), form, inputs, outputs, 2 * stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, C_in, T) or (B, C_in, 1, T) -> C_out channels, T * stride frames."""
        return self.conv(F.pad(x.repeat_interleave(self.stride, dim=-1), (self.left, self.right)))


class ResidualUnit(nn.Module):
    """Two activations and convolutions, the first dilated, added to the input."""

    def __init__(
        self, weights: Weights, form: NetworkForm, channels: int, dilation: int, use_snake: bool
    ):
        super().__init__()
        scope = weights.scope("layers")
        self.act_in = activation(use_snake, scope.scope("0"), channels, form)
        self.conv = convolution(
            scope.scope("1"), form, channels, channels, _KERNEL,
            dilation=dilation, padding=dilation * (_KERNEL - 1) // 2,
        )  # fmt: skip
        self.act_out = activation(use_snake, scope.scope("2"), channels, form)
        self.mix = convolution(scope.scope("3"), form, channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, C, T) or (B, C, 1, T), and the same back."""
        return x + self.mix(self.act_out(self.conv(self.act_in(x))))


class DecoderBlock(nn.Module):
    """Activation, upsampling by ``stride``, three residual units."""

    def __init__(
        self,
        config: OobleckDecoderConfig,
        weights: Weights,
        form: NetworkForm,
        inputs: int,
        outputs: int,
        stride: int,
    ):
        super().__init__()
        scope, snake = weights.scope("layers"), config.use_snake
        self.act = activation(snake, scope.scope("0"), inputs, form)
        self.upsample: nn.Module
        if config.use_nearest_upsample:
            self.upsample = NearestUpsample(scope.scope("1"), form, inputs, outputs, stride)
        else:
            self.upsample = transposed_convolution(scope.scope("1"), form, inputs, outputs, stride)
        self.units = nn.Sequential(
            *(
                ResidualUnit(scope.scope(str(2 + i)), form, outputs, dilation, snake)
                for i, dilation in enumerate(_DILATIONS)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, inputs, T) or (B, inputs, 1, T) -> outputs channels, T * stride frames."""
        return self.units(self.upsample(self.act(x)))


class EncoderBlock(nn.Module):
    """Three residual units, activation, downsampling by ``stride``."""

    def __init__(
        self,
        config: OobleckEncoderConfig,
        weights: Weights,
        form: NetworkForm,
        inputs: int,
        outputs: int,
        stride: int,
    ):
        super().__init__()
        scope, snake = weights.scope("layers"), config.use_snake
        self.units = nn.Sequential(
            *(
                ResidualUnit(scope.scope(str(i)), form, inputs, dilation, snake)
                for i, dilation in enumerate(_DILATIONS)
            )
        )
        self.act = activation(snake, scope.scope("3"), inputs, form)
        self.downsample = convolution(
            scope.scope("4"), form, inputs, outputs, 2 * stride,
            stride=stride, padding=math.ceil(stride / 2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (B, inputs, T) or (B, inputs, 1, T) -> outputs channels, T / stride frames."""
        return self.downsample(self.act(self.units(x)))


def _enter(x: Tensor, form: NetworkForm) -> Tensor:
    return x if form.flat_conv else x.view(x.shape[0], x.shape[1], 1, x.shape[2])


def _leave(x: Tensor, form: NetworkForm) -> Tensor:
    return x if form.flat_conv else x.view(x.shape[0], x.shape[1], x.shape[3])


class OobleckDecoder(nn.Module):
    """``latent`` (B, latent_dim, frames) -> ``audio`` (B, channels, about frames * ratio).

    With ``blocks`` it is that run of the decoder's blocks only. The run that begins with the first
    block takes the latent, the one that ends with the last gives audio; between runs go features,
    ``(B, channels, frames of their rate)``. Layers keep the names they have in the whole.

    Weights are taken at the prefix ``pretransform.model``.
    """

    def __init__(
        self,
        config: AutoencoderConfig,
        scale: float,
        weights: Weights,
        form: NetworkForm,
        blocks: range | None = None,
    ):
        super().__init__()
        decoder = config.decoder.config
        scope = weights.scope("decoder.layers")
        stages = decoder.stages[::-1]
        chosen = range(len(stages)) if blocks is None else blocks
        self.form = form
        self.scale = 1.0
        self.conv_in: nn.Module | None = None
        if chosen.start == 0:
            self.scale = scale
            self.conv_in = convolution(
                scope.scope("0"), form, decoder.latent_dim, stages[0][1], _KERNEL, padding=3
            )
        self.blocks = nn.Sequential()
        for index in chosen:
            narrow, wide, stride = stages[index]
            block = DecoderBlock(decoder, scope.scope(str(1 + index)), form, wide, narrow, stride)
            self.blocks.add_module(str(index), block)
        self.act: nn.Module | None = None
        self.conv_out: nn.Module | None = None
        self.tanhs = 0
        if chosen.stop == len(stages):
            last, width = len(stages) + 1, stages[-1][0]
            self.act = activation(decoder.use_snake, scope.scope(str(last)), width, form)
            self.conv_out = convolution(
                scope.scope(str(last + 1)), form, width, decoder.out_channels, _KERNEL,
                padding=3, bias=False,
            )  # fmt: skip
            self.tanhs = int(decoder.final_tanh) + int(config.decoder.soft_clip)

    def forward(self, x: Tensor) -> Tensor:
        """Run the blocks; shapes are those of the class."""
        x = _enter(x if self.scale == 1.0 else x * self.scale, self.form)
        if self.conv_in is not None:
            x = self.conv_in(x)
        x = self.blocks(x)
        if self.act is not None and self.conv_out is not None:
            x = self.conv_out(self.act(x))
        for _ in range(self.tanhs):
            x = torch.tanh(x)
        return _leave(x, self.form)


class OobleckEncoder(nn.Module):
    """``audio`` (B, channels, samples) -> posterior ``mean``, ``stdev`` (B, latent_dim, frames).

    Both are divided by the pretransform's scale: ``mean + stdev * noise`` is a latent.
    """

    def __init__(
        self, config: AutoencoderConfig, scale: float, weights: Weights, form: NetworkForm
    ):
        super().__init__()
        encoder = config.encoder.config
        scope = weights.scope("encoder.layers")
        self.form, self.scale = form, scale
        self.latent_dim = config.latent_dim
        stages = encoder.stages
        self.conv_in = convolution(
            scope.scope("0"), form, encoder.in_channels, stages[0][0], _KERNEL, padding=3
        )
        self.blocks = nn.Sequential(
            *(
                EncoderBlock(encoder, scope.scope(str(1 + i)), form, narrow, wide, stride)
                for i, (narrow, wide, stride) in enumerate(stages)
            )
        )
        last, width = len(stages) + 1, stages[-1][1]
        self.act = activation(encoder.use_snake, scope.scope(str(last)), width, form)
        self.conv_out = convolution(
            scope.scope(str(last + 1)), form, width, encoder.latent_dim, 3, padding=1
        )

    def raw(self, audio: Tensor) -> Tensor:
        """Mean and pre-softplus scale stacked on channels, not divided by the latent scale."""
        x = self.blocks(self.conv_in(_enter(audio, self.form)))
        return _leave(self.conv_out(self.act(x)), self.form)

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """``audio`` (B, channels, samples) -> mean, stdev, each (B, latent_dim, frames)."""
        raw = self.raw(audio)
        mean, scale = raw[:, : self.latent_dim], raw[:, self.latent_dim :]
        # softplus, spelled so that it neither overflows nor needs a fused operator
        stdev = F.relu(scale) + torch.log(torch.exp(-scale.abs()) + 1.0) + _STDEV_FLOOR
        return mean * (1.0 / self.scale), stdev * (1.0 / self.scale)


# Blocks in front of which the decoder is cut into parts. Behind the first block, the reach of what
# follows has fallen from 10 latent frames to 1; behind the third, to a sixteenth.
_CUTS = (1, 3)


def decoder_parts(config: AutoencoderConfig) -> tuple[range, ...]:
    """Return the runs of blocks that the decoder is cut into, to be windowed each on their own.

    No cut follows an odd stride: what comes out there is not a whole number of frames.
    """
    strides = [stride for *_, stride in config.decoder.config.stages[::-1]]
    cuts = [
        cut
        for cut in _CUTS
        if cut < len(strides) and all(stride % 2 == 0 for stride in strides[:cut])
    ]
    edges = [0, *cuts, len(strides)]
    return tuple(range(start, stop) for start, stop in pairwise(edges))


def decoder_rate(config: AutoencoderConfig, block: int) -> int:
    """Return the frames per latent frame that go into a block of the decoder."""
    return math.prod(stride for *_, stride in config.decoder.config.stages[::-1][:block])


def decoder_floats_per_frame(config: AutoencoderConfig, blocks: range) -> int:
    """Return the size of a run's largest activation, in numbers per frame of its input."""
    stages, rate, largest = config.decoder.config.stages[::-1], 1, 0
    for index in blocks:
        narrow, wide, stride = stages[index]
        largest = max(largest, rate * wide, rate * stride * narrow)
        rate *= stride
    return largest


def decoder_context_frames(config: AutoencoderConfig, blocks: range) -> int:
    """Return the frames of a run's input, on each side, that what it gives for a frame depends on.

    Follows the interval of a frame's outputs back through the layers, so windows that overlap by
    this much decode exactly.
    """
    decoder = config.decoder.config
    stages = decoder.stages[::-1]
    low, high = 0, math.prod(stages[index][2] for index in blocks) - 1  # outputs of frame 0
    if blocks.stop == len(stages):
        low, high = low - _KERNEL // 2, high + _KERNEL // 2
    for index in reversed(blocks):
        stride = stages[index][2]
        reach = sum(dilation * (_KERNEL // 2) for dilation in _DILATIONS)
        low, high = low - reach, high + reach
        if decoder.use_nearest_upsample:
            left = (2 * stride - 1) // 2
            low, high = (low - left) // stride, (high - left + 2 * stride - 1) // stride
        else:
            padding = math.ceil(stride / 2)
            low, high = -((2 * stride - 1 - low - padding) // stride), (high + padding) // stride
    if blocks.start == 0:
        low, high = low - _KERNEL // 2, high + _KERNEL // 2
    return max(-low, high)


def encoder_context_frames(config: AutoencoderConfig) -> int:
    """Latent frames on each side whose audio an encoded frame depends on."""
    encoder = config.encoder.config
    low, high = -1, 1  # frame 0 through the last convolution, of kernel 3
    for _, _, stride in reversed(encoder.stages):
        padding = math.ceil(stride / 2)
        low, high = low * stride - padding, high * stride - padding + 2 * stride - 1
        reach = sum(dilation * (_KERNEL // 2) for dilation in _DILATIONS)
        low, high = low - reach, high + reach
    low, high = low - _KERNEL // 2, high + _KERNEL // 2
    ratio = config.downsampling_ratio
    return max(math.ceil(-low / ratio), math.ceil((high - ratio + 1) / ratio))
