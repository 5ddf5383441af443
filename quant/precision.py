"""The precisions a layer can have, and what each one stores."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """How a layer's weights are stored and how it computes.

    ``FP16``: weights rounded to half precision, arithmetic in float32, so the residual stream and
    the norms keep their range. ``INT8_DYNAMIC``: symmetric int8 weights per output channel,
    activations quantized to int8 while running (linear layers and pointwise convolutions: one
    scale per position; other convolutions: one per tensor). ``INT8_WEIGHT_ONLY``: the same
    weights, float32 activations and arithmetic.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    INT8_DYNAMIC = "int8-dynamic"
    INT8_WEIGHT_ONLY = "int8-weight-only"

    @property
    def weight_bytes(self) -> int:
        """Stored bytes per weight."""
        return {Precision.FP32: 4, Precision.FP16: 2}.get(self, 1)

    @property
    def scale_bytes(self) -> int:
        """Stored bytes per output channel (or table row) besides its weights and bias."""
        return 0 if self in (Precision.FP32, Precision.FP16) else 4
