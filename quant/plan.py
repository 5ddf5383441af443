"""A recipe applied to a network: layer name -> precision, and the bytes that must result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from arcmobile.quant.precision import Precision
from arcmobile.quant.recipes import Part, Recipe
from arcmobile.runtime.errors import ExportError

QUANTIZABLE = (
    nn.Linear,
    nn.Embedding,
    nn.Conv1d,
    nn.Conv2d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
)

# A program holds its graph besides the weights, and backends merge equal constants.
_GRAPH_BYTES = 1 << 20
_RELATIVE_TOLERANCE = 0.03
_COMPARED = 1024  # codes of a weight that are compared with those of others


def quantizable_layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers a plan can name, in the network's order."""
    for name, layer in module.named_modules():
        if isinstance(layer, QUANTIZABLE):
            yield name, layer


def plan_layers(
    module: nn.Module, parts: Mapping[str, Part], recipe: Recipe
) -> dict[str, Precision]:
    """Apply a recipe to every quantizable layer.

    Args:
        module: the float network of one component; only its structure is read.
        parts: layer name prefix -> part; the longest matching prefix wins, ``""`` matches all.
        recipe: the table to apply.

    Returns:
        Layer name -> precision, in the network's order. Table look-ups have no activations to
        quantize, so ``INT8_DYNAMIC`` becomes ``INT8_WEIGHT_ONLY`` for embeddings.

    Raises:
        ValueError: a layer belongs to no part.
    """
    plan = {}
    for name, layer in quantizable_layers(module):
        prefixes = [p for p in parts if not p or name == p or name.startswith(f"{p}.")]
        if not prefixes:
            raise ValueError(f"layer {name} belongs to no part of {sorted(parts)}")
        part = parts[max(prefixes, key=len)]
        precision = recipe.precisions[part]
        if precision is not Precision.FP32 and any(
            fnmatchcase(f"{part}:{name}", pattern) for pattern in recipe.keep_float
        ):
            precision = recipe.float_precision
        if precision is Precision.INT8_DYNAMIC and isinstance(layer, nn.Embedding):
            precision = Precision.INT8_WEIGHT_ONLY
        plan[name] = precision
    return plan


def output_axis(layer: nn.Module) -> int:
    """Return the weight axis with one quantization scale per index: outputs, or rows of a table."""
    return 1 if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d) else 0


def expected_bytes(module: nn.Module, plan: Mapping[str, Precision]) -> int:
    """Return the bytes of constants a program of this float network must hold under the plan.

    Reads shapes only, so the network may live on the ``meta`` device. Tensors used in several
    places count once.
    """
    planned = dict(quantizable_layers(module))
    total = 0
    weights: set[int] = set()
    for name, precision in plan.items():
        weight = planned[name].weight
        assert isinstance(weight, Tensor)
        if id(weight) in weights:
            continue
        weights.add(id(weight))
        total += weight.numel() * precision.weight_bytes
        total += weight.shape[output_axis(planned[name])] * precision.scale_bytes
    rest = {id(t): t for t in [*module.parameters(), *module.buffers()] if id(t) not in weights}
    return total + sum(t.numel() * t.element_size() for t in rest.values())


def least_bytes(module: nn.Module, plan: Mapping[str, Precision]) -> int:
    """Return :func:`expected_bytes` with equal weights counted once, as runtimes store them.

    Each position of a kernel counts by itself, because a convolution may be stored as one constant
    or as one for each. Weights are compared by their first codes. Needs the weights.
    """
    planned = dict(quantizable_layers(module))
    sizes: dict[tuple[int, bytes], int] = {}
    for name, precision in plan.items():
        layer = planned[name]
        weight = layer.weight
        assert isinstance(weight, Tensor)
        outputs = weight.detach().movedim(output_axis(layer), 0)
        outputs = outputs.reshape(*outputs.shape[:2], -1)
        rows = -(-_COMPARED // outputs[0].numel())
        size = weight.numel() // outputs.shape[-1] * precision.weight_bytes
        for position in _stored(outputs[:rows], precision).unbind(-1):
            sizes[size, position.flatten()[:_COMPARED].numpy().tobytes()] = size
    return sum(size for (_, codes), size in sizes.items() if any(codes))


def _stored(outputs: Tensor, precision: Precision) -> Tensor:
    """Return weights ``(outputs, inputs, positions)`` as a program stores them."""
    if precision is Precision.FP32:
        return outputs
    if precision is Precision.FP16:
        return outputs.half()
    scale = outputs.abs().flatten(1).amax(1).clamp_min(torch.finfo(torch.float32).tiny) / 127
    return (outputs / scale.view(-1, 1, 1)).round().to(torch.int8)


def check_size(label: str, actual: int, least: int, expected: int) -> None:
    """Stop an export whose program does not have the size its recipe promises.

    A backend that stores quantized weights as floats does so silently, in a working program; its
    size is what gives it away.

    Raises:
        ExportError: ``actual`` is further from the range of ``least`` to ``expected`` (bytes) than
            graph and alignment explain.
    """
    slack = _GRAPH_BYTES + _RELATIVE_TOLERANCE * expected
    if not least - slack <= actual <= expected + slack:
        raise ExportError(
            f"{label}: program has {actual / 1e6:.1f} MB where the recipe gives "
            f"{expected / 1e6:.1f} MB: the backend did not store the weights as planned"
        )
