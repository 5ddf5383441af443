"""Quantized layers: what the backends compute, in PyTorch.

The same modules are lowered and measured. Their arithmetic follows XNNPACK's kernels: symmetric
int8 weights with a scale per output channel, and activations quantized asymmetrically to int8 with
the range widened to include zero. int8 products are exact in float32 at these widths, so a
simulated layer and the int8 kernel differ by rounding of the last place only.

Weight scales are absolute maximum / 127. Searching for a clipping point that minimises the squared
error gains nothing at 8 bits (0.0 dB for normal, uniform, Laplace and Student-t(5) weights at 1024
inputs), so there is no search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import torch

# Registers torch.ops.quantized_decomposed, the vocabulary in which lowerings recognise int8.
import torch.ao.quantization.fx._decomposed  # noqa: F401
from torch import Tensor, nn
from torch.nn import functional as F

from arcmobile.quant.plan import output_axis, quantizable_layers
from arcmobile.quant.precision import Precision
from arcmobile.runtime.errors import ExportError

_WEIGHT_MAX = 127  # symmetric: -128 is not used
_ACT_MIN, _ACT_MAX = -128, 127
_SMALLEST_RANGE = torch.finfo(torch.float32).eps


def quantize_per_channel(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Quantize to symmetric int8 with one scale per index of ``axis``, rounded to nearest.

    Args:
        weight: float tensor of any shape.
        axis: the axis that keeps its own scale.

    Returns:
        int8 tensor of the same shape and float32 scales ``(weight.shape[axis],)``; an all-zero
        channel gets scale 1.
    """
    others = [d for d in range(weight.ndim) if d != axis]
    scale = weight.detach().float().abs().amax(others, keepdim=True) / _WEIGHT_MAX
    scale = torch.where(scale < torch.finfo(torch.float32).tiny, 1.0, scale)
    codes = (weight.detach() / scale).round_().clamp_(-_WEIGHT_MAX, _WEIGHT_MAX).to(torch.int8)
    return codes, scale.flatten()


def _quantize_rows(x: Tensor) -> Tensor:
    """Return ``x`` after int8 quantization with one range per vector of the last axis."""
    ops = torch.ops.quantized_decomposed
    scale, zero = ops.choose_qparams_per_token_asymmetric(x, torch.int8)
    codes = ops.quantize_per_token(x, scale, zero, _ACT_MIN, _ACT_MAX, torch.int8)
    rounded: Tensor = ops.dequantize_per_token(
        codes, scale, zero, _ACT_MIN, _ACT_MAX, torch.int8, torch.float32
    )
    return rounded


def _quantize_whole(x: Tensor) -> Tensor:
    """Return ``x`` after int8 quantization with one range for the tensor."""
    ops = torch.ops.quantized_decomposed
    scale, zero = ops.choose_qparams.tensor(x, _ACT_MIN, _ACT_MAX, _SMALLEST_RANGE, torch.int8)
    codes = ops.quantize_per_tensor.tensor(x, scale, zero, _ACT_MIN, _ACT_MAX, torch.int8)
    rounded: Tensor = ops.dequantize_per_tensor.tensor(
        codes, scale, zero, _ACT_MIN, _ACT_MAX, torch.int8
    )
    return rounded


class Int8Weight(nn.Module):
    """An int8 tensor with a scale per index of ``axis``; called, it gives the float32 weight."""

    codes: Tensor
    scale: Tensor
    zero: Tensor

    def __init__(self, codes: Tensor, scale: Tensor, axis: int):
        super().__init__()
        self.axis = axis
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)
        # Part of the operator's signature; lowerings see that it is zero and drop it.
        self.register_buffer("zero", torch.zeros_like(scale, dtype=torch.int64))

    def forward(self) -> Tensor:
        """Return the float32 weight."""
        weight: Tensor = torch.ops.quantized_decomposed.dequantize_per_channel(
            self.codes, self.scale, self.zero, self.axis, -_WEIGHT_MAX, _WEIGHT_MAX, torch.int8
        )
        return weight


def _half(values: Tensor, what: str = "weights") -> Tensor:
    half = values.detach().half()
    if not torch.isfinite(half).all():
        raise ExportError(f"its {what} exceed the range of float16")
    return half


def _copy_bias(layer: nn.Module, bias: Tensor | None) -> None:
    layer.register_buffer("bias", None if bias is None else bias.detach())


class HalfLinear(nn.Module):
    """Linear layer with float16 weights and float32 arithmetic."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.register_buffer("weight", _half(layer.weight))
        _copy_bias(self, layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., in) -> (..., out)."""
        return F.linear(x, self.weight.to(torch.float32), self.bias)


class Int8DynamicLinear(nn.Module):
    """Linear layer with int8 weights and per-position int8 activations."""

    bias: Tensor | None

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.weight = Int8Weight(*quantize_per_channel(layer.weight, axis=0), axis=0)
        _copy_bias(self, layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., in) -> (..., out)."""
        return F.linear(_quantize_rows(x), self.weight(), self.bias)


class Int8WeightLinear(nn.Module):
    """Linear layer with int8 weights and float32 activations.

    The bias is added by an operator of its own: XNNPACK's kernels for float activations and int8
    weights multiply a fused bias by the weight scale.
    """

    bias: Tensor | None

    def __init__(self, codes: Tensor, scale: Tensor, bias: Tensor | None):
        super().__init__()
        self.weight = Int8Weight(codes, scale, axis=0)
        _copy_bias(self, bias)

    @classmethod
    def of(cls, layer: nn.Linear) -> Int8WeightLinear:
        """Quantize a float layer."""
        return cls(*quantize_per_channel(layer.weight, axis=0), layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., in) -> (..., out)."""
        product = F.linear(x, self.weight())
        return product if self.bias is None else product + self.bias


class HalfEmbedding(nn.Module):
    """Embedding table in float16; rows are widened after the look-up."""

    weight: Tensor

    def __init__(self, layer: nn.Embedding):
        super().__init__()
        self.register_buffer("weight", _half(layer.weight))

    def forward(self, ids: Tensor) -> Tensor:
        """``ids`` (...), integers -> (..., width)."""
        return F.embedding(ids, self.weight).to(torch.float32)


class Int8Embedding(nn.Module):
    """Embedding table in int8 with a scale per row, applied after the look-up."""

    codes: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Embedding):
        super().__init__()
        codes, scale = quantize_per_channel(layer.weight, axis=0)
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale[:, None].contiguous())

    def forward(self, ids: Tensor) -> Tensor:
        """``ids`` (...), integers -> (..., width)."""
        return F.embedding(ids, self.codes).to(torch.float32) * F.embedding(ids, self.scale)


Conv = nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d


@dataclass(frozen=True)
class ConvGeometry:
    """How a convolution moves over its input: the settings of an ungrouped, zero-padded layer."""

    transposed: bool
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]

    @classmethod
    def of(cls, layer: Conv) -> ConvGeometry:
        """Read the settings of a layer.

        Raises:
            ExportError: it is grouped, or padded with anything but zeros.
        """
        padding = layer.padding
        if isinstance(padding, str) or layer.padding_mode != "zeros" or layer.groups != 1:
            raise ExportError(f"cannot quantize {layer}: only ungrouped zero-padded convolutions")
        return cls(
            transposed=layer.transposed,
            kernel=layer.kernel_size,
            stride=layer.stride,
            padding=padding,
            dilation=layer.dilation,
            output_padding=layer.output_padding,
        )

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve ``x`` (1, C_in, [1,] T) -> (1, C_out, [1,] T_out)."""
        flat = len(self.kernel) == 1
        if self.transposed:
            transposed = F.conv_transpose1d if flat else F.conv_transpose2d
            return transposed(
                x,
                weight,
                bias,
                self.stride,
                self.padding,
                self.output_padding,
                dilation=self.dilation,
            )
        convolve = F.conv1d if flat else F.conv2d
        return convolve(x, weight, bias, self.stride, self.padding, self.dilation)

    @property
    def pointwise(self) -> bool:
        """Whether each output sees one position of the input."""
        return not self.transposed and set(self.kernel) == set(self.stride) == {1}


class HalfConv(nn.Module):
    """Convolution with float16 weights and float32 arithmetic."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: Conv):
        super().__init__()
        self.geometry = ConvGeometry.of(layer)
        self.register_buffer("weight", _half(layer.weight))
        _copy_bias(self, layer.bias)

    def halve_bias(self) -> None:
        """Store the bias in float16 too, for kernels that expect both in one type.

        Raises:
            ExportError: the bias exceeds the range of float16.
        """
        if self.bias is not None:
            self.bias = _half(self.bias, "biases")

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (1, C_in, [1,] T) -> (1, C_out, [1,] T_out)."""
        bias = self.bias
        if bias is not None and bias.dtype is not torch.float32:
            bias = bias.to(torch.float32)
        return self.geometry(x, self.weight.to(torch.float32), bias)


class _Int8Conv(nn.Module):
    bias: Tensor | None

    def __init__(self, layer: Conv):
        super().__init__()
        self.geometry = ConvGeometry.of(layer)
        axis = output_axis(layer)
        self.weight = Int8Weight(*quantize_per_channel(layer.weight, axis), axis)
        _copy_bias(self, layer.bias)


class Int8DynamicConv(_Int8Conv):
    """Convolution with int8 weights and int8 activations that share one range.

    A pointwise convolution is exported in the same words, but XNNPACK runs it as a linear layer
    with a range per position; outside of an export that is what is computed.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (1, C_in, [1,] T) -> (1, C_out, [1,] T_out)."""
        if self.geometry.pointwise and not torch.compiler.is_exporting():
            x = _quantize_rows(x.movedim(1, -1)).movedim(-1, 1)
        else:
            x = _quantize_whole(x)
        return self.geometry(x, self.weight(), self.bias)


class Int8WeightConv(_Int8Conv):
    """Convolution with int8 weights and float32 activations."""

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (1, C_in, [1,] T) -> (1, C_out, [1,] T_out)."""
        return self.geometry(x, self.weight(), self.bias)


class Int8WeightTaps(nn.Module):
    """A (1, K) convolution with int8 weights and float32 activations, as a sum of linear layers.

    XNNPACK has linear layers of that kind but no convolutions. With stride s, each layer maps s
    consecutive positions to one (transposed: one position to s); shifted by whole strides, their
    outputs add up to the convolution.
    """

    bias: Tensor | None

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d):
        super().__init__()
        geometry = ConvGeometry.of(layer)
        self.transposed = geometry.transposed
        (rows, self.kernel), (_, self.stride) = geometry.kernel, geometry.stride
        (_, self.padding), (_, self.dilation) = geometry.padding, geometry.dilation
        self.output_padding = geometry.output_padding[1]
        dense = self.stride == 1 or self.dilation == 1
        if rows != 1 or not dense or (self.transposed and self.dilation != 1):
            raise ExportError(f"cannot quantize {layer}: strided (1, K) convolutions do not dilate")
        codes, scale = quantize_per_channel(layer.weight, output_axis(layer))
        if not self.transposed:
            codes = codes.transpose(0, 1)
        taps = -(-self.kernel // self.stride)
        # (C_in, C_out, K) -> (C_in, C_out, taps, stride), the last tap filled up with zeros.
        codes = F.pad(codes[:, :, 0], (0, taps * self.stride - self.kernel))
        codes = codes.reshape(*codes.shape[:2], taps, self.stride)
        if self.transposed:
            rows_of_taps = codes.permute(2, 3, 1, 0).flatten(1, 2)  # (taps, stride * C_out, C_in)
            scale = scale.repeat(self.stride)
        else:
            rows_of_taps = codes.permute(2, 1, 3, 0).flatten(2, 3)  # (taps, C_out, stride * C_in)
        self.taps = nn.ModuleList(
            Int8WeightLinear(tap.clone(), scale, bias=None) for tap in rows_of_taps
        )
        _copy_bias(self, layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (1, C_in, 1, T) -> (1, C_out, 1, T_out)."""
        # Three axes from here on: around convolutions ExecuTorch keeps four-axis tensors in another
        # memory order, and operators that mind it cost a transposition each.
        rows = x.reshape(1, x.shape[1], x.shape[3]).permute(0, 2, 1)
        rows = self._spread(rows) if self.transposed else self._gather(rows)
        if self.bias is not None:
            rows = rows + self.bias
        columns = rows.permute(0, 2, 1)
        return columns.reshape(1, columns.shape[1], 1, columns.shape[2])

    def _gather(self, rows: Tensor) -> Tensor:
        positions, channels = rows.shape[1:]
        reach = self.dilation * (self.kernel - 1) + 1
        length = (positions + 2 * self.padding - reach) // self.stride + 1
        step = self.dilation if self.stride == 1 else 1
        blocks = length + step * (len(self.taps) - 1)
        rows = _fit(F.pad(rows, (0, 0, self.padding, 0)), 0, blocks * self.stride)
        if self.stride > 1:
            rows = rows.reshape(1, blocks, self.stride * channels)
        shifted = (tap(_fit(rows, i * step, length)) for i, tap in enumerate(self.taps))
        return reduce(torch.add, shifted)

    def _spread(self, rows: Tensor) -> Tensor:
        positions = rows.shape[1]
        last = len(self.taps) - 1
        shifted = (F.pad(tap(rows), (0, 0, i, last - i)) for i, tap in enumerate(self.taps))
        spread = reduce(torch.add, shifted).reshape(1, (positions + last) * self.stride, -1)
        length = (positions - 1) * self.stride - 2 * self.padding + self.kernel
        return _fit(spread, self.padding, length + self.output_padding)


def _fit(rows: Tensor, start: int, length: int) -> Tensor:
    """Return ``rows`` (1, T, C) from ``start``, cut or filled up with zeros to ``length``.

    Spelled so that nothing is emitted where nothing is to be done: a slice or padding without
    effect becomes a copy that no delegate takes.
    """
    missing = start + length - rows.shape[1]
    if missing > 0:
        rows = F.pad(rows, (0, 0, 0, missing))
    return rows if rows.shape[1] == length else rows[:, start : start + length]


def quantized(layer: nn.Module, precision: Precision) -> nn.Module:
    """Return the layer in that precision; the layer itself for ``FP32``.

    Raises:
        ExportError: the layer's settings have no quantized form.
        ValueError: the layer's class has none.
    """
    if precision is Precision.FP32:
        return layer
    half = precision is Precision.FP16
    dynamic = precision is Precision.INT8_DYNAMIC
    if isinstance(layer, nn.Linear):
        if half:
            return HalfLinear(layer)
        return Int8DynamicLinear(layer) if dynamic else Int8WeightLinear.of(layer)
    if isinstance(layer, nn.Embedding):
        return HalfEmbedding(layer) if half else Int8Embedding(layer)
    if isinstance(layer, Conv):
        if half:
            return HalfConv(layer)
        if dynamic:
            return Int8DynamicConv(layer)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            return Int8WeightTaps(layer)
        return Int8WeightConv(layer)
    raise ValueError(f"{type(layer).__name__} has no quantized form")


@torch.no_grad()
def quantize_layers(module: nn.Module, plan: Mapping[str, Precision]) -> nn.Module:
    """Swap the planned layers in place, one at a time, so that float weights are freed as it goes.

    Args:
        module: float network; consumed. If the module is itself a planned layer (name ``""``), its
            replacement is returned instead.
        plan: layer name -> precision.

    Returns:
        The network with its layers replaced, in eval mode.

    Raises:
        ExportError: a layer cannot have the planned precision; the message names it.
        ValueError: the plan names a layer the network does not have.
    """
    names = [name for name, _ in quantizable_layers(module)]
    unknown = sorted(set(plan) - set(names))
    if unknown:
        raise ValueError(f"the plan names layers the network does not have: {', '.join(unknown)}")
    for name in names:
        precision = plan.get(name, Precision.FP32)
        if precision is Precision.FP32:
            continue
        try:
            replacement = quantized(module.get_submodule(name), precision)
        except ExportError as error:
            raise ExportError(f"layer {name}: {error}; add it to the recipe's keep_float") from None
        if not name:
            return replacement.eval()
        module.set_submodule(name, replacement)
    return module.eval()
