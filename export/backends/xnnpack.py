"""What ExecuTorch's XNNPACK lowering lacks: two weight formats, three corrections.

XNNPACK has linear layers and convolutions with float16 weights, and linear layers with int8
weights, all on float32 activations (fully-connected ``f32_f16_f32`` and ``f32_f32_qc8w``,
convolution and deconvolution with fp16 filters; XNNPACK src/subgraph). ExecuTorch's runtime passes
them through, but its partitioner (executorch 1.5.1, backends/xnnpack) accepts quantized weights
only behind quantized activations, and its serializer widens float16 filters. This file adds both
through the two registries made for it, partitioner configs and node visitors; node visitors are
registered on import and leave every node that was accepted before as it was.

The corrections: :func:`adapted_passes` fixes a layout pass; :func:`halve_biases` avoids a fault of
XNNPACK in ExecuTorch 1.4 and older; :func:`_stored_apart` keeps XNNPACK's weight cache, which
Android builds have on, from taking one layer for another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import executorch.backends.xnnpack.operators  # noqa: F401  (fills the registry read below)
import torch
from executorch.backends.xnnpack import xnnpack_preprocess
from executorch.backends.xnnpack._passes import (
    ChannelsLastTaggedReshapePass,
    ConvertToSDPAPass,
    ConvertToUpsampleBilinear2d,
    DecomposeBatchNorm,
    FuseBatchNormPass,
    PReLUReshapePass,
    XNNPACKPassManager,
)
from executorch.backends.xnnpack.operators.node_visitor import (
    NodeVisitor,
    get_node_visitors,
    register_node_visitor,
)
from executorch.backends.xnnpack.operators.quant_params import QuantParams
from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
from executorch.backends.xnnpack.partition.config.gemm_configs import (
    ConvolutionConfig,
    GEMMConfig,
    LinearConfig,
)
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import (
    CONSTANT_TENSOR_ALIGNMENT,
)
from executorch.backends.xnnpack.utils.quant_utils import (
    is_dequant,
    is_dynamic_qdq,
    is_per_channel,
)
from executorch.backends.xnnpack.utils.utils import get_param_tensor
from executorch.exir._serialize._named_data_store import NamedDataStore
from executorch.exir.dialects._ops import ops as exir_ops
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from arcmobile.quant.layers import HalfConv
from arcmobile.runtime.errors import ExportError

# Arguments that may be stored in float16: the weight of a layer, and a convolution's bias.
_HALF_ARGUMENTS = {
    torch.ops.aten.linear.default: (1,),
    torch.ops.aten.conv2d.default: (1, 2),
    torch.ops.aten.conv_transpose2d.input: (1, 2),
}
# The second argument of these is packed, and the result kept by the weight cache.
_PACKED = ("aten.linear.default", "aten.convolution.default", "aten.bmm.default")
_WEIGHT, _BIAS = 1, 2


@torch.library.custom_op("arcmobile::widen", mutates_args=())
def widen(weight: Tensor) -> Tensor:
    """Return a float16 weight as float32: a cast that passes over the graph leave alone."""
    return weight.to(torch.float32)


@widen.register_fake
def _(weight: Tensor) -> Tensor:
    return torch.empty_like(weight, dtype=torch.float32)


def _argument(node: Node, index: int) -> Node | None:
    """Return the tensor a node takes at that position; None if there is none."""
    argument = node.args[index] if index < len(node.args) else None
    return argument if isinstance(argument, Node) else None


def _is_widened(node: Node | None) -> bool:
    return (
        node is not None
        and node.op == "call_function"
        and getattr(node.target, "__name__", "") in ("widen.default", "arcmobile.widen.default")
    )


def halve_biases(module: nn.Module) -> None:
    """Store the biases of convolutions with float16 weights in float16, in place.

    XNNPACK took the type of a convolution's bias from its weights (until ExecuTorch 1.4; for
    transposed ones to this day): a float32 bias behind float16 weights was read as float16, and
    gave noise. A float16 bias is read alike by all releases. Pointwise convolutions become linear
    layers, whose bias is read as what it is.

    Raises:
        ExportError: a bias exceeds the range of float16.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, HalfConv) and not layer.geometry.pointwise:
            try:
                layer.halve_bias()
            except ExportError as error:
                where = f"layer {name}: " if name else ""
                raise ExportError(f"{where}{error}; add it to the recipe's keep_float") from None


def mark_half_weights(program: ExportedProgram) -> None:
    """Replace the casts of stored float16 weights and biases by :func:`widen`, in place."""
    for node in program.graph.nodes:
        if node.target is not torch.ops.aten.to.dtype:
            continue
        source = node.args[0]
        if source.op != "placeholder" or source.meta["val"].dtype != torch.float16:
            continue
        if all(
            any(_argument(user, at) is node for at in _HALF_ARGUMENTS.get(user.target, ()))
            for user in node.users
        ):
            node.target = torch.ops.arcmobile.widen.default
            node.args, node.kwargs = (source,), {}
    program.graph_module.recompile()


class _FloatActivations(GEMMConfig):
    """Accepts float activations with float16 or, where XNNPACK has the kernel, int8 weights."""

    int8_weights = False

    def get_deps(self, node: Node, ep: ExportedProgram) -> tuple[bool, list[Node]]:
        weight, activation = _argument(node, self.weight_idx), _argument(node, self.act_idx)
        assert weight is not None
        assert activation is not None
        half = _is_widened(weight)
        int8 = (
            self.int8_weights
            and is_dequant(weight)
            and is_per_channel(weight)
            and not is_dequant(activation)
        )
        if not half and not int8:
            accepted: tuple[bool, list[Node]] = super().get_deps(node, ep)
            return accepted
        constants = [weight, *weight.all_input_nodes]
        if (bias := _argument(node, self.bias_idx)) is not None:
            constants += [bias, *(bias.all_input_nodes if _is_widened(bias) else [])]
        return True, constants


class _Linear(_FloatActivations, LinearConfig):
    int8_weights = True


class _Convolution(_FloatActivations, ConvolutionConfig):
    pass


def partitioner() -> XnnpackPartitioner:
    """Return ExecuTorch's XNNPACK partitioner, extended."""
    extended = {LinearConfig: _Linear, ConvolutionConfig: _Convolution}
    return XnnpackPartitioner(configs=[extended.get(c, c) for c in ALL_PARTITIONER_CONFIGS])


def _packing_digest(
    program: ExportedProgram, layer: Node, quantization: QuantParams | None
) -> bytes:
    """Return a digest of what the packing of a layer's weight depends on, beside its bytes.

    Lengths of activations are not in it: the methods of one program share their weights.
    """
    weight, activation = _argument(layer, _WEIGHT), _argument(layer, 0)
    assert weight is not None
    assert activation is not None
    facts = [
        str(layer.target),
        [argument for argument in layer.args if not isinstance(argument, Node)],
        tuple(weight.meta["val"].shape),
        is_dequant(activation),
    ]
    digest = hashlib.sha256(repr(facts).encode())
    if quantization is not None:
        scale = torch.as_tensor(quantization.scale, dtype=torch.float32)
        digest.update(scale.contiguous().numpy().tobytes())
    bias = _argument(layer, _BIAS)
    if bias is not None:
        values = get_param_tensor(program, bias.args[0] if _is_widened(bias) else bias)
        assert values is not None  # biases of packed layers are constants
        digest.update(values.detach().float().contiguous().numpy().tobytes())
    return digest.digest()


def _stored_apart(base: type[NodeVisitor]) -> type[NodeVisitor]:
    """Return a visitor class under which no two weights that are packed differently have one name.

    With XNNPACK's weight cache, all programs of a process share packed weights by the names of
    weight and bias (executorch, XNNWeightsCache.cpp), and a name is the digest of the bytes: int8
    layers with equal bytes and other scales are taken for one, and so are equal bytes of another
    shape; int8-dynamic layers are looked up without their bias (XNNPACK, fully-connected-nc.c).
    Here a digest of scales, bias, shape and settings follows the weight's bytes in the file.
    XNNPACK goes by the shape and does not read so far.
    """

    class StoredApart(base):
        _layer: Node
        _named_data_store: NamedDataStore

        def define_node(
            self, node: Node, xnn_graph: Any, vals_to_ids: dict[Node, int], debug_handle: int
        ) -> None:
            self._layer = node
            super().define_node(node, xnn_graph, vals_to_ids, debug_handle)

        def get_serialized_buffer_index(
            self,
            tensor: Node,
            xnn_graph: Any,
            vals_to_ids: dict[Node, int],
            convert_to_nhwc: bool,
            swap_in_out_for_weights: bool,
            quant_params: QuantParams | None,
            *layout: Any,
        ) -> int:
            store, stored = self._named_data_store, NamedDataStore()
            weight = _argument(self._layer, _WEIGHT)
            assert weight is not None
            is_weight = tensor is weight or (_is_widened(weight) and tensor is weight.args[0])
            self._named_data_store = stored if is_weight else store
            index: int = super().get_serialized_buffer_index(
                tensor,
                xnn_graph,
                vals_to_ids,
                convert_to_nhwc,
                swap_in_out_for_weights,
                quant_params,
                *layout,
            )
            self._named_data_store = store
            for data in stored.buffers:  # one, or none where the argument is not a constant
                marked = data + _packing_digest(self.exported_program, self._layer, quant_params)
                constant = xnn_graph.constant_data[index]
                constant.named_key = hashlib.sha256(marked).hexdigest()
                constant.size = len(marked)
                store.add_named_data(constant.named_key, marked, CONSTANT_TENSOR_ALIGNMENT)
            return index

    return StoredApart


def _keeping_half(base: type[NodeVisitor]) -> type[NodeVisitor]:
    """Return a visitor class that stores widened weights and biases as the float16 they are."""

    class HalfWeights(base):
        def define_tensor(
            self, tensor: Node, xnn_graph: Any, vals_to_ids: dict[Node, int], **options: Any
        ) -> None:
            if not _is_widened(tensor):
                super().define_tensor(tensor, xnn_graph, vals_to_ids, **options)
                return
            (stored,) = tensor.all_input_nodes
            options["force_fp32"] = False
            super().define_tensor(stored, xnn_graph, vals_to_ids, **options)
            vals_to_ids[tensor] = vals_to_ids[stored]

    return HalfWeights


@register_node_visitor
class _Widen(NodeVisitor):
    """Nothing to emit: the visitors of the users read the float16 tensor itself."""

    target = "arcmobile.widen.default"

    def define_node(
        self, node: Node, xnn_graph: Any, vals_to_ids: dict[Node, int], debug_handle: int
    ) -> None:
        return


for _visitor in get_node_visitors(None, None, None).values():
    if _visitor.target in _PACKED:
        register_node_visitor(_keeping_half(_stored_apart(type(_visitor))))


class _LayoutPass(ChannelsLastTaggedReshapePass):
    """Put the change to channels-last right in front of a dynamic quantization.

    The original looks for the float tensor that is quantized by following first arguments, and does
    not stop there but at the start of the graph: it transposes the program's input, which must
    then have four axes, and everything between.
    """

    def input_to_nhwc(
        self, graph_module: torch.fx.GraphModule, input_node: Node, target_node: Node
    ) -> None:
        if not is_dynamic_qdq(input_node) or self.is_nhwc_node(input_node):
            super().input_to_nhwc(graph_module, input_node, target_node)
            return
        (quantize, *_) = input_node.all_input_nodes
        (source, scale, *_) = quantize.all_input_nodes
        (choose,) = scale.all_input_nodes
        if not self.is_nhwc_node(source):
            moved = source.meta.get(self.PARTNER_NODE)
            if moved is None:
                with graph_module.graph.inserting_after(source):
                    moved = self.create_call_function_node(
                        graph_module,
                        exir_ops.edge.aten._to_copy.default,
                        (source,),
                        memory_format=torch.channels_last,
                    )
                self.mark_as_nhwc_node(moved)
                self.make_partners(source, moved)
            for reader in (choose, quantize):
                reader.replace_input_with(source, moved)
        for node in (quantize, input_node):
            self.mark_as_nhwc_node(node)


# Passes for operators these networks do not have (resampling, batch norm, PReLU, fused attention).
# Each traces the whole graph again; together they take a third of the lowering. Where such an
# operator does occur, lowering fails for want of its pass.
_NOT_NEEDED = (
    ConvertToUpsampleBilinear2d,
    ConvertToSDPAPass,
    FuseBatchNormPass,
    DecomposeBatchNorm,
    PReLUReshapePass,
)


class _PassManager(XNNPACKPassManager):
    passes: list[Any]

    def __init__(self, exported_program: ExportedProgram, passes: list[Any] | None = None):
        super().__init__(exported_program, passes)
        self.passes = [
            _LayoutPass if pass_ is ChannelsLastTaggedReshapePass else pass_
            for pass_ in self.passes
            if pass_ not in _NOT_NEEDED
        ]


@contextmanager
def adapted_passes() -> Iterator[None]:
    """Let XNNPACK preprocessing run the passes of this file while the block is open.

    Preprocessing looks its pass manager up in its own module, and offers no other way in.
    """
    original = xnnpack_preprocess.XNNPACKPassManager
    xnnpack_preprocess.XNNPACKPassManager = _PassManager
    try:
        yield
    finally:
        xnnpack_preprocess.XNNPACKPassManager = original
