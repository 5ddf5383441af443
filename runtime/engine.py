"""What runs a program: one interface over ExecuTorch, ONNX Runtime, LiteRT and, elsewhere, PyTorch.

An engine loads components by name and runs their entries on numpy arrays. Shapes and dtypes are
checked here, against the manifest, so that no engine meets a tensor it does not expect. Whatever a
library raises becomes an error of one line, and calls of several threads take turns. Engines are
imported when first asked for: a board installs only the one it uses.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from arcmobile.runtime import bounds
from arcmobile.runtime.backends import BACKENDS, load_object
from arcmobile.runtime.bundle import Bundle, Component, Entry, Manifest, TensorSpec
from arcmobile.runtime.errors import ArcMobileError, EngineError, InputError, one_line

Array = NDArray[Any]


class Engine(ABC):
    """Runs the components of one manifest. Close it, or use it as a context manager.

    A subclass implements :meth:`_load`, :meth:`_unload` and :meth:`_run`, and :meth:`_prepare`
    where an entry has work of its own to do before its first run. Several threads may use one
    engine: they take turns. A process forked from one that has loaded programs cannot use them,
    because the engines' threads do not come along.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._loaded: set[str] = set()
        self._turns = threading.RLock()
        self._process = os.getpid()

    @property
    def loaded(self) -> frozenset[str]:
        """Names of the components that are in memory."""
        return frozenset(self._loaded)

    def load(self, component: str, entry: str | None = None) -> None:
        """Reads a component's program into memory and makes ``entry`` of it ready to run.

        Nothing to do for what is loaded and ready. Raises :class:`EngineError` for an unknown
        component or entry, or if the engine refuses the program.
        """
        self._component(component)
        spec = None if entry is None else self._entry(component, entry)
        self._check_process()
        with self._turns:
            if component not in self._loaded:
                with self._as_engine_error(component):
                    self._load(component)
                self._loaded.add(component)
            if spec is not None:
                with self._as_engine_error(f"{component}.{spec.name}"):
                    self._prepare(component, spec)

    def unload(self, component: str) -> None:
        """Frees a component's program; nothing to do if it is not loaded."""
        if os.getpid() != self._process:
            return
        with self._turns:
            if component in self._loaded:
                self._loaded.remove(component)
                self._unload(component)

    def run(self, component: str, entry: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs one entry of a component and returns its outputs by name.

        Loads the component first where needed. Raises :class:`EngineError` for an unknown
        component or entry, for inputs or outputs that are not as the manifest says, and for a run
        that fails.
        """
        spec = self._entry(component, entry)
        where = f"{component}.{entry}"
        arrays = _checked(f"{where} input", spec.inputs, inputs)
        self._check_process()
        with self._turns:
            self.load(component, entry)
            with self._as_engine_error(where):
                outputs = list(map(np.asarray, self._run(component, spec, arrays)))
        if len(outputs) != len(spec.outputs):
            raise EngineError(
                f"{where} has {len(outputs)} outputs; the manifest says {len(spec.outputs)}"
            )
        named = dict(zip((output.name for output in spec.outputs), outputs, strict=True))
        _checked(f"{where} output", spec.outputs, named)
        return named

    def close(self) -> None:
        """Frees every component."""
        for component in sorted(self._loaded):
            self.unload(component)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise EngineError(
                "this process was forked from one whose engine is open, and the engine's threads "
                "did not come along; open it here, or start processes by the method 'spawn'"
            )

    @contextmanager
    def _as_engine_error(self, where: str) -> Iterator[None]:
        """Turns whatever a library raises, panics of Rust and C++ included, into one line."""
        try:
            yield
        except (ArcMobileError, KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except MemoryError as error:
            raise EngineError(f"{where}: not enough memory; free some") from error
        except BaseException as error:
            raise EngineError(
                f"{where}: {self.manifest.backend} fails ({type(error).__name__}: "
                f"{one_line(error)}); export the bundle again"
            ) from error

    def _component(self, name: str) -> Component:
        try:
            return self.manifest.components[name]
        except KeyError:
            known = ", ".join(self.manifest.components)
            raise EngineError(f"no component {name!r}; the bundle has: {known}") from None

    def _entry(self, component: str, name: str) -> Entry:
        entry = self._component(component).entry(name)
        if entry is None:
            known = ", ".join(entry.name for entry in self._component(component).entries)
            raise EngineError(f"{component} has no entry {name!r}; the bundle has: {known}")
        return entry

    @abstractmethod
    def _load(self, component: str) -> None:
        """Loads a component that is not loaded."""

    def _prepare(self, component: str, entry: Entry) -> None:  # noqa: B027 (a hook, not a duty)
        """Makes an entry of a loaded component ready; called before every run, so cheap if it is.

        The default has nothing to do.
        """

    @abstractmethod
    def _unload(self, component: str) -> None:
        """Frees a component that is loaded."""

    @abstractmethod
    def _run(self, component: str, entry: Entry, inputs: Sequence[Array]) -> Sequence[Array]:
        """Runs an entry of a loaded component; inputs and outputs in the manifest's order."""


def _checked(where: str, specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> list[Array]:
    """The arrays in the order of ``specs``; EngineError where name, shape or dtype differ."""
    if arrays.keys() != {spec.name for spec in specs}:
        wanted = ", ".join(spec.name for spec in specs)
        raise EngineError(f"{where}s are {', '.join(arrays)}; the manifest says {wanted}")
    for spec in specs:
        array = arrays[spec.name]
        if array.shape != spec.shape or array.dtype != np.dtype(spec.dtype):
            raise EngineError(
                f"{where} {spec.name} is {array.dtype} {array.shape}; "
                f"the manifest says {spec.dtype} {spec.shape}"
            )
    return [np.ascontiguousarray(arrays[spec.name]) for spec in specs]


@dataclass(frozen=True)
class EngineOptions:
    """``threads``: worker threads of the engine; ``None`` takes every CPU this process may use."""

    threads: int | None = None

    def thread_count(self) -> int:
        """The number of threads to use; :class:`InputError` if it is out of range."""
        if self.threads is None:
            return min(available_cpus(), bounds.THREADS)
        if not isinstance(self.threads, int) or not 1 <= self.threads <= bounds.THREADS:
            raise InputError(f"--threads {self.threads}: give 1 to {bounds.THREADS}")
        return self.threads


def available_cpus() -> int:
    """Number of CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_engine(bundle: Bundle, options: EngineOptions | None = None) -> Engine:
    """The engine of the bundle's backend, with nothing loaded yet.

    Raises :class:`EngineError` for a backend without an engine, or when its package is missing.
    """
    options = options or EngineOptions()
    options.thread_count()  # a bad number is reported before the slow import
    backend = bundle.manifest.backend
    spec = BACKENDS.get(backend)
    if spec is None:
        raise EngineError(
            f"{bundle.folder}: backend {backend!r} is unknown; known: {', '.join(BACKENDS)}"
        )
    try:
        engine_class = load_object(spec.engine)
    except (ImportError, OSError, RuntimeError) as error:  # its native libraries fail in any way
        raise EngineError(
            f"backend {backend!r} needs {spec.distribution} ({one_line(error)}): "
            f"pip install 'arcmobile[{spec.extra}]'"
        ) from error
    engine: Engine = engine_class(bundle, options)
    return engine
