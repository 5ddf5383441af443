"""What runs a program: one interface over ExecuTorch, ONNX Runtime, LiteRT and, elsewhere, PyTorch.

An engine loads components by name and runs their entries on numpy arrays. Shapes and dtypes are
checked here, against the manifest, so that no engine gets a tensor it does not expect. Whatever a
library raises becomes an error of one line, and calls of several threads take turns. Engines are
imported on first use: a board installs only the one it needs.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from arcmobile.runtime import bounds
from arcmobile.runtime.backends import BACKENDS, load_object
from arcmobile.runtime.bundle import Bundle, Component, Entry, Manifest, TensorSpec
from arcmobile.runtime.errors import ArcMobileError, EngineError, InputError, one_line
from arcmobile.runtime.installation import install_advice

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
        """Load a component's program and make ``entry`` of it ready; cheap if it is.

        Raises:
            EngineError: the component or entry is unknown, or the engine refuses the program.
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
        """Free a component's program if it is loaded."""
        if os.getpid() != self._process:
            return
        with self._turns:
            if component in self._loaded:
                self._loaded.remove(component)
                self._unload(component)

    def run(self, component: str, entry: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one entry of a component, which is loaded first where needed.

        Args:
            component: name of the component.
            entry: name of its entry.
            inputs: arrays by name, with the shapes and dtypes of the manifest.

        Returns:
            Outputs by name, as the manifest says.

        Raises:
            EngineError: the component or entry is unknown, inputs or outputs are not as the
                manifest says, or the run fails.
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
        """Free every component."""
        for component in sorted(self._loaded):
            self.unload(component)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise EngineError(
                "this process was forked from one whose engine is open, and the engine's threads "
                "did not come along; open it here, or start processes by the method 'spawn'"
            )

    @contextmanager
    def _as_engine_error(self, where: str) -> Iterator[None]:
        # Whatever a library raises, panics of Rust and C++ included. Around each hook below; an
        # engine that can name a file, or knows more than the exception, says so within.
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
        """Load a component that is not loaded."""

    def _prepare(self, component: str, entry: Entry) -> None:  # noqa: B027 (a hook, not a duty)
        """Make an entry of a loaded component ready; called before every run.

        The default does nothing.
        """

    @abstractmethod
    def _unload(self, component: str) -> None:
        """Free a component that is loaded."""

    @abstractmethod
    def _run(self, component: str, entry: Entry, inputs: Sequence[Array]) -> Sequence[Array]:
        """Run an entry of a loaded component; inputs and outputs in the manifest's order."""


def _checked(where: str, specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> list[Array]:
    """Return the arrays in the order of ``specs``.

    Raises:
        EngineError: a name, shape or dtype differs.
    """
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
    """Options of an engine.

    Attributes:
        threads: worker threads; ``None``: one for every CPU this process may use.
    """

    threads: int | None = None

    def thread_count(self) -> int:
        """Return the number of threads to use.

        Raises:
            InputError: it is out of range.
        """
        if self.threads is None:
            return min(available_cpus(), bounds.THREADS)
        if not isinstance(self.threads, int) or not 1 <= self.threads <= bounds.THREADS:
            raise InputError(f"--threads {self.threads}: give 1 to {bounds.THREADS}")
        return self.threads


def available_cpus() -> int:
    """Return the number of CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_engine(bundle: Bundle, options: EngineOptions | None = None) -> Engine:
    """Open the engine of the bundle's backend; load nothing yet.

    Raises:
        EngineError: the backend is unknown, or its package is missing or too old.
        InputError: an option is out of range.
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
            f"{install_advice(spec.extra)}"
        ) from error
    engine: Engine = engine_class(bundle, options)
    return engine
