"""The few operations whose best form depends on where the network will run.

Everything else in the networks is written once. XNNPACK has no layer norm and quantizes 2-D
convolutions only, so there a norm is arithmetic around a matrix product and a convolution has a
(1, K) kernel; PyTorch, ONNX Runtime and LiteRT have fused kernels for the plain forms.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arcmobile.export.model.forms import NetworkForm
from arcmobile.export.model.weights import Weights, parameter


class RowMean(nn.Module):
    """Mean over the last axis as a matrix product, plus a constant: ``(..., d) -> (..., 1)``.

    A product with a row of 1/d is the only form of this reduction that XNNPACK takes for 3-D
    tensors; the constant (a norm's epsilon) rides along as the bias.
    """

    row: Tensor
    offset: Tensor | None

    def __init__(self, width: int, offset: float = 0.0):
        super().__init__()
        self.register_buffer("row", torch.full((1, width), 1.0 / width))
        self.register_buffer("offset", torch.full((1,), offset) if offset else None)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., d) -> (..., 1)."""
        return F.linear(x, self.row, self.offset)


class LayerNorm(nn.Module):
    """Layer norm over the last axis with gain and offset, ``(..., d) -> (..., d)``."""

    def __init__(self, gain: Tensor, offset: Tensor, eps: float, form: NetworkForm):
        super().__init__()
        self.gain = parameter(gain)
        self.offset = parameter(offset)
        self.eps = eps
        width = gain.shape[0]
        self.mean = None if form.fused_norm else RowMean(width)
        self.variance = None if form.fused_norm else RowMean(width, offset=eps)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., d) -> (..., d)."""
        if self.mean is None or self.variance is None:
            return F.layer_norm(x, self.gain.shape, self.gain, self.offset, self.eps)
        centred = x - self.mean(x)
        scale = torch.rsqrt(self.variance(centred * centred))
        return centred * scale * self.gain + self.offset


class RmsNorm(nn.Module):
    """T5's norm: no mean, no offset (transformers, T5LayerNorm)."""

    def __init__(self, gain: Tensor, eps: float, form: NetworkForm):
        super().__init__()
        self.gain = parameter(gain)
        self.eps = eps
        self.mean_square = None if form.fused_norm else RowMean(gain.shape[0], offset=eps)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., d) -> (..., d)."""
        if self.mean_square is None:
            scale = torch.rsqrt((x * x).mean(-1, keepdim=True) + self.eps)
        else:
            scale = torch.rsqrt(self.mean_square(x * x))
        return x * scale * self.gain


class DynamicTanh(nn.Module):
    """Norm-free replacement of layer norm (upstream transformer.py, DynamicTanh)."""

    def __init__(self, weights: Weights, width: int):
        super().__init__()
        self.alpha = parameter(weights.take("alpha", 1))
        self.gamma = parameter(weights.take("gamma", width))
        self.beta = parameter(weights.take("beta", width))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., d) -> (..., d)."""
        return self.gamma * torch.tanh(self.alpha * x) + self.beta


class UnitNorm(nn.Module):
    """Norm that scales vectors of the last axis to length 1 (``F.normalize``, eps 1e-12)."""

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., d) -> (..., d)."""
        return x / torch.sqrt((x * x).sum(-1, keepdim=True)).clamp_min(1e-12)


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Softmax attention without scaling, by one kernel where the device has one.

    Flash and memory-efficient kernels ask for four axes and a last axis of stride 1, so queries,
    keys and values come as views of (B, T, heads, head_dim) and nothing is copied.

    Args:
        query: ``(B, heads, T, head_dim)``.
        key: ``(B, heads, S, head_dim)``.
        value: ``(B, heads, S, head_dim)``.
        bias: added to the scores, broadcastable to ``(B, heads, T, S)``.

    Returns:
        ``(B, T, heads * head_dim)``.
    """
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
    return mixed.transpose(1, 2).flatten(2)


def attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Softmax attention without scaling, spelled as the operators that runtimes take whole.

    Args:
        query: ``(B * heads, T, head_dim)``.
        key: ``(B * heads, head_dim, S)``, transposed already.
        value: ``(B * heads, S, head_dim)``.
        bias: added to the scores, broadcastable to ``(B * heads, T, S)``.

    Returns:
        ``(B * heads, T, head_dim)``.
    """
    scores = torch.bmm(query, key)
    if bias is not None:
        scores = scores + bias
    return torch.bmm(torch.softmax(scores, dim=-1), value)


def silu(x: Tensor) -> Tensor:
    """SiLU as sigmoid and product, the form every runtime here takes whole."""
    return x * torch.sigmoid(x)
