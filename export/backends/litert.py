"""LiteRT with its XNNPACK delegate: a network -> one ``.tflite`` with a signature per entry.

The float network is converted once per entry; signatures share their weights. Quantization follows
on the finished file, by ai-edge-quantizer, which selects operators by the names of their outputs.
Those names come from the traced modules, but not reliably (a key projection may be called
``to_q``), so operators are recognised by their weights.

What the precisions become:

- ``int8-dynamic``: int8 weights per channel; the kernels quantize activations while running,
  with a scale per row in linear layers and per tensor in convolutions.
- ``int8-weight-only`` and ``fp16``: constants behind a ``DEQUANTIZE``, which XNNPACK undoes once,
  when it packs the weights. Rows of an int8 embedding are widened after the look-up.

Every operator of the DiT and the autoencoder lands in one delegate, layer norms included: spelled
as reductions (``fused_norm``) they run as fast as or faster than as matrix products.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import litert_torch
import numpy as np
import numpy.typing as npt
from ai_edge_quantizer.qtyping import TFLOperationName as Op
from ai_edge_quantizer.quantizer import AlgorithmName, Quantizer
from ai_edge_quantizer.utils import tfl_flatbuffer_utils
from torch import Tensor, nn

from arcmobile.export.backends.base import (
    Backend,
    Delegation,
    LayerPlan,
    LoweringEntry,
    Report,
)
from arcmobile.export.backends.program_file import partial_file
from arcmobile.export.model.forms import LITERT
from arcmobile.quant.plan import quantizable_layers
from arcmobile.quant.precision import Precision
from arcmobile.runtime import backends as declared
from arcmobile.runtime.errors import ExportError

# Operators with a weight, which is the second input of each.
_WEIGHT_INPUT = 1
_KINDS = {
    tfl_flatbuffer_utils.TFL_OP_NAME_TO_CODE[kind]: kind
    for kind in (Op.FULLY_CONNECTED, Op.CONV_2D, Op.CONV_2D_TRANSPOSE, Op.EMBEDDING_LOOKUP)
}


# Weights of a transposed convolution that ai-edge-quantizer 0.10 still reads with all their axes:
# 8.4 million pass, 16.8 million do not ("more dimensions than allowed by the axis remapping").
_LARGEST_TRANSPOSED = 1 << 23


class _Layer(NamedTuple):
    name: str
    precision: Precision


class _Named(nn.Module):
    """The network with inputs and outputs by name, which become those of the signature."""

    def __init__(self, network: nn.Module, outputs: tuple[str, ...]):
        super().__init__()
        self.network = network
        self.outputs = outputs

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        returned = self.network(*inputs.values())
        tensors = returned if isinstance(returned, tuple) else (returned,)
        return dict(zip(self.outputs, tensors, strict=True))


def effective(layer: nn.Module, precision: Precision) -> Precision:
    """Let linear layers and convolutions compute in int8; embeddings have nothing to compute.

    The quantizer fails on the largest transposed convolutions, which it can still store as float16.
    """
    if (
        isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d)
        and precision is not Precision.FP32
        and layer.weight.numel() > _LARGEST_TRANSPOSED
    ):
        return Precision.FP16
    if precision is Precision.INT8_DYNAMIC and isinstance(layer, nn.Embedding):
        return Precision.INT8_WEIGHT_ONLY
    return precision


def _kernel_order(layer: nn.Module) -> Tensor:
    """Return a layer's weight with its axes in the order of LiteRT's kernels, outputs first."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
        weight = weight.unsqueeze(2)
    if weight.ndim == 2:
        return weight
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d)
    return weight.permute(1, 2, 3, 0) if transposed else weight.permute(0, 2, 3, 1)


def _pattern(weight: npt.NDArray[np.float32]) -> bytes:
    """Return a digest of a weight that does not see its rows or columns scaled.

    The converter multiplies a norm's gains into the layer behind it, so values cannot be compared.
    Signs can: relative to those of the first row and the first column they survive any factors.
    """
    negative = np.signbit(weight.reshape(weight.shape[0], -1))
    relative = negative ^ negative[:, :1] ^ negative[:1] ^ negative[0, 0]
    return hashlib.sha256(f"{weight.shape}".encode() + np.packbits(relative).tobytes()).digest()


def _planned_weights(network: nn.Module, plan: LayerPlan) -> dict[bytes, _Layer]:
    """Return the layers that do not stay float32, by the pattern of their weight."""
    planned = {}
    for name, layer in quantizable_layers(network):
        precision = plan.get(name, Precision.FP32)
        if precision is not Precision.FP32:
            pattern = _pattern(_kernel_order(layer).detach().numpy())
            planned[pattern] = _Layer(name, precision)
    return planned


def _select_operators(
    content: memoryview, planned: dict[bytes, _Layer]
) -> dict[tuple[Op, Precision], set[str]]:
    """Return the scope names of the operators of each kind that get each precision.

    Raises:
        ExportError: a planned weight is not in the program, or two operators of different
            precision have the same name.
    """
    model = tfl_flatbuffer_utils.read_model(content)
    found: dict[int, _Layer | None] = {}  # by buffer
    scopes: dict[tuple[Op, str], Precision] = {}
    missing = {layer.name for layer in planned.values()}
    for subgraph in model.subgraphs:
        for op in subgraph.operators:
            kind = _KINDS.get(model.operatorCodes[op.opcodeIndex].builtinCode)
            if kind is None:
                continue
            tensor = subgraph.tensors[op.inputs[_WEIGHT_INPUT]]
            if tensor.buffer not in found:
                data = tfl_flatbuffer_utils.get_tensor_data(tensor, model.buffers)
                found[tensor.buffer] = None if data is None else planned.get(_pattern(data))
            layer = found[tensor.buffer]
            scope = tfl_flatbuffer_utils.get_op_scope(op, subgraph.tensors)
            precision = Precision.FP32 if layer is None else layer.precision
            if scopes.setdefault((kind, scope), precision) is not precision:
                raise ExportError(
                    f"layer {layer.name if layer else scope}: cannot be distinguished from a "
                    "layer of another precision; give both the same"
                )
            if layer is not None:
                missing.discard(layer.name)
    if missing:
        raise ExportError(
            f"layers {', '.join(sorted(missing))}: not in the converted program in their own "
            "right; add them to the recipe's keep_float"
        )
    selected: dict[tuple[Op, Precision], set[str]] = {}
    for (kind, scope), precision in scopes.items():
        if precision is not Precision.FP32:
            selected.setdefault((kind, precision), set()).add(scope)
    return selected


def _quantize(content: bytes | bytearray, planned: dict[bytes, _Layer]) -> bytes | bytearray:
    """Return the program with its weights stored as planned."""
    quantizer = Quantizer(content)
    for (kind, precision), scopes in _select_operators(memoryview(content), planned).items():
        regex = f"^(?:{'|'.join(map(re.escape, sorted(scopes)))})$"
        if precision is Precision.INT8_DYNAMIC:
            quantizer.add_dynamic_config(regex, kind, num_bits=8)
        elif precision is Precision.INT8_WEIGHT_ONLY and kind is not Op.EMBEDDING_LOOKUP:
            quantizer.add_weight_only_config(regex, kind, num_bits=8)
        elif precision is Precision.INT8_WEIGHT_ONLY:
            # "Dynamic" look-ups widen the rows they fetch, weight-only ones the whole table.
            quantizer.add_dynamic_config(regex, kind, num_bits=8)
        else:
            quantizer.add_weight_only_config(
                regex, kind, num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING
            )
    quantized = quantizer.quantize().quantized_model
    assert quantized is not None
    return quantized


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Mute the tools' progress bars and remarks about their own internals."""
    shown = litert_torch.config.show_progress
    litert_torch.config.show_progress = False
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    unread = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(unread),
            contextlib.redirect_stderr(unread),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        litert_torch.config.show_progress = shown
        logging.disable(disabled)


def _convert(network: nn.Module, entries: tuple[LoweringEntry, ...]) -> bytes | bytearray:
    converter = litert_torch.Converter()
    named = _Named(network, entries[0].outputs).eval()
    for entry in entries:
        converter.add_signature(entry.name, named, sample_kwargs=dict(entry.inputs))
    content: bytes = converter.convert().model_content()
    return content


def write_program(
    module: nn.Module,
    plan: LayerPlan,
    entries: tuple[LoweringEntry, ...],
    destination: Path,
    report: Report,
) -> Mapping[str, Delegation]:
    """Lower a network in LiteRT form; see :class:`arcmobile.export.backends.base.WriteProgram`.

    Raises:
        ExportError: the network could not be converted or quantized.
    """
    planned = _planned_weights(module, plan)
    report(f"{destination.name}: converting {', '.join(entry.name for entry in entries)}")
    try:
        with _quiet():
            content = _convert(module, entries)
        if planned:
            report(f"{destination.name}: quantizing {len(planned)} layers")
            with _quiet():
                content = _quantize(content, planned)
    except ExportError as error:
        raise ExportError(f"{destination.name}: {error}") from None
    with partial_file(destination) as partial:
        partial.write_bytes(content)
    return {}


# On (B, C, 1, T) the converter brings convolutions into the kernels' order once, at the edges of
# the network; on (B, C, T) it transposes around each of them (74 copies instead of 2 in a decoder).
BACKEND = Backend(declared.LITERT, form=LITERT, write=write_program, effective=effective)
