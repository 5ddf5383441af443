"""ONNX Runtime on the CPU: a network -> one ``.onnx`` file.

Latent lengths of a component share one graph: where there are several, the axes that differ
between them become functions of a dynamic axis called ``frames``.

Weights are stored as planned, and widened by operators that ONNX Runtime folds into others:

- ``fp16``: a float16 constant and a ``Cast``.
- ``int8-weight-only``: 8-bit codes and a ``DequantizeLinear`` per channel. For linear layers ONNX
  Runtime makes that a ``MatMulNBits``, which keeps the weights in 8 bits; unless the session entry
  ``session.qdq_matmulnbits_accuracy_level`` is ``1`` (slower), it rounds activations, too, in
  blocks of 32 values.
- ``int8-dynamic`` (linear layers): each activation row gets a range of its own and becomes uint8;
  ONNX Runtime's ``MatMulIntegerToFloat`` multiplies and applies the scales of the columns.

Why not ``onnxruntime.quantization.quantize_dynamic``: its one activation range per tensor is set by
the largest token and the other tokens drown in rounding; besides, its weights share one scale
unless set otherwise. On four DiT layers of full width (random weights, whose tokens are all much
alike) that gives 24.1 dB, with a scale per channel 24.9 dB, and rows as here 28.7 dB.

Why not ``MatMulNBits`` with int8 activations throughout: its ranges cover 32 values, which is more
precise and slower. A stack of linear layers 1024 -> 1024 -> 4096 -> 1024 on 257 tokens takes 0.7 of
the time of float32 with it and 0.4 with rows (two x86-64 cores with AVX-512 VNNI).

x86-64 CPUs without VNNI multiply uint8 by int8 with saturation, which costs one layer with normal
weights and activations 4 dB (computed, not run). There, and only there, runtimes should set the
session entry ``session.x64quantprecision`` to ``1``: it turns the weights into uint8, which is
exact, but takes 1.9 times as long on a CPU that does not need it. Arm's kernels are exact.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
import onnx_ir
import torch
from onnx_ir.passes.common import CommonSubexpressionEliminationPass
from onnxscript.optimizer import optimize_ir
from torch import Tensor, nn
from torch.onnx.ops import symbolic

from arcmobile.export.backends.base import (
    Backend,
    Delegation,
    LayerPlan,
    LoweringEntry,
    Report,
)
from arcmobile.export.backends.program_file import partial_file
from arcmobile.export.model.forms import ONNX
from arcmobile.quant.layers import ConvGeometry, quantize_layers, quantize_per_channel
from arcmobile.quant.plan import output_axis, quantizable_layers
from arcmobile.quant.precision import Precision
from arcmobile.runtime import backends as declared
from arcmobile.runtime.errors import ExportError

OPSET = 20
FRAMES_AXIS = "frames"

_LARGEST_FILE = 2**31 - 1  # of a protobuf message
_CENTRE = 128  # uint8 code of a weight of 0
_SMALLEST_STEP = 1e-20  # of a row whose values are all equal, which comes out exact
_STORED = (onnx_ir.DataType.FLOAT16, onnx_ir.DataType.INT8, onnx_ir.DataType.UINT8)


class _Linear(nn.Module):
    """A linear layer whose weight is stored as ``MatMul`` reads it, ``(in, out)``.

    The subclasses differ in how the weight is stored and what it is multiplied with.
    """

    bias: Tensor | None

    def __init__(self, bias: Tensor | None):
        super().__init__()
        self.register_buffer("bias", None if bias is None else bias.detach())

    def product(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        product = self.product(x)
        return product if self.bias is None else product + self.bias


class _FloatLinear(_Linear):
    """Weights of the given type, arithmetic in float32."""

    weight: Tensor

    def __init__(self, layer: nn.Linear, dtype: torch.dtype):
        super().__init__(layer.bias)
        self.register_buffer("weight", layer.weight.detach().t().to(dtype).contiguous())

    def product(self, x: Tensor) -> Tensor:
        return x @ self.weight.to(torch.float32)


class _Int8Weight(nn.Module):
    """A weight in 8 bits with a scale per output channel; called, it gives the float32 weight.

    Stored as uint8 around 128: ONNX Runtime rewrites int8 codes as uint8 under the session entry
    named above, and then fails on zero points that are absent or shared between layers.
    """

    codes: Tensor
    scale: Tensor
    zero: Tensor

    def __init__(self, weight: Tensor, axis: int):
        super().__init__()
        self.axis = axis
        codes, scale = quantize_per_channel(weight, axis)
        self.register_buffer("codes", (codes.to(torch.int16) + _CENTRE).to(torch.uint8))
        self.register_buffer("scale", scale)
        self.register_buffer("zero", torch.full_like(scale, _CENTRE, dtype=torch.uint8))

    def forward(self) -> Tensor:
        return symbolic(
            "DequantizeLinear",
            (self.codes, self.scale, self.zero),
            attrs={"axis": self.axis},
            dtype=torch.float32,
            shape=self.codes.shape,
        )


class _Int8WeightLinear(_Linear):
    """8-bit weights, float32 activations."""

    def __init__(self, layer: nn.Linear):
        super().__init__(layer.bias)
        self.weight = _Int8Weight(layer.weight.detach().t().contiguous(), axis=1)

    def product(self, x: Tensor) -> Tensor:
        return x @ self.weight()


class _Int8WeightConv(nn.Module):
    """A convolution with 8-bit weights and float32 activations."""

    bias: Tensor | None

    def __init__(self, layer: nn.Conv1d | nn.ConvTranspose1d):
        super().__init__()
        self.geometry = ConvGeometry.of(layer)
        self.weight = _Int8Weight(layer.weight, output_axis(layer))
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        return self.geometry(x, self.weight(), self.bias)


class _Int8DynamicLinear(nn.Module):
    """int8 weights with a scale per output; activations in 8 bits, with a range per row.

    With a row ``lowest + step * levels`` its product with the weights is ``step * (levels @ codes)
    * scale`` plus ``lowest`` times the weights' column sums, which are constants.
    """

    codes: Tensor
    scale: Tensor
    one: Tensor
    offsets: Tensor

    def __init__(self, layer: nn.Linear):
        super().__init__()
        codes, scale = quantize_per_channel(layer.weight, axis=0)
        self.register_buffer("codes", codes.t().contiguous())
        self.register_buffer("scale", scale)
        self.register_buffer("one", torch.ones(()))
        offsets = [codes.sum(dim=1) * scale]
        if layer.bias is not None:
            offsets.append(layer.bias.detach())
        self.register_buffer("offsets", torch.stack(offsets))  # (1 or 2, out)

    def forward(self, x: Tensor) -> Tensor:
        lowest = x.amin(-1, keepdim=True)
        step = (x.amax(-1, keepdim=True) - lowest) * (1.0 / 255.0)
        step = step.clamp_min(_SMALLEST_STEP)
        levels = torch.round((x - lowest) * (1.0 / step))
        # The row scales stay outside of the operator: given to it, or where ONNX Runtime puts them
        # there by fusing standard operators, they would scale its bias as well.
        product = symbolic(
            "com.microsoft::MatMulIntegerToFloat",
            (levels.to(torch.uint8), self.codes, self.one, self.scale),
            dtype=torch.float32,
            shape=(*x.shape[:-1], self.codes.shape[1]),
            version=1,
        )
        factors = lowest
        if self.offsets.shape[0] == 2:  # the bias rides along, with the factor 1
            factors = torch.cat([lowest, torch.ones_like(lowest)], dim=-1)
        return product * step + factors @ self.offsets


def _stored(layer: nn.Module, precision: Precision) -> nn.Module | None:
    """Return the layer in that precision; None where quant/layers.py has the right form."""
    if isinstance(layer, nn.Linear):
        if precision is Precision.INT8_DYNAMIC:
            return _Int8DynamicLinear(layer)
        if precision is Precision.INT8_WEIGHT_ONLY:
            return _Int8WeightLinear(layer)
        return _FloatLinear(layer, torch.float16 if precision is Precision.FP16 else torch.float32)
    int8 = precision is Precision.INT8_WEIGHT_ONLY
    if int8 and isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
        return _Int8WeightConv(layer)
    return None


def _store_layers(network: nn.Module, plan: LayerPlan) -> nn.Module:
    """Replace the layers one at a time, so that float weights are freed on the way.

    Works in place, except that a network which is itself a layer is returned anew.
    """
    rest = dict(plan)
    for name in [name for name, _ in quantizable_layers(network)]:
        stored = _stored(network.get_submodule(name), plan.get(name, Precision.FP32))
        if stored is None:
            continue
        if not name:
            return stored
        network.set_submodule(name, stored)
        rest.pop(name, None)
    return quantize_layers(network, rest)


def effective(layer: nn.Module, precision: Precision) -> Precision:
    """Let only linear layers compute in int8.

    ``ConvInteger`` has one activation scale per tensor and no fast kernels.
    """
    if precision is Precision.INT8_DYNAMIC and not isinstance(layer, nn.Linear):
        return Precision.INT8_WEIGHT_ONLY
    return precision


def _frames_axes(entries: Sequence[LoweringEntry]) -> dict[str, dict[int, torch.export.Dim]]:
    """Return, per input, the axes that follow the frames, as multiples of :data:`FRAMES_AXIS`.

    Empty where the entries have one length only.

    Raises:
        ExportError: an axis does not follow the number of frames in proportion.
    """
    counts = [entry.frames for entry in entries]
    axes: dict[str, dict[int, torch.export.Dim]] = {name: {} for name in entries[0].inputs}
    if len(set(counts)) == 1:
        return axes
    frames = torch.export.Dim(FRAMES_AXIS)
    for name, example in entries[0].inputs.items():
        for axis in range(example.ndim):
            sizes = [entry.inputs[name].shape[axis] for entry in entries]
            if len(set(sizes)) == 1:
                continue
            ratio = sizes[0] // (counts[0] or 1)
            if any(size != ratio * (count or 0) for size, count in zip(sizes, counts, strict=True)):
                raise ExportError(
                    f"input {name}: axis {axis} is {sizes} for {counts} frames, which is not a "
                    "multiple; export one frame count per program"
                )
            axes[name][axis] = frames if ratio == 1 else ratio * frames
    return axes


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Mute remarks about packages that are not used and about the exporter's own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _convert(network: nn.Module, entries: Sequence[LoweringEntry]) -> onnx_ir.Model:
    longest = max(entries, key=lambda entry: entry.frames or 0)
    axes = _frames_axes(entries)
    # An input of dynamic length 1 would be taken for a constant; the longest entry is the example.
    with _quiet():
        program = torch.onnx.export(
            network,
            tuple(longest.inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(longest.inputs),
            output_names=list(longest.outputs),
            dynamic_shapes=tuple(axes.values()) if any(axes.values()) else None,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    return program.model


def _keeps_storage(node: onnx_ir.Node) -> bool | None:
    """Return False for operators that widen a stored weight: they are not to be folded."""
    widens = node.op_type in ("Cast", "DequantizeLinear")
    stored = any(
        value is not None and value.is_initializer() and value.dtype in _STORED
        for value in node.inputs
    )
    return False if widens and stored else None


def _tidy(model: onnx_ir.Model) -> None:
    """Fold constants, merge equal operators and drop the exporter's notes, in place.

    Layers that read the same activation (query, key and value) then quantize it once.
    """
    optimize_ir(model, should_fold=_keeps_storage)
    CommonSubexpressionEliminationPass()(model)
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.metadata_props.clear()


def _write(model: onnx_ir.Model, destination: Path) -> None:
    weights = [value.const_value for value in model.graph.initializers.values()]
    stored = sum(weight.nbytes for weight in weights if weight is not None)
    if stored >= _LARGEST_FILE:
        raise ExportError(
            f"{destination.name}: {stored / 1e9:.1f} GB of weights do not fit into one ONNX file "
            "(2 GB); choose a smaller recipe, e.g. fp16 or mobile"
        )
    with partial_file(destination) as partial:
        onnx_ir.save(model, partial)
        onnx.checker.check_model(partial)


def write_program(
    module: nn.Module,
    plan: LayerPlan,
    entries: tuple[LoweringEntry, ...],
    destination: Path,
    report: Report,
) -> Mapping[str, Delegation]:
    """Lower a network in ONNX form; see :class:`arcmobile.export.backends.base.WriteProgram`."""
    report(f"{destination.name}: quantizing {len(plan)} layers")
    module = _store_layers(module, plan)
    report(f"{destination.name}: tracing {', '.join(entry.name for entry in entries)}")
    model = _convert(module, entries)
    _tidy(model)
    report(f"{destination.name}: writing")
    _write(model, destination)
    return {}


BACKEND = Backend(declared.ONNX, form=ONNX, write=write_program, effective=effective)
