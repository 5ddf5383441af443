"""What an exporter is: one function from a network to a program file, and the facts about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from arcmobile.export.messages import first_line
from arcmobile.export.model.forms import NetworkForm
from arcmobile.quant.precision import Precision
from arcmobile.runtime.backends import BackendSpec
from arcmobile.runtime.errors import ArcMobileError, ExportError
from arcmobile.runtime.memory import peak_bytes

_PASSED_ON = (ArcMobileError, OSError, MemoryError, KeyboardInterrupt, SystemExit)
LayerPlan = Mapping[str, Precision]
Report = Callable[[str], None]


@dataclass(frozen=True)
class LoweringEntry:
    """One callable of a program: the network at one latent length.

    Attributes:
        name: the method, signature or graph name in the program, e.g. ``frames_256``.
        frames: latent frames the entry works on; ``None`` where there is no such axis.
        inputs: tensor name -> example tensor (float32 or int32), in call order; shapes are fixed.
        outputs: tensor names, in the order the network returns them.
    """

    name: str
    frames: int | None
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class ComputedEntry:
    """An entry of a lowered program, and what it gave for its example inputs.

    Attributes:
        program: the program's file.
        method: the entry's name.
        inputs, outputs: tensor name -> values, in call order.
    """

    program: Path
    method: str
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Delegation:
    """Where the operators of one entry ended up.

    ``delegates`` counts calls into the accelerated backend, ``outside`` the operators (name ->
    count) that the runtime's own kernels execute between those calls.
    """

    delegates: int
    outside: Mapping[str, int]

    def record(self) -> dict[str, int]:
        """Return the form stored in a manifest: ``{"delegates": n, operator: count, ...}``."""
        return {"delegates": self.delegates, **self.outside}


@dataclass(frozen=True)
class LoweringSummary:
    """Outcome of lowering one component.

    Attributes:
        bytes: size of the program file.
        seconds: wall-clock time of the lowering.
        peak_memory: high-water mark of this process's resident memory so far, in bytes.
        delegation: entry name -> where its operators went; empty for backends without delegates.
    """

    bytes: int
    seconds: float
    peak_memory: int
    delegation: Mapping[str, Delegation]


class WriteProgram(Protocol):
    """The function of an exporter that lowers a network."""

    def __call__(
        self,
        module: nn.Module,
        plan: LayerPlan,
        entries: tuple[LoweringEntry, ...],
        destination: Path,
        report: Report,
    ) -> Mapping[str, Delegation]:
        """Quantize and lower a float32 network in the backend's form into one program file.

        The module is consumed: its float weights are replaced and must not be used afterwards.

        Args:
            module: float32 network whose ``forward`` takes an entry's inputs in order.
            plan: layer name -> precision; layers that are not named stay float32.
            entries: the callables to put into the file.
            destination: file to write; it appears complete or not at all.
            report: called with one line per step, for progress display.

        Returns:
            Entry name -> where its operators went; empty for backends without delegates.

        Raises:
            ExportError: the network could not be lowered.
            OutputError: the file could not be written.
            Exception: what a toolchain raises; :meth:`Backend.lower` makes one line of it.
        """


def as_planned(layer: nn.Module, precision: Precision) -> Precision:
    """Return ``precision``: the backend stores and computes every layer at every precision."""
    return precision


@dataclass(frozen=True)
class Backend:
    """An exporter: how networks become programs of a declared backend.

    Attributes:
        spec: the backend's declaration.
        form: how networks must be built for this backend.
        write: lowers a network; called by :meth:`lower`.
        effective: ``(layer, precision) -> precision``: what a layer of that class gets when a
            recipe asks for ``precision``. Plans are resolved through it before lowering, so that
            manifests say what was done.
        cross_check: runs a bundle's programs under other settings that the runtime has on
            devices, and raises :class:`ExportError` where they give something else.
    """

    spec: BackendSpec
    form: NetworkForm
    write: WriteProgram
    effective: Callable[[nn.Module, Precision], Precision] = as_planned
    cross_check: Callable[[Sequence[ComputedEntry]], None] | None = None

    @torch.no_grad()
    def lower(
        self,
        module: nn.Module,
        plan: LayerPlan,
        entries: tuple[LoweringEntry, ...],
        destination: Path,
        report: Report = lambda line: None,
    ) -> LoweringSummary:
        """Lower a network, see :class:`WriteProgram`, and measure what that takes.

        Exceptions of toolchains are of every kind (executorch wraps all in a plain ``Exception``,
        and a panic in Rust is not even one), so all are caught; the original stays attached as the
        cause.

        Raises:
            ExportError: the network could not be lowered; names the step that failed.
            OutputError: the file could not be written.
            OSError: the system refused something else.
            MemoryError: there is not enough memory.
        """
        start, step = time.perf_counter(), f"{destination.name}: lowering"

        def follow(line: str) -> None:
            nonlocal step
            step = line
            report(line)

        try:
            delegation = self.write(module.eval(), plan, entries, destination, follow)
        except BaseException as error:
            if isinstance(error, _PASSED_ON):
                raise
            raise ExportError(
                f"{step} failed: {first_line(error)}; try another recipe or backend, "
                "arcmobile --verbose shows where it happened"
            ) from error
        return LoweringSummary(
            bytes=destination.stat().st_size,
            seconds=time.perf_counter() - start,
            peak_memory=peak_bytes(),
            delegation=delegation,
        )
