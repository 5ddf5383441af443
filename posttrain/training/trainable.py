"""What makes the networks of :mod:`arcmobile.export.model` trainable from tensors in memory."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from arcmobile.export.model.forms import NetworkForm
from arcmobile.export.model.weights import Weights

# (1, K) kernels on (B, C, 1, T) in channels-last order: about twice as fast on CPUs as Conv1d.
TRAINING = NetworkForm("training", fused_norm=True, fused_attention=True, flat_conv=False)


class InMemorySource:
    """A :class:`~arcmobile.export.model.weights.TensorSource` of copies of tensors in memory."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        self._tensors = tensors

    def names(self) -> list[str]:
        """List the names of all tensors."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a tensor, or None if there is none of that name."""
        return tuple(self._tensors[name].shape) if name in self._tensors else None

    def type_name(self, name: str) -> str:
        """Return the tensor's type as PyTorch names it."""
        return str(self._tensors[name].dtype).removeprefix("torch.")

    def read(self, name: str) -> Tensor:
        """Return a copy of the tensor."""
        return self._tensors[name].detach().clone()


def require_fitting(*weights: Weights) -> None:
    """Check that networks found every tensor that they asked for.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor has another shape.
    """
    for ledger in (source.ledger for source in weights):
        if ledger.missing:
            raise KeyError(ledger.missing[0])
        if ledger.wrong_shape:
            raise ValueError(ledger.wrong_shape[0])
