"""Named access to a checkpoint's tensors, with a ledger of what was taken.

Networks are built *from* weights: each layer takes its tensors by upstream name and states the
shape it needs. The same construction code therefore loads a checkpoint, lists what a checkpoint
must hold (:class:`ShapeOnlySource`), and finds missing, misshapen, non-finite and unknown tensors
in one pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Final, Protocol

import torch
from torch import Tensor, nn

FLOAT_TYPES: Final = frozenset(
    {"float16", "bfloat16", "float32", "float64"}
    | {f"float8_{kind}" for kind in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz")}
)
"""Types that hold one value per element. All others need a scale or hold several: a weight in int8
without its scale is some hundred times too large."""


class TensorSource(Protocol):
    """A mapping from tensor name to tensor that need not hold them all in memory."""

    def names(self) -> Iterable[str]:
        """Return the names of all tensors."""

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a tensor, or None if there is none of that name."""

    def type_name(self, name: str) -> str:
        """Return its type as PyTorch names it, such as ``float16``.

        Only for names that have a shape.
        """

    def read(self, name: str) -> Tensor:
        """Return the tensor; only called for names that have a shape."""


class ShapeOnlySource:
    """Holds no tensor: used to learn what a network asks for."""

    def names(self) -> Iterable[str]:
        """Return no names."""
        return ()

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return None: it holds no tensor."""
        return None

    def type_name(self, name: str) -> str:
        """Refuse: no name has a shape.

        Raises:
            KeyError: always.
        """
        raise KeyError(name)

    def read(self, name: str) -> Tensor:
        """Refuse: no name has a shape.

        Raises:
            KeyError: always.
        """
        raise KeyError(name)


@dataclass
class Ledger:
    """What was taken from a source, and what was wrong with it.

    ``finite`` names tensors that an earlier pass found finite, which are not looked through again.
    """

    finite: Set[str] = frozenset()
    requested: dict[str, tuple[int, ...]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    wrong_shape: list[str] = field(default_factory=list)
    wrong_type: list[str] = field(default_factory=list)
    non_finite: list[str] = field(default_factory=list)

    def clean(self) -> bool:
        """Tell whether every tensor was there, of its shape, float and finite."""
        return not (self.missing or self.wrong_shape or self.wrong_type or self.non_finite)


class Weights:
    """A view of a tensor source below a name prefix.

    Faulty tensors are noted in the ledger and replaced by ``meta`` tensors, so that one pass
    finds all faults; whoever builds a network must look at the ledger before using it.
    """

    def __init__(self, source: TensorSource, prefix: str = "", ledger: Ledger | None = None):
        self._source = source
        self._prefix = prefix
        self.ledger = ledger if ledger is not None else Ledger()

    def scope(self, name: str) -> Weights:
        """Return the same weights below ``name.``."""
        return Weights(self._source, f"{self._prefix}{name}.", self.ledger)

    def has(self, name: str) -> bool:
        """Tell whether the source has a tensor of that name."""
        return self._source.shape(self._prefix + name) is not None

    def take(self, name: str, *shape: int) -> Tensor:
        """Take the float32 tensor of that name, which must have exactly that shape."""
        full = self._prefix + name
        self.ledger.requested[full] = shape
        found = self._source.shape(full)
        if found is None:
            self.ledger.missing.append(full)
        elif found != shape:
            self.ledger.wrong_shape.append(f"{full}: {list(found)} instead of {list(shape)}")
        elif (kind := self._source.type_name(full)) not in FLOAT_TYPES:
            self.ledger.wrong_type.append(f"{full}: {kind}")
        else:
            tensor = self._source.read(full).to(torch.float32)
            if full not in self.ledger.finite and not bool(torch.isfinite(tensor).all()):
                self.ledger.non_finite.append(full)
            return tensor
        return torch.empty(shape, device="meta")


def parameter(tensor: Tensor) -> nn.Parameter:
    """Return a contiguous parameter that owns its memory."""
    return nn.Parameter(tensor.detach().contiguous(), requires_grad=False)


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """Return an ``nn.Linear`` around existing tensors: weight ``(out, in)``, bias ``(out,)``."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = parameter(weight)
    if bias is not None:
        layer.bias = parameter(bias)
    return layer


def take_linear(weights: Weights, name: str, inputs: int, outputs: int, *, bias: bool) -> nn.Linear:
    """Take ``nn.Linear`` from ``name.weight`` and, with ``bias``, ``name.bias``."""
    scope = weights.scope(name)
    weight = scope.take("weight", outputs, inputs)
    return linear(weight, scope.take("bias", outputs) if bias else None)
