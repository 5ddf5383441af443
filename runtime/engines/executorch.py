"""ExecuTorch through its Python package: one program per component, one method per entry.

The package imports PyTorch; this is the one engine that does. Program files are memory-mapped by
the package, so weights that XNNPACK has repacked are not held twice.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import torch

from arcmobile.runtime.backends import EXECUTORCH
from arcmobile.runtime.bundle import Bundle, Entry
from arcmobile.runtime.engine import Array, Engine, EngineOptions
from arcmobile.runtime.engines.native_log import native_log
from arcmobile.runtime.errors import EngineError

_COMPILER = "executorch.exir"


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Let the runtime be imported without ExecuTorch's compiler: a second instead of eight.

    The runtime only needs a decorator from a small module of it, but importing that runs the whole
    package. In the block, an empty package of the same name and place stands in for it.
    """
    found = importlib.util.find_spec("executorch")
    if _COMPILER in sys.modules or found is None:
        yield
        return
    stand_in = ModuleType(_COMPILER)
    stand_in.__path__ = [f"{place}/exir" for place in found.submodule_search_locations or ()]
    sys.modules[_COMPILER] = stand_in
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.startswith(f"{_COMPILER}.")]:
            del sys.modules[name]
        del sys.modules[_COMPILER]
        if parent := sys.modules.get("executorch"):
            vars(parent).pop("exir", None)


with _without_compiler():
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Method, Program, Runtime

if importlib.util.find_spec("executorch.kernels.quantized") is not None:
    # Registers the quantize and dequantize operators that stay outside the delegates.
    import executorch.kernels.quantized  # noqa: F401

# Programs alive in this process: they hold the thread pool, which is one per process.
_live_programs: weakref.WeakSet[Program] = weakref.WeakSet()
_open_engines: weakref.WeakSet[ExecuTorchEngine] = weakref.WeakSet()
_pool = threading.RLock()  # held while the pool's size or a program is being set up
_pool_process: int | None = None  # that whose threads the pool has


class ExecuTorchEngine(Engine):
    """Engine of ``.pte`` bundles. ``threads`` is the size of the process-wide thread pool.

    The pool can only change while no engine is open in the process; asking for another size while
    one is raises :class:`EngineError`. So does a process forked after a program was loaded: the
    pool's threads do not come along, and waiting for them would never end.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        super().__init__(bundle.manifest)
        _require_release(bundle)
        _check_pool_process()
        self._bundle = bundle
        self._programs: dict[str, Program] = {}
        self._methods: dict[tuple[str, str], Method] = {}
        self._threads = options.thread_count()
        with _pool:
            for other in _open_engines:
                _require_same(self._threads, other._threads)
            _open_engines.add(self)

    def close(self) -> None:
        """Free every component, and let the next engine choose another number of threads."""
        super().close()
        _open_engines.discard(self)

    def _load(self, component: str) -> None:
        path = self._bundle.file(self._component(component))
        _check_pool_process()
        with _pool, native_log() as log:
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
        return [output.numpy() for output in method.execute(tensors)]

    def _prepare(self, component: str, entry: Entry) -> None:
        key = (component, entry.name)
        if key in self._methods:
            return
        with native_log() as log:
            try:
                method = self._programs[component].load_method(entry.name)
            except RuntimeError as error:
                raise EngineError(
                    f"{component}.{entry.name}: ExecuTorch cannot load it ({log() or error}); "
                    "export the bundle again"
                ) from error
        if method is None:
            raise EngineError(f"{component}.{entry.name}: ExecuTorch gave no method")
        self._methods[key] = method


def _check_pool_process() -> None:
    if _pool_process not in (None, os.getpid()):
        raise EngineError(
            "this process was forked from one that has used ExecuTorch, whose threads did not "
            "come along; start processes by the method 'spawn'"
        )


def _set_threads(threads: int) -> None:
    global _pool_process
    _pool_process = os.getpid()
    if portable_lib._threadpool_get_thread_count() == threads:
        return
    if _live_programs:
        _require_same(threads, portable_lib._threadpool_get_thread_count())
    portable_lib._unsafe_reset_threadpool(threads)


def _require_same(threads: int, others: int) -> None:
    if threads != others:
        raise EngineError(
            f"--threads {threads}: another ExecuTorch engine of this process runs with {others}; "
            "close it first or use that number"
        )


def _require_release(bundle: Bundle) -> None:
    """Refuse a bundle whose programs need a newer release than is installed.

    Raises:
        EngineError: naming both releases.
    """
    installed = importlib.metadata.version("executorch")
    needed = bundle.manifest.minimum_runtime or EXECUTORCH.unstated_minimum
    if _release_numbers(installed) < _release_numbers(needed):
        says = "needs" if bundle.manifest.minimum_runtime else "was made for"
        raise EngineError(
            f"{bundle.folder}: {says} ExecuTorch {needed} or later, {installed} is installed; "
            f"install executorch>={needed} or export the bundle again"
        )


def _release_numbers(version: str) -> tuple[int, ...]:
    """Return ``1.10.0+cpu`` as ``(1, 10, 0)``: three numbers, 0 where there is none."""
    numbers = re.match(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", version)
    return tuple(int(number or 0) for number in numbers.groups()) if numbers else (0, 0, 0)
