"""ExecuTorch through its Python package: one program per component, one method per entry.

The package imports PyTorch; this is the one engine that does. Program files are memory-mapped by
the package, so weights that XNNPACK has repacked are not held twice.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Method, Program, Runtime

from arcmobile.runtime.bundle import Bundle, Entry
from arcmobile.runtime.engine import Array, Engine, EngineOptions
from arcmobile.runtime.errors import EngineError

if importlib.util.find_spec("executorch.kernels.quantized") is not None:
    # Registers the quantize and dequantize operators that stay outside the delegates.
    import executorch.kernels.quantized  # noqa: F401

_LOG = logging.getLogger(__name__)

# Programs alive in this process: they hold the thread pool, which is one per process.
_live_programs: weakref.WeakSet[Program] = weakref.WeakSet()


class ExecuTorchEngine(Engine):
    """Engine of ``.pte`` bundles. ``threads`` is the size of the process-wide thread pool.

    The pool can only change while no program is loaded in the process; asking for another size
    while one is raises :class:`EngineError`.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        super().__init__(bundle.manifest)
        self._bundle = bundle
        self._programs: dict[str, Program] = {}
        self._methods: dict[tuple[str, str], Method] = {}
        self._threads = options.thread_count()

    def _load(self, component: str) -> None:
        path = self._bundle.file(self._component(component))
        with _native_log() as log:
            _set_threads(self._threads)
            try:
                program = Runtime.get().load_program(path)
            except RuntimeError as error:
                raise EngineError(
                    f"{path}: ExecuTorch refuses it ({log() or error}); export the bundle again"
                ) from error
        for entry in self._component(component).entries:
            if entry.name not in program.method_names:
                raise EngineError(
                    f"{path}: has no method {entry.name!r}, only "
                    f"{', '.join(sorted(program.method_names))}; export the bundle again"
                )
        self._programs[component] = program
        _live_programs.add(program)

    def _unload(self, component: str) -> None:
        # A method refers to its program's data: it must go first.
        self._methods = {key: run for key, run in self._methods.items() if key[0] != component}
        del self._programs[component]

    def _run(self, component: str, entry: Entry, inputs: Sequence[Array]) -> Sequence[Array]:
        method = self._methods[component, entry.name]
        # PyTorch warns of arrays it may not write to, so those are copied.
        tensors = [torch.from_numpy(np.require(array, requirements=["C", "W"])) for array in inputs]
        try:
            outputs = method.execute(tensors)
        except RuntimeError as error:
            raise EngineError(f"{component}.{entry.name}: ExecuTorch failed ({error})") from error
        return [output.numpy() for output in outputs]

    def _prepare(self, component: str, entry: Entry) -> None:
        key = (component, entry.name)
        if key in self._methods:
            return
        with _native_log() as log:
            try:
                method = self._programs[component].load_method(entry.name)
            except RuntimeError as error:
                raise EngineError(
                    f"{component}.{entry.name}: ExecuTorch cannot load it ({log() or error})"
                ) from error
        if method is None:
            raise EngineError(f"{component}.{entry.name}: ExecuTorch gave no method")
        self._methods[key] = method


def _set_threads(threads: int) -> None:
    if portable_lib._threadpool_get_thread_count() == threads:
        return
    if _live_programs:
        raise EngineError(
            f"threads {threads}: another ExecuTorch engine of this process runs with "
            f"{portable_lib._threadpool_get_thread_count()}; close it first or use that number"
        )
    portable_lib._unsafe_reset_threadpool(threads)


_LOG_LINE = re.compile(r"^\[(?P<source>[\w.]+:\d+)\] (?P<text>.*)$", re.MULTILINE)


@contextmanager
def _native_log() -> Iterator[Callable[[], str]]:
    """Keeps what the C++ side writes to stderr off the terminal while a program loads.

    Gives a function that returns the last line written so far: ExecuTorch raises error numbers and
    only prints the reason. Everything goes to the ``logging`` module at level DEBUG.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as capture:
        stderr = os.dup(2)
        os.dup2(capture.fileno(), 2)

        def lines() -> list[str]:
            capture.seek(0)
            text = capture.read().decode("utf-8", "replace")
            return [match["text"] for match in _LOG_LINE.finditer(text)]

        try:
            yield lambda: (lines() or [""])[-1]
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            for line in lines():
                _LOG.debug("%s", line)
