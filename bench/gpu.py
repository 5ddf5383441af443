"""Latency on a GPU: which cells are measured, in which order, within a budget of seconds.

A cell is one way of computing (dtype, compiled or not) at one batch and number of steps. The cell
of the headline comes first (batch 1, 8 steps, float16), then what may better it, then the rest. All
that is known is written after every cell, so that a run that is cut off keeps what it has.

The engine is handed in (:class:`Engine`): nothing here imports PyTorch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from arcmobile.bench.records import Count, Quantity
from arcmobile.bench.result import (
    BenchResult,
    BundleFacts,
    Environment,
    Figure,
    Measurement,
    Record,
    RequestFacts,
    RunnerFacts,
    StageFigures,
)
from arcmobile.runtime.errors import ArcMobileError
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT
from arcmobile.runtime.whole_output import write_whole_text

RESULT, CELLS = "latency.json", "latency-cells.json"
GOAL_SECONDS, FLOOR_SECONDS = 0.040, 0.075
"""Prompt to 11.9 s of sound on an H100: what is aimed at, and what the paper reports."""

_HEADLINE_STEPS: Final = 8
_WARM_UPS: Final = 5
_FEWEST_REPEATS: Final = 5
_CELL_SHARE: Final = 0.25  # of the budget that one cell's repeats may take
_COMPILING: Final = 40.0  # seconds that have to be left to begin compiling for a GPU

_T = TypeVar("_T")
Array = npt.NDArray[np.float32]
Dtype = Literal["float32", "float16", "bfloat16"]


class Timing(Protocol):
    """Seconds of one generation."""

    @property
    def total(self) -> float: ...
    @property
    def stages(self) -> dict[str, float]: ...


class Generation(Protocol):
    """A generation of fixed batch and steps; its noise is drawn from a seed."""

    @property
    def graphs(self) -> bool:
        """Whether it runs as CUDA graphs."""

    @property
    def fallback(self) -> str:
        """Why it does not although that was asked for."""

    def draw_noise(self, seed: int) -> None: ...

    def run(self, prompts: Sequence[str], seconds: float) -> Timing: ...

    def results(self) -> tuple[Array, Array]:
        """Latent and audio of the first prompt of the last run, on the host."""


class Engine(Protocol):
    """A model on a device."""

    def facts(self) -> EngineFacts: ...

    def prepare(self, dtype: Dtype, *, compiled: bool) -> str:
        """Builds the networks in the place of the ones before; says in which form."""

    def weights(self) -> Mapping[str, int]:
        """Bytes of each network's weights on the device."""

    def generation(self, steps: int, batch: int) -> Generation: ...

    def peak_bytes(self) -> int:
        """Most memory taken since the last call."""


@dataclass(frozen=True)
class EngineFacts:
    """``environment`` names the card as the device; ``versions`` those of driver and libraries."""

    model: str
    digest: str
    seconds: float
    frames: int
    environment: Environment
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Way:
    """A way of computing, and what is measured of it."""

    dtype: Dtype
    compiled: bool
    batch: int

    @property
    def name(self) -> str:
        return f"{self.dtype}{', compiled' if self.compiled else ''}, batch {self.batch}"


class Cell(Record):
    """One cell; seconds and bytes. SNR in dB against float32 of the same model, prompt and noise.

    ``form`` is the decoder's, ``prepared`` what building, compiling and capturing took.
    """

    dtype: Dtype
    compiled: bool
    graphs: bool
    form: str
    batch: int
    steps: int
    warmups: Count
    total: Figure
    stages: dict[str, Figure]
    latent_snr_db: float | None
    audio_snr_db: float | None
    peak_bytes: Count
    weight_bytes: dict[str, int]
    prepared: Quantity
    notes: tuple[str, ...] = ()


class GpuCells(Record):
    """All cells of a run, and what was left out and why."""

    version: Literal[1] = 1
    created: str
    arcmobile: str
    model: str
    card: str
    versions: dict[str, str]
    ceilings: dict[str, float]
    cells: tuple[Cell, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class GpuProtocol:
    """What a run measures; ``seconds`` is its whole budget."""

    prompt: str
    seed: int = 0
    seconds: float = 120.0
    repeats: int = 50
    steps: tuple[int, ...] = (8, 4, 1)
    batches: tuple[int, ...] = (1, 8)
    dtypes: tuple[Dtype, ...] = ("float16", "bfloat16")
    compiling: bool = True

    def ways(self) -> list[Way]:
        """In the order of their worth: the first dtype and batch alone, compiled, then the rest."""
        first, *others = self.dtypes
        one, *larger = self.batches
        ways = [Way(first, False, one)]
        if self.compiling:
            ways.append(Way(first, True, one))
        ways += [Way(first, False, batch) for batch in larger]
        ways += [Way(dtype, False, one) for dtype in others]
        if self.compiling:
            ways += [Way(first, True, batch) for batch in larger]
            ways += [Way(dtype, True, one) for dtype in others]
        return [*ways, *(Way(dtype, False, batch) for dtype in others for batch in larger)]


def measure_gpu(
    engine: Engine,
    protocol: GpuProtocol,
    out: Path,
    *,
    report: Callable[[str], None] = lambda line: None,
    ceilings: Callable[[], dict[str, float]] = dict,
) -> GpuCells:
    """Measures cell by cell until the budget is spent; writes :data:`CELLS` and :data:`RESULT`.

    Args:
        engine: whose generations are timed.
        protocol: what is measured.
        out: folder of the two files.
        report: hears a line for every cell, and for every way that is left out.
        ceilings: measures what the device can do at best, once.

    Raises:
        OutputError: ``out`` cannot be written.
    """
    run = _Run(engine, protocol, out, report)
    run.ceilings = run.attempt("ceilings", ceilings) or {}
    run.attempt("float32 reference", run.reference)
    for way in protocol.ways():
        run.attempt(way.name, partial(run.measure, way))
    run.write()
    return run.cells()


class _Run:
    """A run under way."""

    def __init__(
        self,
        engine: Engine,
        protocol: GpuProtocol,
        out: Path,
        report: Callable[[str], None],
    ) -> None:
        self.engine, self.protocol, self.out = engine, protocol, out
        self.report = report
        self.facts = engine.facts()
        self.begin = time.monotonic()
        self.created = datetime.now(UTC).isoformat(timespec="seconds")
        self.ceilings: dict[str, float] = {}
        self.exact: dict[int, tuple[Array, Array]] = {}
        self.found: list[Cell] = []
        self.left_out: list[str] = []
        self.slowest_way = 0.0
        self.compiling = _COMPILING if self.facts.environment.target == "cuda" else 0.0

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return self.protocol.seconds - (time.monotonic() - self.begin)

    def attempt(self, name: str, action: Callable[[], _T]) -> _T | None:
        """What the action gives; None, and a line, where it fails."""
        try:
            return action()
        except ArcMobileError:
            raise
        except Exception as error:  # noqa: BLE001  (memory, a compiler, a driver: anything can fail)
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            self.leave_out(f"{name}: {type(error).__name__}: {reason}")
            return None

    def leave_out(self, line: str) -> None:
        self.left_out.append(line)
        self.report(line)
        self.write()

    def reference(self) -> None:
        """Latents and sounds of the float32 model, one prompt, by number of steps."""
        self.engine.prepare("float32", compiled=False)
        for steps in self.protocol.steps:
            generation = self.engine.generation(steps, 1)
            generation.draw_noise(self.protocol.seed)
            generation.run([self.protocol.prompt], self.facts.seconds)
            self.exact[steps] = generation.results()

    def measure(self, way: Way) -> None:
        """All numbers of steps of one way."""
        needed = self.slowest_way + (self.compiling if way.compiled else 0.0)
        if self.found and self.left < needed:
            self.leave_out(f"{way.name}: left out, {max(0.0, self.left):.0f} s of the budget left")
            return
        begin = time.monotonic()
        form = self.engine.prepare(way.dtype, compiled=way.compiled)
        for steps in self.protocol.steps:
            self.found.append(self.cell(way, steps, form, begin))
            self.report(_line(self.found[-1]))
            self.write()
            begin = time.monotonic()
            if self.left <= 0:
                return
        if not way.compiled:
            self.slowest_way = max(self.slowest_way, time.monotonic() - begin)

    def cell(self, way: Way, steps: int, form: str, begin: float) -> Cell:
        protocol = self.protocol
        self.engine.peak_bytes()
        generation = self.engine.generation(steps, way.batch)
        generation.draw_noise(protocol.seed)
        prompts = [protocol.prompt] * way.batch
        for _ in range(_WARM_UPS):
            generation.run(prompts, self.facts.seconds)
        prepared = time.monotonic() - begin
        timings: list[Timing] = []
        share, first = _CELL_SHARE * protocol.seconds, time.monotonic()
        while len(timings) < protocol.repeats:
            timings.append(generation.run(prompts, self.facts.seconds))
            if len(timings) >= _FEWEST_REPEATS and time.monotonic() - first > share:
                break
        exact, made = self.exact.get(steps), generation.results()
        return Cell(
            dtype=way.dtype,
            compiled=way.compiled,
            graphs=generation.graphs,
            form=form,
            batch=way.batch,
            steps=steps,
            warmups=_WARM_UPS,
            total=Figure(values=tuple(one.total for one in timings)),
            stages={
                name: Figure(values=tuple(one.stages[name] for one in timings))
                for name in timings[0].stages
            },
            latent_snr_db=None if exact is None else snr_db(made[0], exact[0]),
            audio_snr_db=None if exact is None else snr_db(made[1], exact[1]),
            peak_bytes=self.engine.peak_bytes(),
            weight_bytes=dict(self.engine.weights()),
            prepared=prepared,
            notes=(generation.fallback,) if generation.fallback else (),
        )

    def cells(self) -> GpuCells:
        return GpuCells(
            created=self.created,
            arcmobile=metadata.version("arcmobile"),
            model=self.facts.model,
            card=self.facts.environment.device,
            versions=dict(self.facts.versions),
            ceilings=self.ceilings,
            cells=tuple(self.found),
            left_out=tuple(self.left_out),
        )

    def write(self) -> None:
        write_whole_text(
            self.out / CELLS, self.cells().model_dump_json(indent=1) + "\n", overwrite=True
        )
        if best := self.best():
            self.result(best).write(self.out / RESULT, overwrite=True)

    def best(self) -> Cell | None:
        """The soonest cell of one prompt in as many steps as the headline has."""
        steps = max(self.protocol.steps)
        if _HEADLINE_STEPS in self.protocol.steps:
            steps = _HEADLINE_STEPS
        batch = min(self.protocol.batches)
        found = [cell for cell in self.found if (cell.steps, cell.batch) == (steps, batch)]
        return min(found, key=lambda cell: cell.total.median, default=None)

    def result(self, cell: Cell) -> BenchResult:
        """One cell as a result that `bench report` and `bench compare` read."""
        facts, protocol = self.facts, self.protocol
        resident = Figure(values=(0.0,))
        ratios = {DIT: cell.latent_snr_db, DECODER: cell.audio_snr_db}
        ways = (cell.dtype, "compiled" * cell.compiled, "CUDA graphs" * cell.graphs)
        names = (CONDITIONER, DIT, DECODER)
        return BenchResult(
            created=self.created,
            arcmobile=metadata.version("arcmobile"),
            runner=RunnerFacts(kind="torch", versions=dict(facts.versions)),
            bundle=BundleFacts(
                name=facts.model,
                model_id=facts.model,
                recipe=", ".join(filter(None, ways)),
                backend="torch",
                bytes=sum(cell.weight_bytes.values()),
                digest=facts.digest,
                component_bytes=cell.weight_bytes,
                precision={
                    name: {name: "tf32" if name == CONDITIONER else cell.dtype} for name in names
                },
                snr_db={name: ratio for name, ratio in ratios.items() if ratio is not None},
            ),
            request=RequestFacts(
                prompt=protocol.prompt,
                seconds=facts.seconds,
                steps=cell.steps,
                seed=protocol.seed,
                frames=facts.frames,
            ),
            environment=facts.environment,
            measurements=(
                Measurement(
                    threads=1,
                    warmups=cell.warmups,
                    repeats=len(cell.total.values),
                    stages={
                        name: StageFigures(
                            load=resident,
                            compute=figure,
                            call=_per_call(figure, cell.steps if name == DIT else 1),
                            calls=cell.steps if name == DIT else 1,
                        )
                        for name, figure in cell.stages.items()
                    },
                    total=cell.total,
                    compute=cell.total,
                    first_audio=cell.total,
                    load_warm=Figure(values=(cell.prepared,)),
                    peak_bytes=Figure(values=(cell.peak_bytes,)),
                    audio_seconds=facts.seconds * cell.batch,
                    notes=(
                        "networks are on the device before the first run",
                        f"decoder: {cell.form}",
                        *cell.notes,
                    ),
                ),
            ),
        )


def snr_db(made: Array, exact: Array) -> float | None:
    """Signal-to-noise ratio in dB; None where nothing differs, or it is not finite."""
    noise = float(np.square(made.astype(np.float64) - exact).sum())
    signal = float(np.square(exact.astype(np.float64)).sum())
    if not np.isfinite(noise) or noise == 0 or signal == 0:
        return None
    return round(10 * float(np.log10(signal / noise)), 2)


def _per_call(figure: Figure, calls: int) -> Figure:
    return Figure(values=tuple(value / calls for value in figure.values))


def _line(cell: Cell) -> str:
    """One cell for people: ways, median and spread, stages, memory, accuracy."""
    total = cell.total
    ways = (cell.dtype, "compiled" * cell.compiled, "graphs" * cell.graphs)
    stages = ", ".join(f"{name} {1e3 * one.median:.2f}" for name, one in cell.stages.items())
    ratio = "-" if cell.audio_snr_db is None else f"{cell.audio_snr_db:.1f}"
    return (
        f"{', '.join(filter(None, ways))}, batch {cell.batch}, {cell.steps} steps: "
        f"{1e3 * total.median:.1f} ms ({1e3 * total.minimum:.1f} .. {1e3 * total.maximum:.1f}, "
        f"{len(total.values)} runs); ms {stages}; {cell.peak_bytes / 1e9:.2f} GB; SNR {ratio} dB"
        f"{'; ' + '; '.join(cell.notes) if cell.notes else ''}"
    )
