"""Tensors in memory, as the networks of :mod:`arcmobile.export.model` ask for them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


class MappingSource:
    """A :class:`~arcmobile.export.model.weights.TensorSource` of copies."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        self._tensors = tensors

    def names(self) -> list[str]:
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...] | None:
        return tuple(self._tensors[name].shape) if name in self._tensors else None

    def type_name(self, name: str) -> str:
        return str(self._tensors[name].dtype).removeprefix("torch.")

    def read(self, name: str) -> Tensor:
        return self._tensors[name].detach().clone()
