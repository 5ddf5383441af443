"""Latency on a GPU: which cells are measured, in which order, within a budget of seconds.

A cell is one way of computing (dtype, compiled or not) at one batch size and number of steps. The
cell of the headline comes first (batch 1, 8 steps, float16), then what may beat it, then the rest.
All results are written after every cell, so that a run that is cut off keeps what it has.

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

from arcmobile.bench.labels import STAGES, counted
from arcmobile.bench.result import (
    BenchResult,
    BundleFacts,
    Environment,
    Figure,
    Measurement,
    RequestFacts,
    RunnerFacts,
    StageFigures,
    write_results,
)
from arcmobile.runtime.errors import ArcMobileError
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT

RESULT, CELLS = "latency.json", "latency-cells.json"
GOAL_SECONDS, FLOOR_SECONDS = 0.040, 0.075
"""Prompt to 11.9 s of sound on an H100: the goal, and what the ARC paper reports."""

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
    def total(self) -> float:
        """From prompt to samples."""

    @property
    def stages(self) -> dict[str, float]:
        """By stage."""


class Generation(Protocol):
    """A generation of fixed batch size and steps; its noise comes from a seed."""

    @property
    def graphs(self) -> bool:
        """Whether it runs as CUDA graphs."""

    @property
    def fallback(self) -> str:
        """Why it does not run as CUDA graphs although it should."""

    def draw_noise(self, seed: int) -> None:
        """Draw the noise of the following runs."""

    def run(self, prompts: Sequence[str], seconds: float) -> Timing:
        """Generate once, a sound per prompt."""

    def results(self) -> tuple[Array, Array]:
        """Return latent and audio of the first prompt of the last run, on the host."""


class Engine(Protocol):
    """A model on a device."""

    def facts(self) -> EngineFacts:
        """Describe model and device."""

    def prepare(self, dtype: Dtype, *, compiled: bool) -> str:
        """Build the networks instead of the previous ones; return the decoder's form."""

    def weights(self) -> Mapping[str, int]:
        """Return the bytes of each network's weights on the device."""

    def generation(self, steps: int, batch: int) -> Generation:
        """Prepare generations of a batch size and number of steps."""

    def peak_bytes(self) -> int:
        """Return the peak memory since the last call."""


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
    """A way of computing, at one batch size."""

    dtype: Dtype
    compiled: bool
    batch: int

    @property
    def name(self) -> str:
        """For messages: ``float16, compiled, batch 8``."""
        return f"{self.dtype}{', compiled' if self.compiled else ''}, batch {self.batch}"


@dataclass(frozen=True)
class GpuRun:
    """What a run measured, in order, and a line for each way it left out."""

    results: tuple[BenchResult, ...]
    left_out: tuple[str, ...]

    @property
    def fastest(self) -> BenchResult | None:
        """The fastest result for a single prompt in as many steps as the headline has."""
        steps = {result.request.steps for result in self.results}
        headline = _HEADLINE_STEPS if _HEADLINE_STEPS in steps else max(steps, default=0)
        batch = min((result.request.batch for result in self.results), default=1)
        found = [
            result
            for result in self.results
            if (result.request.steps, result.request.batch) == (headline, batch)
        ]
        return min(found, key=lambda one: one.measurements[0].total.median, default=None)


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
        """Return the ways, most important first: first dtype and batch, compiled, then the rest."""
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
) -> GpuRun:
    """Measure cell by cell until the budget is spent; write :data:`CELLS` and :data:`RESULT`.

    Args:
        engine: whose generations are timed.
        protocol: what is measured.
        out: folder of the two files: all results, and the fastest one.
        report: called with a line for every cell, and for every way that is left out.
        ceilings: measures the peak rates of the device, once; see :class:`Environment`.

    Raises:
        OutputError: ``out`` cannot be written.
    """
    run = _Run(engine, protocol, out, report)
    run.ceilings = run.attempt("ceilings", ceilings) or {}
    run.attempt("float32 reference", run.reference)
    for way in protocol.ways():
        run.attempt(way.name, partial(run.measure, way))
    return run.outcome()


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
        self.found: list[BenchResult] = []
        self.left_out: list[str] = []
        self.slowest_way = 0.0
        self.compiling = _COMPILING if self.facts.environment.target == "cuda" else 0.0

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.protocol.seconds - (time.monotonic() - self.begin)

    def attempt(self, name: str, action: Callable[[], _T]) -> _T | None:
        """Return what the action returns; ``None``, with a line, where it fails.

        Raises:
            ArcMobileError: the user can fix what failed.
        """
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

    def reference(self) -> None:
        """Generate with the float32 model, one prompt, for each number of steps."""
        self.engine.prepare("float32", compiled=False)
        for steps in self.protocol.steps:
            generation = self.engine.generation(steps, 1)
            generation.draw_noise(self.protocol.seed)
            generation.run([self.protocol.prompt], self.facts.seconds)
            self.exact[steps] = generation.results()

    def measure(self, way: Way) -> None:
        """Measure all numbers of steps of one way."""
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

    def outcome(self) -> GpuRun:
        """Return what is known so far."""
        return GpuRun(tuple(self.found), tuple(self.left_out))

    def write(self) -> None:
        """Write all results, and the fastest alone."""
        write_results(self.out / CELLS, self.found, overwrite=True)
        if fastest := self.outcome().fastest:
            fastest.write(self.out / RESULT, overwrite=True)

    def cell(self, way: Way, steps: int, form: str, begin: float) -> BenchResult:
        """Warm up, time the repeats, and compare the last sound with the float32 reference."""
        protocol = self.protocol
        self.engine.peak_bytes()  # starts anew
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
        measurement = self.measurement(way, steps, timings, prepared)
        notes = ("networks are on the device before the first run", f"decoder: {form}")
        fallback = (generation.fallback,) if generation.fallback else ()
        return BenchResult(
            created=self.created,
            arcmobile=metadata.version("arcmobile"),
            runner=RunnerFacts(kind="torch", versions=dict(self.facts.versions)),
            bundle=self.bundle(way, steps, generation),
            request=RequestFacts(
                prompt=protocol.prompt,
                seconds=self.facts.seconds,
                steps=steps,
                seed=protocol.seed,
                frames=self.facts.frames,
                batch=way.batch,
            ),
            environment=self.facts.environment.model_copy(update={"ceilings": self.ceilings}),
            measurements=(measurement.model_copy(update={"notes": (*notes, *fallback)}),),
        )

    def measurement(
        self, way: Way, steps: int, timings: Sequence[Timing], prepared: float
    ) -> Measurement:
        """Return the figures of a cell; ``prepared``: seconds of building, compiling, capturing."""
        total = Figure(values=tuple(one.total for one in timings))
        stages = {}
        for name in timings[0].stages:
            seconds = tuple(one.stages[name] for one in timings)
            calls = steps if name == DIT else 1
            stages[name] = StageFigures(
                load=Figure(values=(0.0,)),
                compute=Figure(values=seconds),
                call=Figure(values=tuple(value / calls for value in seconds)),
                calls=calls,
            )
        return Measurement(
            threads=1,
            warmups=_WARM_UPS,
            repeats=len(timings),
            stages=stages,
            total=total,
            compute=total,
            first_audio=total,
            load_warm=Figure(values=(prepared,)),
            peak_bytes=Figure(values=(self.engine.peak_bytes(),)),
            audio_seconds=self.facts.seconds * way.batch,
        )

    def bundle(self, way: Way, steps: int, generation: Generation) -> BundleFacts:
        """Describe the networks as they ran, with the SNR of latent and audio to float32."""
        weights = dict(self.engine.weights())
        form = (way.dtype, "compiled" * way.compiled, "CUDA graphs" * generation.graphs)
        ratios: dict[str, float | None] = {}
        if exact := self.exact.get(steps):
            pairs = zip((DIT, DECODER), generation.results(), exact, strict=True)
            ratios = {name: snr_db(made, reference) for name, made, reference in pairs}
        return BundleFacts(
            name=self.facts.model,
            model_id=self.facts.model,
            recipe=", ".join(filter(None, form)),
            backend="torch",
            bytes=sum(weights.values()),
            digest=self.facts.digest,
            component_bytes=weights,
            precision={
                name: {name: "tf32" if name == CONDITIONER else way.dtype} for name in STAGES
            },
            snr_db={name: ratio for name, ratio in ratios.items() if ratio is not None},
        )


def snr_db(made: Array, exact: Array) -> float | None:
    """Return the signal-to-noise ratio in dB; ``None`` where equal or not finite."""
    noise = float(np.square(made.astype(np.float64) - exact).sum())
    signal = float(np.square(exact.astype(np.float64)).sum())
    if not np.isfinite(noise) or noise == 0 or signal == 0:
        return None
    return round(10 * float(np.log10(signal / noise)), 2)


def _line(result: BenchResult) -> str:
    """One cell for people: its way, median and spread, stages, memory, accuracy."""
    (one,) = result.measurements
    total = one.total
    stages = ", ".join(f"{name} {1e3 * s.compute.median:.2f}" for name, s in one.stages.items())
    ratio = result.bundle.snr_db.get(DECODER)
    return (
        f"{result.bundle.recipe}, batch {result.request.batch}, "
        f"{counted(result.request.steps, 'step')}: {1e3 * total.median:.1f} ms "
        f"({1e3 * total.minimum:.1f} .. {1e3 * total.maximum:.1f}, {counted(one.repeats, 'run')}); "
        f"ms {stages}; {one.peak_bytes.median / 1e9:.2f} GB; "
        f"SNR {'-' if ratio is None else f'{ratio:.1f}'} dB; {'; '.join(one.notes[1:])}"
    )
