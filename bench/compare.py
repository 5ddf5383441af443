"""Two results side by side: ratios, how much of them is noise, and whether it got worse.

Each figure is compared by the ratio of its medians, B over A. The bounds are the 95 % percentile
interval of that ratio when both sets of repeats are resampled (bootstrap: Efron and Tibshirani,
"An Introduction to the Bootstrap", chapter 13), with a fixed seed, so that a comparison repeats.
Bytes of files and counts of instructions are exact and have no bounds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

from arcmobile.bench.labels import counted
from arcmobile.bench.result import BenchResult, Figure, InstructionProfile, Measurement
from arcmobile.runtime.errors import InputError

DEFAULT_THRESHOLD: Final = 0.05
FEWEST_REPEATS: Final = 3  # below that nothing can be said about noise
_FEW_REPEATS: Final = 5
_DRAWS: Final = 4000
_SEED: Final = 20_250_214
_TAIL: Final = 0.025
_NOTHING: Final = 1e-9  # seconds; no ratio to less

Verdict = Literal["faster", "slower", "smaller", "larger", "same", "unclear"]
Unit = Literal["seconds", "bytes", "instructions"]


@dataclass(frozen=True)
class Row:
    """One figure of A and B; ``low`` and ``high`` bound the ratio B/A, ``None``: unknown.

    ``decides`` is false where a worse figure is shown but does not count as a regression.
    """

    name: str
    unit: Unit
    a: float
    b: float
    low: float | None
    high: float | None
    verdict: Verdict
    threads: int | None = None
    decides: bool = True

    @property
    def ratio(self) -> float:
        """B over A."""
        return self.b / self.a

    @property
    def regressed(self) -> bool:
        """Whether it got worse and counts."""
        return self.decides and self.verdict in ("slower", "larger")


@dataclass(frozen=True)
class Comparison:
    """The figures that A and B have in common, and notes on them."""

    threshold: float
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Row, ...]:
        """The rows that got worse and count."""
        return tuple(row for row in self.rows if row.regressed)


def unlike(a: BenchResult, b: BenchResult) -> tuple[str, ...]:
    """Return what makes a comparison unfair, a line each; recipes and bundles may differ."""
    pairs: dict[str, tuple[object, object]] = {
        "model": (a.bundle.model_id, b.bundle.model_id),
        "prompt": (a.request.prompt, b.request.prompt),
        "seconds": (a.request.seconds, b.request.seconds),
        "frames": (a.request.frames, b.request.frames),
        "steps": (a.request.steps, b.request.steps),
        "batch": (a.request.batch, b.request.batch),
        "seed": (a.request.seed, b.request.seed),
        "target": (a.environment.target, b.environment.target),
        "CPU": (a.environment.cpu, b.environment.cpu),
        "architecture": (a.environment.architecture, b.environment.architecture),
        "emulated": (a.environment.emulated, b.environment.emulated),
        "runner": (a.runner.kind, b.runner.kind),
    }
    return tuple(f"{name}: {one!r} and {two!r}" for name, (one, two) in pairs.items() if one != two)


def compare(
    a: BenchResult,
    b: BenchResult,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    allow_unlike: bool = False,
) -> Comparison:
    """Compare B with A; worse is what exceeds both the threshold and the noise.

    Raises:
        InputError: the results are unlike (see :func:`unlike`) or have no figure in common.
    """
    if not 0 <= threshold < 10:
        raise InputError(f"--threshold {threshold:g}: give a share such as 5% or 0.05")
    differences = unlike(a, b)
    if differences and not allow_unlike:
        raise InputError(
            f"unlike runs: {'; '.join(differences)}; measure both alike, or give --allow-unlike"
        )
    instructions = tuple(_instruction_rows(a, b, threshold))
    # Wall time under emulation is the emulator's; where instructions were counted, they decide.
    timed = not (instructions and (a.environment.emulated or b.environment.emulated))
    pairs = _pairs(a, b)
    rows = [row for one, two in pairs for row in _measured_rows(one, two, threshold, timed)]
    if not rows and not instructions:
        raise InputError("nothing to compare: the results have no thread count in common")
    size = _exact("bundle size", "bytes", a.bundle.bytes, b.bundle.bytes, threshold)
    notes = [f"unlike runs, {difference}" for difference in differences]
    notes += _notes(a, b, pairs, timed=timed)
    return Comparison(threshold, (*rows, *instructions, size), tuple(notes))


def ratio_bounds(a: Sequence[float], b: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval of median(b) / median(a); ``None`` with few values."""
    if min(len(a), len(b)) < FEWEST_REPEATS:
        return None
    draw = random.Random(_SEED)
    ratios = []
    for _ in range(_DRAWS):
        bottom = median(draw.choices(a, k=len(a)))
        if bottom > _NOTHING:
            ratios.append(median(draw.choices(b, k=len(b))) / bottom)
    if not ratios:
        return None
    ratios.sort()
    last = len(ratios) - 1
    return ratios[round(_TAIL * last)], ratios[round((1 - _TAIL) * last)]


def _pairs(a: BenchResult, b: BenchResult) -> list[tuple[Measurement, Measurement]]:
    others = {one.threads: one for one in b.measurements}
    return [(one, others[one.threads]) for one in a.measurements if one.threads in others]


def _measured_rows(a: Measurement, b: Measurement, threshold: float, timed: bool) -> Iterator[Row]:
    def row(name: str, one: Figure, two: Figure, unit: Unit, decides: bool) -> Iterator[Row]:
        if min(one.median, two.median) > _NOTHING:
            yield _noisy(name, unit, one, two, threshold, a.threads, decides)

    for stage in (name for name in a.stages if name in b.stages):
        yield from row(stage, a.stages[stage].compute, b.stages[stage].compute, "seconds", timed)
    # The speed of a disk says nothing about the bundle.
    if a.load_cold is not None and b.load_cold is not None:
        yield from row("load, cold", a.load_cold, b.load_cold, "seconds", False)
    yield from row("load, warm", a.load_warm, b.load_warm, "seconds", timed)
    yield from row("first audio", a.first_audio, b.first_audio, "seconds", timed)
    yield from row("total", a.total, b.total, "seconds", timed)
    yield from row("peak memory", a.peak_bytes, b.peak_bytes, "bytes", True)


def _instruction_rows(a: BenchResult, b: BenchResult, threshold: float) -> Iterator[Row]:
    others = {profile.cpu: profile for profile in b.instructions}
    for one in a.instructions:
        if two := others.get(one.cpu):
            total_a, total_b = _total(one), _total(two)
            for stage in (name for name in one.stages if name in two.stages):
                counts = one.stages[stage].total, two.stages[stage].total
                if all(counts):
                    name = f"instructions, {stage}, {one.cpu}"
                    yield _exact(name, "instructions", *counts, threshold, decides=False)
            if total_a and total_b:
                name = f"instructions, {one.cpu}"
                yield _exact(name, "instructions", total_a, total_b, threshold)


def _total(profile: InstructionProfile) -> int:
    return sum(stage.total for stage in profile.stages.values())


def _noisy(
    name: str, unit: Unit, a: Figure, b: Figure, threshold: float, threads: int, decides: bool
) -> Row:
    bounds = ratio_bounds(a.values, b.values)
    low, high = bounds or (None, None)
    verdict = _verdict(unit, b.median / a.median, low, high, threshold)
    return Row(name, unit, a.median, b.median, low, high, verdict, threads, decides)


def _exact(name: str, unit: Unit, a: int, b: int, threshold: float, *, decides: bool = True) -> Row:
    ratio = b / a
    verdict = _verdict(unit, ratio, ratio, ratio, threshold)
    return Row(name, unit, a, b, ratio, ratio, verdict, decides=decides)


def _verdict(
    unit: Unit, ratio: float, low: float | None, high: float | None, threshold: float
) -> Verdict:
    if low is None or high is None:
        return "unclear"
    worse = ratio > 1 + threshold and low > 1
    better = ratio < 1 / (1 + threshold) and high < 1
    if unit == "seconds":
        return "slower" if worse else "faster" if better else "same"
    return "larger" if worse else "smaller" if better else "same"


def _notes(
    a: BenchResult,
    b: BenchResult,
    pairs: Sequence[tuple[Measurement, Measurement]],
    *,
    timed: bool,
) -> Iterator[str]:
    fewest = min((one.repeats for pair in pairs for one in pair), default=_FEW_REPEATS)
    if fewest < FEWEST_REPEATS:
        yield (
            f"{counted(fewest, 'repeat')}: too few to tell a change from noise; "
            f"measure with --repeats {_FEW_REPEATS} or more"
        )
    elif fewest < _FEW_REPEATS:
        yield f"{fewest} repeats: the bounds are wide; more repeats narrow them"
    for name, result in (("A", a), ("B", b)):
        for one in result.measurements:
            if not one.clean:
                why = "; ".join(one.conditions.notes) or "see its notes"
                yield f"{name}, {counted(one.threads, 'thread')}: not clean ({why})"
    shared = {one.threads for one, _ in pairs}
    alone = {one.threads for result in (a, b) for one in result.measurements} - shared
    if alone:
        yield f"thread counts of one side only are left out: {', '.join(map(str, sorted(alone)))}"
    if a.environment.emulated or b.environment.emulated:
        yield "emulated: the times are the emulator's" + (
            "" if timed else ", so the instruction counts decide"
        )
    if a.arcmobile != b.arcmobile:
        yield f"measured by arcmobile {a.arcmobile} and {b.arcmobile}"
