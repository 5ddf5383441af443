"""ONNX Runtime on the CPU: one session per component, whose graph serves all its entries."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import onnxruntime

from arcmobile.runtime.bundle import Bundle, Entry
from arcmobile.runtime.engine import Array, Engine, EngineOptions


class OnnxEngine(Engine):
    """Engine of ``.onnx`` bundles. ``threads`` is the size of each session's thread pool."""

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        super().__init__(bundle.manifest)
        self._bundle = bundle
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = options.thread_count()
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = 3  # errors only: warnings are about our own graphs
        if not _exact_int8_products():
            self._options.add_session_config_entry("session.x64quantprecision", "1")
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def _load(self, component: str) -> None:
        path = self._bundle.file(self._component(component))
        with self._as_engine_error(str(path)):
            # Its fallback would print that it fails, and try the same provider again.
            self._sessions[component] = onnxruntime.InferenceSession(
                path, self._options, providers=["CPUExecutionProvider"], enable_fallback=0
            )

    def _unload(self, component: str) -> None:
        del self._sessions[component]

    def _run(self, component: str, entry: Entry, inputs: Sequence[Array]) -> Sequence[Array]:
        feed = dict(zip((spec.name for spec in entry.inputs), inputs, strict=True))
        outputs: Sequence[Array] = self._sessions[component].run(
            [spec.name for spec in entry.outputs], feed
        )
        return outputs


def _exact_int8_products() -> bool:
    """Return whether the CPU multiplies uint8 by int8 without saturation; x86-64 needs VNNI.

    Without it ONNX Runtime is set to store weights as uint8, which is exact everywhere; with it
    that would only cost time.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False  # unknown: exact is better than fast
    return "avx512_vnni" in flags or "avx_vnni" in flags
