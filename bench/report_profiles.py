"""Instruction and operator profiles, as the report shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from arcmobile.bench import charts
from arcmobile.bench.charts import BarChart
from arcmobile.bench.charts import seconds as duration
from arcmobile.bench.instructions import CLASSES
from arcmobile.bench.labels import component_label, stage_label
from arcmobile.bench.result import InstructionProfile, OperatorProfile

_OPERATORS: Final = 8
_LEAST_SHARE: Final = 0.01
_SHORTEST: Final = 1e-9  # seconds; no shares of less


@dataclass(frozen=True)
class InstructionSection:
    """One emulated CPU: the mix of each stage, and what its products are made of."""

    cpu: str
    total: str
    chart: BarChart
    products: str
    hidden: str  # stages too short to show


@dataclass(frozen=True)
class OperatorSection:
    """One component: the share of the delegate, and its slowest operators."""

    component: str
    delegated: str
    chart: BarChart
    hidden: int


def instruction_sections(
    profiles: Sequence[InstructionProfile],
) -> tuple[InstructionSection, ...]:
    """Lay out a bar per stage, its segments the shares of the classes."""
    sections = []
    for profile in profiles:
        total = sum(stage.total for stage in profile.stages.values())
        rows, hidden = [], []
        for name, stage in profile.stages.items():
            if stage.total < max(1, _LEAST_SHARE * total):
                hidden.append(stage_label(name))
                continue
            segments = [
                (
                    _name(kind),
                    float(count),
                    f"{charts.amount(count)}, {charts.percent(count / stage.total)}",
                    CLASSES[kind].tone if kind in CLASSES else "rest-2",
                )
                for kind, count in sorted(stage.classes.items(), key=lambda item: _rank(item[0]))
            ]
            rows.append((stage_label(name), segments, charts.amount(stage.total)))
        if rows:
            chart = charts.stacked(rows, whole=True)
            order = {_name(kind): _rank(kind) for kind in CLASSES}
            legend = sorted(chart.legend, key=lambda item: order.get(item[0], len(order)))
            sections.append(
                InstructionSection(
                    profile.cpu,
                    charts.amount(total),
                    replace(chart, legend=tuple(legend)),
                    _products(profile),
                    ", ".join(hidden),
                )
            )
    return tuple(sections)


def _name(kind: str) -> str:
    return CLASSES[kind].label if kind in CLASSES else kind


def _rank(kind: str) -> int:
    return list(CLASSES).index(kind) if kind in CLASSES else len(CLASSES)


def _products(profile: InstructionProfile) -> str:
    """``SDOT 5.6 M, FMLA 1.2 M``: the instructions that multiply, over all stages."""
    counts: dict[str, int] = {}
    for stage in profile.stages.values():
        for kind, one in CLASSES.items():
            if one.kernel:
                counts[kind] = counts.get(kind, 0) + stage.classes.get(kind, 0)
    ranked = sorted((count, kind) for kind, count in counts.items() if count)
    short = (f"{_name(kind).split(',')[0]} {charts.amount(n)}" for n, kind in reversed(ranked))
    return ", ".join(short) or "none"


def operator_sections(profiles: Sequence[OperatorProfile]) -> tuple[OperatorSection, ...]:
    """Lay out bars of the slowest operators, inside the delegate and outside."""
    sections = []
    for profile in profiles:
        if not profile.operators or profile.total < _SHORTEST:
            continue
        shown = profile.operators[:_OPERATORS]
        rows = [
            (
                f"{one.name}, {one.calls}×" if one.calls > 1 else one.name,
                [
                    (
                        "inside XNNPACK" if one.delegated else "outside",
                        one.seconds,
                        duration(one.seconds),
                        "accent" if one.delegated else "outside",
                    )
                ],
                f"{duration(one.seconds)}, {charts.percent(one.seconds / profile.total)}",
            )
            for one in shown
        ]
        sections.append(
            OperatorSection(
                component=component_label(profile.component),
                delegated=charts.percent(min(1.0, profile.delegated / profile.total)),
                chart=replace(charts.stacked(rows), ticks=()),
                hidden=len(profile.operators) - len(shown),
            )
        )
    return tuple(sections)
