"""Backends: the runtimes that programs are made for and run by, each declared once.

A new backend is an exporter, an engine and a declaration here; option lists, error messages, tables
and test grids derive from :data:`BACKENDS`. Nothing heavy is imported: exporter and engine are
named by their places and imported when they are first used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class BackendSpec:
    """A backend, declared without importing it.

    Attributes:
        name: on the command line and in manifests.
        title: in tables.
        kernels: the library whose kernels do most of the work.
        suffix: of program files, with the dot.
        engine: ``module:class`` of the :class:`~arcmobile.runtime.engine.Engine`.
        exporter: ``module:object`` of the :class:`~arcmobile.export.backends.base.Backend`.
        distribution: the Python distribution that the engine runs programs with.
        package: what that distribution is imported as.
        extra: the extra of ``arcmobile`` that installs it.
        tools: distributions whose versions decide what programs contain: a bundle's provenance.
        native: whether the native runner runs it, on all targets of ``arcmobile bench run``.
        android_module: the module of ``android_demo`` that runs it; None where none does.
        minimum_runtime: the oldest release of the runtime that computes the programs of this
            exporter as the installed one does; None where that is unknown.
        unstated_minimum: what a bundle needs whose manifest does not say.
    """

    name: str
    title: str
    kernels: str
    suffix: str
    engine: str
    exporter: str
    distribution: str
    package: str
    extra: str
    tools: tuple[str, ...]
    native: bool = False
    android_module: str | None = None
    minimum_runtime: str | None = None
    unstated_minimum: str = "0"

    @property
    def programs(self) -> str:
        """The kind of program file, such as ``LiteRT (.tflite), XNNPACK kernels on the CPU``."""
        return f"{self.title} ({self.suffix}), {self.kernels} kernels on the CPU"


EXECUTORCH: Final = BackendSpec(
    name="executorch",
    title="ExecuTorch",
    kernels="XNNPACK",
    suffix=".pte",
    engine="arcmobile.runtime.engines.executorch:ExecuTorchEngine",
    exporter="arcmobile.export.backends.executorch:BACKEND",
    distribution="executorch",
    package="executorch.runtime",
    extra="executorch",
    tools=("executorch", "torch"),
    native=True,
    android_module="executorch",
    # Every recipe gave the same bits on 1.3.1, 1.4.1 and 1.5.1. In 1.3.0 the runtime, its kernels
    # and XNNPACK are, line for line, those of 1.3.1.
    minimum_runtime="1.3.0",
    # Earlier exporters made programs that older releases compute wrongly without an error.
    unstated_minimum="1.5.1",
)
ONNX: Final = BackendSpec(
    name="onnx",
    title="ONNX Runtime",
    kernels="MLAS",
    suffix=".onnx",
    engine="arcmobile.runtime.engines.onnx:OnnxEngine",
    exporter="arcmobile.export.backends.onnx:BACKEND",
    distribution="onnxruntime",
    package="onnxruntime",
    extra="onnx",
    tools=("onnx", "onnxruntime", "onnxscript", "torch"),
    android_module="onnxruntime",
)
LITERT: Final = BackendSpec(
    name="litert",
    title="LiteRT",
    kernels="XNNPACK",
    suffix=".tflite",
    engine="arcmobile.runtime.engines.litert:LiteRtEngine",
    exporter="arcmobile.export.backends.litert:BACKEND",
    distribution="ai-edge-litert",
    package="ai_edge_litert.interpreter",
    extra="litert",
    tools=("ai-edge-litert", "ai-edge-quantizer", "litert-torch", "torch"),
)

BACKENDS: Final[Mapping[str, BackendSpec]] = {
    spec.name: spec for spec in (EXECUTORCH, ONNX, LITERT)
}
DEFAULT_BACKEND: Final = EXECUTORCH.name


def any_of(names: Mapping[str, object]) -> str:
    """Return the names of a registry for a help text: ``a, b or c``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def runtime_distributions() -> tuple[str, ...]:
    """Return the distributions that programs are run with."""
    return tuple(dict.fromkeys(spec.distribution for spec in BACKENDS.values()))


def load_object(place: str) -> Any:
    """Import what a ``module:name`` of a declaration says.

    Raises:
        ImportError: a package that it needs is not installed, or does not load.
    """
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
