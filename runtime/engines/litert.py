"""LiteRT on the CPU with XNNPACK: one interpreter per component, one signature per entry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ai_edge_litert.interpreter import Interpreter

from arcmobile.runtime.bundle import Bundle, Entry, TensorSpec
from arcmobile.runtime.engine import Array, Engine, EngineOptions
from arcmobile.runtime.engines.native_log import native_log
from arcmobile.runtime.errors import EngineError


class LiteRtEngine(Engine):
    """Engine of ``.tflite`` bundles. ``threads`` is the number each interpreter uses.

    The interpreter maps the model file and gives every operator it can to XNNPACK, which is its
    default delegate on the CPU.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        super().__init__(bundle.manifest)
        self._bundle = bundle
        self._threads = options.thread_count()
        self._interpreters: dict[str, Interpreter] = {}
        self._runners: dict[tuple[str, str], Any] = {}

    def _load(self, component: str) -> None:
        path = self._bundle.file(self._component(component))
        with self._as_engine_error(str(path)), native_log():
            interpreter = Interpreter(str(path), num_threads=self._threads)
            # Hands the graph to XNNPACK, which packs the weights: now, not in the first run.
            interpreter.allocate_tensors()
        signatures = interpreter.get_signature_list()
        for entry in self._component(component).entries:
            if entry.name not in signatures:
                raise EngineError(
                    f"{path}: has no signature {entry.name!r}, only {', '.join(signatures)}; "
                    "export the bundle again"
                )
        self._interpreters[component] = interpreter

    def _unload(self, component: str) -> None:
        # Runners hold their interpreter alive.
        self._runners = {key: run for key, run in self._runners.items() if key[0] != component}
        del self._interpreters[component]

    def _prepare(self, component: str, entry: Entry) -> None:
        key = (component, entry.name)
        if key not in self._runners:
            interpreter = self._interpreters[component]
            self._runners[key] = interpreter.get_signature_runner(entry.name)

    def _run(self, component: str, entry: Entry, inputs: Sequence[Array]) -> Sequence[Array]:
        runner = self._runners[component, entry.name]
        names = _signature_names(entry.inputs, runner.get_input_details())
        outputs = runner(**dict(zip(names, inputs, strict=True)))
        return [outputs[name] for name in _signature_names(entry.outputs, outputs)]


def _signature_names(specs: Sequence[TensorSpec], signature: dict[str, Any]) -> list[str]:
    """Return the signature's name of each tensor.

    A converter without names numbers them (``args_0``, ``output_0``, ...) in call order, which is
    the order of the manifest.

    Raises:
        ValueError: neither fits.
    """
    names = [spec.name for spec in specs]
    if set(names) == set(signature):
        return names
    if len(names) == len(signature) and all(re.fullmatch(r"\w+_\d+", name) for name in signature):
        return sorted(signature, key=lambda name: int(name.rpartition("_")[2]))
    raise ValueError(f"the signature has {sorted(signature)}, the manifest {sorted(names)}")
