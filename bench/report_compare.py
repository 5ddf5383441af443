"""Results side by side, and predictions next to what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from arcmobile.bench import charts
from arcmobile.bench.charts import BarChart, size
from arcmobile.bench.charts import seconds as duration
from arcmobile.bench.labels import counted, result_letter, stage_label, stage_tone
from arcmobile.bench.prediction_record import PredictionRecord
from arcmobile.bench.result import BenchResult, Measurement

_MULTIPLES_FROM: Final = 2
_SHORTEST: Final = 1e-9  # seconds; no ratio to less


@dataclass(frozen=True)
class Comparison:
    """The same figure of several results."""

    name: str
    chart: BarChart


@dataclass(frozen=True)
class Forecast:
    """A prediction next to what was measured; computing time, without loading."""

    title: str
    verdict: str
    chart: BarChart
    notes: tuple[str, ...]
    checks: tuple[str, ...]


def comparisons(results: Sequence[BenchResult]) -> tuple[Comparison, ...]:
    """Lay out bars side by side, a chart for each figure that at least two results have.

    Times and memory of an emulator are left out: on one axis with a device's they would mislead.
    """
    measured: tuple[tuple[str, Callable[[Measurement], float], Callable[[float], str]], ...] = (
        ("prompt to sound", lambda one: one.total.median, duration),
        ("first audio", lambda one: one.first_audio.median, duration),
        ("real-time factor", lambda one: one.rtf, lambda value: f"{value:.2f}"),
        ("peak memory", lambda one: one.peak_bytes.median, size),
    )
    best = [None if result.environment.emulated else result.best for result in results]
    found = []
    for name, figure, words in measured:
        values = [(i, figure(one), one.clean) for i, one in enumerate(best) if one is not None]
        if len(values) > 1:
            found.append(_comparison(name, values, words))
    sizes = [(i, float(result.bundle.bytes), True) for i, result in enumerate(results)]
    return (*found, _comparison("size", sizes, size))


def _comparison(
    name: str, values: list[tuple[int, float, bool]], words: Callable[[float], str]
) -> Comparison:
    """Values are (index of the result, figure, whether it is clean)."""
    rows = [
        (result_letter(i), [(name, value, words(value), "accent")], words(value))
        for i, value, _ in values
    ]
    muted = frozenset(row for row, (_, _, clean) in enumerate(values) if not clean)
    return Comparison(name, replace(charts.stacked(rows, muted=muted), ticks=(), legend=()))


def emulated_letters(results: Sequence[BenchResult]) -> str:
    """Return the letters of the results that come from an emulator: ``C, D``."""
    letters = (result_letter(i) for i, one in enumerate(results) if one.environment.emulated)
    return ", ".join(letters)


def forecast(prediction: PredictionRecord, results: Sequence[BenchResult]) -> Forecast:
    """Lay out a prediction's stages with those of each result, at its thread count if measured."""
    rows = []
    verdicts = []
    for i, result in enumerate(results):
        measured = _at(result, prediction.threads)
        if measured is None:
            continue
        stages = [(name, stage.compute.median) for name, stage in measured.stages.items()]
        label = result_letter(i) if len(results) > 1 else "measured"
        rows.append(_row(f"{label}, {counted(measured.threads, 'thread')}", stages))
        verdicts.append(
            f"{label}: {_verdict(prediction.expected_seconds, measured.compute.median)}"
        )
    predicted = prediction.stages.items()
    rows.append(_row("expected", [(name, one.expected_seconds) for name, one in predicted]))
    rows.append(_row("at best", [(name, one.optimistic_seconds) for name, one in predicted]))
    return Forecast(
        title=f"{prediction.title}, {counted(prediction.threads, 'thread')}, {prediction.recipe}",
        verdict="; ".join(verdicts) or f"expected {duration(prediction.expected_seconds)}",
        chart=charts.stacked(rows),
        notes=prediction.assumptions,
        checks=tuple(f"{check.title}: {check.says}" for check in prediction.checks),
    )


def _verdict(predicted: float, measured: float) -> str:
    """``6.33 s, the prediction is 16 % low``; multiples where percent would mislead."""
    words = duration(measured)
    if min(measured, predicted) < _SHORTEST:
        return words
    ratio = predicted / measured
    if max(ratio, 1 / ratio) >= _MULTIPLES_FROM:
        side = "high" if ratio > 1 else "low"
        return f"{words}, the prediction is too {side} by a factor of {max(ratio, 1 / ratio):.1f}"
    share = charts.percent(abs(ratio - 1))
    return f"{words}, the prediction is {share} {'high' if ratio > 1 else 'low'}"


def _at(result: BenchResult, count: int) -> Measurement | None:
    same = [one for one in result.measurements if one.threads == count]
    return same[0] if same else result.best


def _row(
    label: str, stages: Sequence[tuple[str, float]]
) -> tuple[str, list[tuple[str, float, str, str]], str]:
    segments = [
        (stage_label(name), value, duration(value), stage_tone(name)) for name, value in stages
    ]
    return label, segments, duration(sum(value for _, value in stages))
