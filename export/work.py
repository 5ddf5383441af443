"""Counts what a program computes and moves, while the float32 network runs on example inputs.

The counts go into the manifest (:class:`arcmobile.runtime.bundle.Work`); with them a roofline can
be drawn for a device that is not at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from arcmobile.quant.plan import quantizable_layers
from arcmobile.quant.precision import Precision
from arcmobile.runtime.bundle import Work
from arcmobile.runtime.bundle_schema import Arithmetic

# Weights that are only stored in fewer bits are widened before they are multiplied.
ARITHMETIC: Mapping[Precision, Arithmetic] = {
    Precision.FP32: "fp32",
    Precision.FP16: "fp32",
    Precision.INT8_WEIGHT_ONLY: "fp32",
    Precision.INT8_DYNAMIC: "int8",
}

_CONVOLUTION = torch.ops.aten.convolution
_NO_PASS = {torch.ops.aten._unsafe_view}  # a view by another name
_OPERATIONS_PER_MAC = 2


class WorkCounter(TorchDispatchMode):
    """While it is open, counts the operators of one forward pass; ``work()`` gives the sums.

    Shapes are all it looks at, so the network may live on the ``meta`` device.

    Args:
        network: float32 network, in the backend's form and not quantized yet.
        plan: layer name -> the precision it will get; what is not named computes in float32.
    """

    def __init__(self, network: nn.Module, plan: Mapping[str, Precision]):
        super().__init__()
        self._layers = {
            layer: ARITHMETIC[plan.get(name, Precision.FP32)]
            for name, layer in quantizable_layers(network)
        }
        # By storage: a transposed weight is another tensor on the same one.
        self._constants = {
            tensor.untyped_storage()._cdata
            for tensor in (*network.parameters(), *network.buffers())
        }
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._arithmetic: Arithmetic = "fp32"
        self._linear: dict[Arithmetic, int] = {}
        self._convolution: dict[Arithmetic, int] = {}
        self._product_bytes = self._elementwise_bytes = self._largest = 0

    def work(self) -> Work:
        """Return the sums."""
        return Work(
            linear_macs=self._linear,
            convolution_macs=self._convolution,
            product_bytes=self._product_bytes,
            elementwise_bytes=self._elementwise_bytes,
            largest_bytes=self._largest,
        )

    def __enter__(self) -> WorkCounter:
        for layer in self._layers:
            self._hooks.append(layer.register_forward_pre_hook(self._into_layer))
            self._hooks.append(layer.register_forward_hook(self._out_of_layer))
        super().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        while self._hooks:
            self._hooks.pop().remove()

    def _into_layer(self, layer: nn.Module, inputs: Any) -> None:
        self._arithmetic = self._layers[layer]

    def _out_of_layer(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        self._arithmetic = "fp32"

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        operator = func.overloadpacket
        if func.is_view or operator in _NO_PASS:
            return result
        sizes = [
            tensor.numel() * tensor.element_size()
            for tensor in self._activations((args, kwargs, result))
        ]
        self._largest = max(self._largest, *sizes, 0)
        if operator not in flop_registry:
            self._elementwise_bytes += sum(sizes)
            return result
        operations = flop_registry[operator](*args, **kwargs, out_val=result)
        macs = self._convolution if _is_convolution(operator, args) else self._linear
        counted = macs.get(self._arithmetic, 0) + operations // _OPERATIONS_PER_MAC
        macs[self._arithmetic] = counted
        self._product_bytes += sum(sizes)
        return result

    def _activations(self, values: Any) -> Iterator[Tensor]:
        for value in tree_leaves(values):
            if isinstance(value, Tensor) and value.untyped_storage()._cdata not in self._constants:
                yield value


def _is_convolution(operator: Any, args: tuple[Any, ...]) -> bool:
    """Tell whether it is one with kernels of its own: those with a single tap are linear layers."""
    if operator is not _CONVOLUTION:
        return False
    (_, weight, _, stride, _, _, transposed, *_) = args
    return transposed or set(weight.shape[2:]) != {1} or set(stride) != {1}
