"""Geometry of the report's charts, in percent: the page places boxes and dots by it.

Charts are HTML elements rather than images: they grow with the page, their labels stay readable on
a phone, and colours follow the reader's theme. Everything here is plain numbers and labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from arcmobile.bench.result import Figure

_TICKS: Final = 4
_SMALLEST_SHARE: Final = 0.004  # thinner segments are folded into their neighbours' total
_LEAST_DEVIATION: Final = 0.02
_NOTHING: Final = 1e-9
"""Smaller figures are drawn as nothing: no axis could show them, no ratio to them means much."""


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in percent of the chart."""

    place: float
    label: str


@dataclass(frozen=True)
class Segment:
    """A part of a bar: ``width`` in percent of the chart; ``tone``, a class of the style sheet."""

    label: str
    value: str
    width: float
    tone: str


@dataclass(frozen=True)
class Bar:
    """One row: its total in words, and the segments that make it up."""

    label: str
    value: str
    segments: tuple[Segment, ...]
    muted: bool = False


@dataclass(frozen=True)
class BarChart:
    """Bars on one axis; without ticks where each fills the width."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    legend: tuple[tuple[str, str], ...]  # label, tone


@dataclass(frozen=True)
class Dot:
    """One repeat in a strip: its place in percent, and what it was."""

    place: float
    label: str


@dataclass(frozen=True)
class Strip:
    """Repeats of one figure around their median, which stands in the middle at 50 %."""

    label: str
    median: str
    dots: tuple[Dot, ...]
    spread: str


@dataclass(frozen=True)
class StripChart:
    """Strips on one axis of relative deviation."""

    strips: tuple[Strip, ...]
    reach: str  # what the left and right edges stand for, e.g. ``5 %``


@dataclass(frozen=True)
class LinePoint:
    """A point of a line chart in percent, with the range of its repeats."""

    x: float
    y: float  # from the top
    low: float
    high: float
    label: str
    tick: str


@dataclass(frozen=True)
class LineChart:
    """A figure over thread counts, and the line it would follow if threads shared it evenly."""

    points: tuple[LinePoint, ...]
    ideal: tuple[tuple[float, float], ...]
    ticks: tuple[Tick, ...]


def seconds(value: float) -> str:
    """Format as ``0.23 ms``, ``45 ms``, ``310 ms``, ``6.21 s``, ``62.1 s``."""
    if value < 1:
        milli = value * 1e3
        return f"{milli:.2g} ms" if milli < 10 else f"{milli:.0f} ms"
    if value < 10:
        return f"{value:.2f} s"
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def size(count: float) -> str:
    """Format bytes in decimal units: ``1.4 GB``, ``536 MB``, ``12 kB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            amount = count / factor
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"
    return f"{count:.0f} B"


def amount(count: float) -> str:
    """Format a count with its magnitude: ``1.2 G``, ``39.9 M``, ``812``."""
    for unit, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f}"


def percent(share: float) -> str:
    """Format a share as ``58 %``, ``6.7 %``, ``3 %``."""
    text = f"{100 * share:.{0 if share >= 0.1 else 1}f}"
    return f"{text.removesuffix('.0')} %"


def nice_top(largest: float) -> tuple[float, float]:
    """Return (end, step) of an axis that holds ``largest``; steps are 1, 2, 2.5 or 5 x 10^n."""
    if largest <= _NOTHING:
        return 1.0, 0.25
    raw = largest / _TICKS
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(f * magnitude for f in (1, 2, 2.5, 5, 10) if f * magnitude >= raw * (1 - 1e-9))
    return step * math.ceil(largest / step - 1e-9), step


def ticks(end: float, step: float) -> tuple[Tick, ...]:
    """Return the ticks of an axis from 0 to ``end``."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if step * 10**digits % 1 > 1e-9:  # 2.5
        digits += 1
    count = round(end / step)
    return tuple(Tick(100 * i / count, f"{i * step:.{digits}f}") for i in range(count + 1))


def stacked(
    rows: Sequence[tuple[str, Sequence[tuple[str, float, str, str]], str]],
    *,
    whole: bool = False,
    muted: frozenset[int] = frozenset(),
) -> BarChart:
    """Lay out bars of segments on one axis from 0.

    Args:
        rows: label, segments as (label, value, value in words, tone), total in words.
        whole: each bar fills the width: shares, no axis.
        muted: rows to draw faintly.
    """
    totals = [sum(value for _, value, _, _ in segments) for _, segments, _ in rows]
    end, step = nice_top(max(totals, default=0.0))
    bars: list[Bar] = []
    shown: set[str] = set()
    for index, (label, segments, total) in enumerate(rows):
        scale = totals[index] if whole else end
        parts = []
        for name, value, words, tone in segments:
            if scale > 0 and value / scale >= _SMALLEST_SHARE:
                parts.append(Segment(name, words, 100 * value / scale, tone))
                shown.add(name)
        bars.append(Bar(label, total, tuple(parts), muted=index in muted))
    tones = {name: tone for _, segments, _ in rows for name, _, _, tone in segments}
    legend = tuple((name, tone) for name, tone in tones.items() if name in shown)
    return BarChart(tuple(bars), () if whole else ticks(end, step), legend)


def strips(figures: Mapping[str, Figure]) -> StripChart | None:
    """Lay out repeats of figures, each around its own median; ``None`` with a single repeat."""
    shown = {n: f for n, f in figures.items() if len(f.values) > 1 and f.median > _NOTHING}
    if not shown:
        return None
    worst = max(abs(v / f.median - 1) for f in shown.values() for v in f.values)
    reach = nice_top(max(worst, _LEAST_DEVIATION))[0]
    return StripChart(
        tuple(
            Strip(
                label,
                seconds(figure.median),
                tuple(
                    Dot(50 + 50 * (value / figure.median - 1) / reach, f"run {i}: {seconds(value)}")
                    for i, value in enumerate(figure.values, 1)
                ),
                percent((figure.maximum - figure.minimum) / figure.median),
            )
            for label, figure in shown.items()
        ),
        percent(reach),
    )


def scaling(figures: Mapping[int, Figure]) -> LineChart | None:
    """Lay out a figure over thread counts; ``None`` with a single count."""
    counts = sorted(figures)
    if len(counts) < 2:
        return None
    end, step = nice_top(max(figure.maximum for figure in figures.values()))
    low, high = math.log2(counts[0]), math.log2(counts[-1])

    def across(threads: int) -> float:
        return 100 * (math.log2(threads) - low) / (high - low)

    def down(value: float) -> float:
        return 100 * (1 - value / end)

    first = figures[counts[0]].median
    return LineChart(
        points=tuple(
            LinePoint(
                across(n),
                down(figures[n].median),
                down(figures[n].minimum),
                down(figures[n].maximum),
                seconds(figures[n].median),
                f"{n}",
            )
            for n in counts
        ),
        ideal=tuple((across(n), down(first * counts[0] / n)) for n in counts),
        ticks=ticks(end, step),
    )
