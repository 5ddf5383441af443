"""Exceptions of the exporters' toolchains, which are of every kind: one line and no file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lowering import lower
from torch import nn

from arcmobile.export.backends import get_backend
from arcmobile.export.backends.base import LoweringEntry
from arcmobile.runtime.errors import ExportError


class Panic(BaseException):
    """As Rust extensions raise it: no ``Exception``."""


ERRORS = (
    KeyError("aten.frob.default"),
    AssertionError(),
    RecursionError("maximum recursion depth exceeded"),
    Exception("two\nlines"),
    Panic("index out of bounds"),
)
# Where each backend calls its toolchain, and the step it says it was at.
CALLS = {
    "executorch": ("arcmobile.export.backends.executorch.to_edge_transform_and_lower", "lowering"),
    "onnx": ("torch.onnx.export", "tracing"),
    "litert": ("litert_torch.Converter.convert", "converting"),
}


@pytest.mark.parametrize("name", CALLS)
def test_toolchains_end_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = get_backend(name)
    entry = LoweringEntry("main", None, {"x": torch.randn(1, 4)}, ("y",))
    target, step = CALLS[name]
    for raised in ERRORS:

        def call(*_: object, error: BaseException = raised, **__: object) -> None:
            raise error

        monkeypatch.setattr(target, call)
        with pytest.raises(ExportError, match=rf"^net: {step} main failed: .*--verbose") as error:
            lower(backend, nn.Linear(4, 4), {}, [entry], tmp_path / "net")
        assert "\n" not in str(error.value)
        assert error.value.__cause__ is raised
    for stopped in (KeyboardInterrupt, MemoryError):
        monkeypatch.setattr(target, lambda *_, kind=stopped, **__: (_ for _ in ()).throw(kind()))
        with pytest.raises(stopped):
            lower(backend, nn.Linear(4, 4), {}, [entry], tmp_path / "net")
    assert not list(tmp_path.iterdir())
