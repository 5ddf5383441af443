"""The protocol of a measurement: cold loads, warm-ups, then repeats, each in a fresh process.

Thread counts and bundles take turns within each round, and another one begins each round, so that a
drift of the device affects all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from statistics import median
from typing import Final

from arcmobile.bench.device_state import DeviceState, conditions_of, highest_limits
from arcmobile.bench.labels import STAGES, counted
from arcmobile.bench.result import (
    BenchResult,
    BundleFacts,
    Conditions,
    Environment,
    Figure,
    InstructionProfile,
    Measurement,
    OperatorProfile,
    RequestFacts,
    RunnerFacts,
    StageFigures,
)
from arcmobile.bench.runner_stats import NativeStats, PythonStats
from arcmobile.bench.targets.base import RunRecord, RunRequest, Target
from arcmobile.runtime.backends import BACKENDS
from arcmobile.runtime.bounds import THREADS
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.errors import ArcMobileError, InputError
from arcmobile.runtime.request import GenerationRequest, Plan, make_plan

DEFAULT_PROMPT: Final = "warm analog synth pad, soft rain in the background"
PHONE_COOL_CELSIUS: Final = 40.0  # a phone at rest in a room of 20 to 25 degrees is below
_COLD_RUNS: Final = 3
_COLD_STEPS: Final = 1  # loading is all that counts of a cold run
_WIDE_SPREAD: Final = 0.25


@dataclass(frozen=True)
class Protocol:
    """How often to run, and at which thread counts, in this order."""

    threads: tuple[int, ...] = (1,)
    warmups: int = 1
    repeats: int = 5
    cold_runs: int = _COLD_RUNS

    def __post_init__(self) -> None:
        if not self.threads or not all(1 <= count <= THREADS for count in self.threads):
            raise InputError(f"--threads: give counts from 1 to {THREADS}, e.g. 1,2,4")
        if len(set(self.threads)) < len(self.threads):
            raise InputError("--threads: give each count once")
        if self.repeats < 1 or self.warmups < 0:
            raise InputError("--repeats: give 1 or more; --warmup: 0 or more")

    @property
    def cold_loads(self) -> int:
        """Cold runs per thread count: no more than repeats."""
        return min(self.cold_runs, self.repeats)

    def runs(self, *, cold: bool) -> int:
        """Return how often one thread count runs; ``cold``: whether the target has cold loads."""
        return (self.cold_loads if cold else 0) + self.warmups + self.repeats


@dataclass(frozen=True)
class Cooling:
    """When a device counts as cool: no throttling, and no CPU sensor above ``celsius`` if given.

    One wait lasts ``longest`` seconds at most, with a look every ``interval`` seconds.
    """

    celsius: float | None
    longest: float = 300.0
    interval: float = 5.0

    def is_cool(self, state: DeviceState) -> bool:
        """Tell whether the device may run."""
        hottest = state.hottest
        too_warm = self.celsius is not None and hottest is not None and hottest > self.celsius
        return not too_warm and not state.throttling_now()


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` runs are over; ``doing`` says what comes now."""

    done: int
    total: int
    doing: str


Report = Callable[[Progress], None]
Keep = Callable[[BenchResult], None]


@dataclass
class _Series:
    """What was gathered at one thread count."""

    cold_loads: list[float] = field(default_factory=list)
    records: list[RunRecord] = field(default_factory=list)
    waited: float = 0.0
    notes: list[str] = field(default_factory=list)


@dataclass
class _Counter:
    """Runs that are done, of all that will be."""

    report: Report
    total: int = 0
    done: int = 0

    def say(self, doing: str) -> None:
        self.report(Progress(self.done, self.total, doing))


@dataclass
class _Session:
    """One bundle under measurement on an opened target; ``label`` precedes what it reports."""

    target: Target
    bundle: Bundle
    request: GenerationRequest
    plan: Plan
    series: Mapping[int, _Series]
    cooling: Cooling | None
    counter: _Counter
    label: str = ""
    gave_up: bool = False

    def run(self, threads: int, doing: str, *, cold: bool = False) -> RunRecord:
        """Run once, as soon as the device is cool."""
        series = self.series[threads]
        self._cool(series)
        self.counter.say(f"{self.label}{doing}, {counted(threads, 'thread')}")
        steps = _COLD_STEPS if cold else len(self.plan.times) - 1
        request = RunRequest(
            self.request.prompt, self.request.seconds, steps, self.plan.seed, threads
        )
        record = self.target.run(request, cold=cold)
        self.counter.done += 1
        return record

    def _cool(self, series: _Series) -> None:
        """Wait until the device is cool; after one wait in vain, no more."""
        if self.cooling is None or self.gave_up:
            return
        begin = time.monotonic()
        while not self.cooling.is_cool(state := self.target.state()):
            waited = time.monotonic() - begin
            reason = _warmth(state, self.cooling.celsius)
            if waited >= self.cooling.longest:
                self.gave_up = True
                series.notes.append(f"did not cool down in {waited:.0f} s ({reason})")
                break
            self.counter.say(f"cooling: {reason}, {waited:.0f} s")
            time.sleep(self.cooling.interval)
        series.waited += time.monotonic() - begin

    def result(self, warmups: int) -> BenchResult:
        """The result of what has run at each thread count, at least once at one of them."""
        measured = {threads: one for threads, one in self.series.items() if one.records}
        environment = self.target.environment()
        records = [record for one in measured.values() for record in one.records]
        limits = highest_limits(record.states for record in records)
        measurements = tuple(
            _measurement(threads, one, warmups, limits, self.target, environment)
            for threads, one in measured.items()
        )
        backend = self.bundle.manifest.backend
        runner = runner_facts(self.target, records[0].stats, backend)
        return bench_result(
            self.bundle, self.request, self.plan, runner, environment, measurements=measurements
        )


def measure(
    target: Target,
    bundle: Bundle,
    request: GenerationRequest,
    protocol: Protocol,
    *,
    cooling: Cooling | None = None,
    report: Report = lambda progress: None,
    keep: Keep = lambda result: None,
) -> BenchResult:
    """Measure ``bundle`` on a target; see :func:`measure_in_turns`."""
    (result,) = measure_in_turns(
        [(target, bundle)], request, protocol, cooling=cooling, report=report, keep=keep
    )
    return result


def measure_in_turns(
    contenders: Sequence[tuple[Target, Bundle]],
    request: GenerationRequest,
    protocol: Protocol,
    *,
    cooling: Cooling | None = None,
    report: Report = lambda progress: None,
    keep: Keep = lambda result: None,
) -> list[BenchResult]:
    """Measure each bundle on its target; within a round, all of them take turns.

    Args:
        contenders: targets, which are opened and closed here, and what runs on each.
        request: the sound to generate; needs a seed.
        protocol: how often to run, and with which thread counts.
        cooling: when a device counts as cool; ``None``: never wait.
        report: called before every run.
        keep: called with a result, marked as not clean, of the repeats that were done when a
            failure or Ctrl-C ended the measurement; the error goes on afterwards.

    Returns:
        A result for each contender, in their order.

    Raises:
        InputError: the request does not fit a bundle, or a target its bundle's backend.
        ArcMobileError: a machine or a runner failed.
        KeyboardInterrupt: the user stopped it.
    """
    counter = _Counter(report)
    sessions = []
    with ExitStack() as stack:
        for target, bundle in contenders:
            plan = make_plan(request, bundle.manifest)
            series = {threads: _Series() for threads in protocol.threads}
            label = f"{bundle.folder.name}: " if len(contenders) > 1 else ""
            counter.total += len(series) * protocol.runs(cold=target.can_drop_cache)
            counter.say(f"{label}reaching {target.kind}, copying runner and bundle")
            stack.enter_context(target)
            target.prepare(bundle)
            sessions.append(
                _Session(target, bundle, request, plan, series, cooling, counter, label)
            )
        try:
            _run_all(sessions, protocol)
        except (ArcMobileError, KeyboardInterrupt) as error:
            why = f"broken off after {counter.done} of {counter.total} runs: "
            for session in sessions:
                if any(one.records for one in session.series.values()):
                    for one in session.series.values():
                        one.notes.append(why + (str(error) or "stopped"))
                    keep(session.result(protocol.warmups))
            raise
        results = [session.result(protocol.warmups) for session in sessions]
    counter.say("done")
    return results


def bench_result(
    bundle: Bundle,
    request: GenerationRequest,
    plan: Plan,
    runner: RunnerFacts,
    environment: Environment,
    *,
    measurements: tuple[Measurement, ...] = (),
    instructions: tuple[InstructionProfile, ...] = (),
    operators: tuple[OperatorProfile, ...] = (),
) -> BenchResult:
    """Make the result of a run on ``bundle``; ``plan`` is that of ``request`` on its manifest."""
    return BenchResult(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        arcmobile=metadata.version("arcmobile"),
        runner=runner,
        bundle=bundle_facts(bundle),
        request=RequestFacts(
            prompt=request.prompt,
            seconds=plan.samples / bundle.manifest.audio.sample_rate,
            steps=len(plan.times) - 1,
            seed=plan.seed,
            frames=plan.frames,
        ),
        environment=environment,
        measurements=measurements,
        instructions=instructions,
        operators=operators,
    )


def _run_all(sessions: Sequence[_Session], protocol: Protocol) -> None:
    """All runs, in order: cold loads, warm-ups, then rounds of repeats."""
    turns = [(session, threads) for session in sessions for threads in session.series]
    for session, threads in turns:
        cold_runs = protocol.cold_loads if session.target.can_drop_cache else 0
        for index in range(cold_runs):
            record = session.run(threads, f"cold load {index + 1}/{cold_runs}", cold=True)
            loads = session.series[threads].cold_loads
            loads.append(sum(record.stats.load_seconds.values()))
    for session, threads in turns:
        for index in range(protocol.warmups):
            session.run(threads, f"warm-up {index + 1}/{protocol.warmups}")
    for index in range(protocol.repeats):
        first = index % len(turns)  # another one begins each round
        for session, threads in (*turns[first:], *turns[:first]):
            record = session.run(threads, f"repeat {index + 1}/{protocol.repeats}")
            session.series[threads].records.append(record)


def _measurement(
    threads: int,
    one: _Series,
    warmups: int,
    limits: Mapping[str, int],
    target: Target,
    environment: Environment,
) -> Measurement:
    stats = [record.stats for record in one.records]
    states = [record.states for record in one.records]
    conditions = conditions_of(states, limits, waited=one.waited, notes=one.notes)
    total = Figure(values=tuple(s.total_seconds for s in stats))
    notes = _notes(threads, total, stats[0], target, environment)
    return Measurement(
        threads=threads,
        warmups=warmups,
        repeats=len(stats),
        stages={stage: _stage(stage, stats) for stage in STAGES},
        total=total,
        compute=Figure(values=tuple(s.compute_seconds for s in stats)),
        first_audio=Figure(values=tuple(s.first_audio_seconds for s in stats)),
        load_warm=Figure(values=tuple(sum(s.load_seconds.values()) for s in stats)),
        load_cold=Figure(values=tuple(one.cold_loads)) if one.cold_loads else None,
        peak_bytes=Figure(values=tuple(s.peak_bytes for s in stats)),
        audio_seconds=stats[0].seconds,
        conditions=conditions,
        clean=is_clean(conditions, cooled=not one.notes),
        notes=notes,
    )


def is_clean(conditions: Conditions, *, cooled: bool) -> bool:
    """Tell whether the figures may stand for the device: no throttling, and a cool start."""
    return conditions.throttled is not True and cooled


def _stage(stage: str, stats: Sequence[PythonStats]) -> StageFigures:
    calls = [one.calls(stage) for one in stats]
    peaks = [one.peak_memory_bytes.get(stage, 0) for one in stats]
    return StageFigures(
        load=Figure(values=tuple(one.load_seconds[stage] for one in stats)),
        compute=Figure(values=tuple(sum(each) for each in calls)),
        call=Figure(values=tuple(median(each) for each in calls)),
        calls=len(calls[0]),
        peak_bytes=Figure(values=tuple(peaks)) if all(peaks) else None,
    )


def _notes(
    threads: int, total: Figure, stats: PythonStats, target: Target, environment: Environment
) -> tuple[str, ...]:
    notes = []
    if threads > (cores := environment.cores):
        notes.append(
            f"{counted(threads, 'thread')} on {counted(cores, 'core')}: threads wait for cores"
        )
    spread = (total.maximum - total.minimum) / total.median if total.median else 0.0
    if spread > _WIDE_SPREAD:
        notes.append(f"runs differ by {spread:.0%}: the machine is busy or changes its clock")
    if target.runner == "python":
        notes.append("peak memory includes Python and its libraries")
    if environment.emulated:
        notes.append("peak memory includes the emulator")
    notes += stats.warnings
    return tuple(notes)


def _warmth(state: DeviceState, limit: float | None) -> str:
    if state.hottest is not None and limit is not None and state.hottest > limit:
        return f"{state.hottest:.0f} °C, waiting for {limit:.0f} °C"
    return ", ".join(state.throttling_now()) or "cool"


def runner_facts(target: Target, stats: PythonStats, backend: str) -> RunnerFacts:
    """Describe what ran the bundle on a target, from the figures of one run."""
    if isinstance(stats, NativeStats):
        versions = {
            "arcmobile-run": stats.runner.version,
            "executorch": stats.runner.executorch,
            "abi": stats.runner.abi,
        }
    else:
        package = BACKENDS[backend].distribution
        versions = {name: metadata.version(name) for name in ("arcmobile", package)}
    return RunnerFacts(kind=target.runner, versions=versions)


def bundle_facts(bundle: Bundle) -> BundleFacts:
    """Describe the bundle, from its manifest."""
    manifest = bundle.manifest
    components = manifest.components
    return BundleFacts(
        name=bundle.folder.resolve().name,
        model_id=manifest.model_id,
        license_notice=manifest.license_notice,
        recipe=manifest.recipe,
        backend=manifest.backend,
        bytes=bundle.size,
        digest=bundle.digest,
        component_bytes={name: component.bytes for name, component in components.items()},
        precision={name: component.precision for name, component in components.items()},
        snr_db={name: component.fidelity.snr_db for name, component in components.items()},
    )
