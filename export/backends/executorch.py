"""ExecuTorch with the XNNPACK delegate: a network -> one ``.pte`` with a method per entry.

Quantized layers carry their int8 operators with them (quant/layers.py), so there is one export and
one partitioner. Methods of one file share their weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from executorch.backends.xnnpack.utils.configs import (
    get_transform_passes,
    get_xnnpack_edge_compile_config,
    get_xnnpack_executorch_backend_config,
)
from executorch.exir import EdgeProgramManager, to_edge_transform_and_lower
from torch import nn
from torch.export import ExportedProgram

from arcmobile.export.backends.base import (
    Backend,
    Delegation,
    LayerPlan,
    LoweringEntry,
    Report,
)
from arcmobile.export.backends.program_file import partial_file
from arcmobile.export.backends.weight_cache import check_weight_cache
from arcmobile.export.backends.xnnpack import (
    adapted_passes,
    halve_biases,
    mark_half_weights,
    partitioner,
)
from arcmobile.export.model.forms import XNNPACK
from arcmobile.quant.layers import quantize_layers
from arcmobile.runtime.backends import EXECUTORCH
from arcmobile.runtime.errors import ExportError

_DELEGATE_CALL = "executorch_call_delegate"


def _own_storage(module: nn.Module) -> None:
    """Copy tensors that are windows into larger ones.

    ExecuTorch's XNNPACK serializer writes a tensor's whole storage from its start (executorch
    1.5.1, node_visitor.py, get_serialized_buffer_index): a view would come out as its neighbours.
    """
    for holder in module.modules():
        for name, tensor in [
            *holder.named_parameters(recurse=False),
            *holder.named_buffers(recurse=False),
        ]:
            if tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size():
                owned = tensor.detach().clone(memory_format=torch.contiguous_format)
                is_parameter = isinstance(tensor, nn.Parameter)
                setattr(holder, name, nn.Parameter(owned, False) if is_parameter else owned)


def _export(module: nn.Module, entry: LoweringEntry) -> ExportedProgram:
    program = torch.export.export(module, tuple(entry.inputs.values()), strict=False)
    returned = len(program.graph_signature.user_outputs)
    if returned != len(entry.outputs):
        raise ExportError(
            f"entry {entry.name} names {len(entry.outputs)} outputs, the network returns {returned}"
        )
    mark_half_weights(program)
    return program


def _delegation(edge: EdgeProgramManager, name: str) -> Delegation:
    calls: Counter[str] = Counter(
        getattr(node.target, "__name__", str(node.target))
        for node in edge.exported_program(name).graph.nodes
        if node.op == "call_function"
    )
    calls.pop("getitem", None)
    delegates = calls.pop(_DELEGATE_CALL, 0)
    return Delegation(delegates, dict(sorted(calls.items())))


def write_program(
    module: nn.Module,
    plan: LayerPlan,
    entries: tuple[LoweringEntry, ...],
    destination: Path,
    report: Report,
) -> Mapping[str, Delegation]:
    """Lower a network in XNNPACK form; see :class:`arcmobile.export.backends.base.WriteProgram`."""
    report(f"{destination.name}: quantizing {len(plan)} layers")
    module = quantize_layers(module, plan)
    halve_biases(module)
    _own_storage(module)
    programs: dict[str, ExportedProgram] = {}
    for entry in entries:
        report(f"{destination.name}: tracing {entry.name}")
        programs[entry.name] = _export(module, entry)
    del module
    report(f"{destination.name}: lowering {', '.join(programs)}")
    with adapted_passes():
        edge = to_edge_transform_and_lower(
            programs,
            partitioner=[partitioner()],
            transform_passes=get_transform_passes(),
            compile_config=get_xnnpack_edge_compile_config(),
        )
        programs.clear()
        delegation = {name: _delegation(edge, name) for name in edge.methods}
        program = edge.to_executorch(get_xnnpack_executorch_backend_config())
    del edge
    with partial_file(destination) as partial, partial.open("wb") as file:
        program.write_to_file(file)
    return delegation


BACKEND = Backend(EXECUTORCH, form=XNNPACK, write=write_program, cross_check=check_weight_cache)
