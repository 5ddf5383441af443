"""Benchmark results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from arcmobile.bench.result import BenchResult, Figure, Measurement
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT

_LABELS = {CONDITIONER: "conditioner", DIT: "DiT", DECODER: "decoder"}
_CALLS = {DIT: "step", DECODER: "chunk"}


def measurement_tables(result: BenchResult) -> Iterator[Group]:
    """One table for each thread count, with a title above and what to know below."""
    environment = result.environment
    where = f"{environment.device} ({environment.target}, {environment.cpu})"
    what = f"{result.bundle.name}, {result.request.seconds:.2f} s of sound"
    steps = f"{result.request.steps} step{'s' * (result.request.steps > 1)}"
    yield Group(Text(f"{what}, {steps}, {result.runner.kind} runner\n{where}", style="bold"))
    for measurement in result.measurements:
        yield Group(_table(measurement), *_remarks(result, measurement))
    if len(result.measurements) > 1:
        yield Group(_sweep(result.measurements))


def _sweep(measurements: Sequence[Measurement]) -> Table:
    """The thread counts side by side."""
    table = Table(title="thread sweep", title_justify="left")
    all_clean = all(one.clean for one in measurements)
    for name in ("threads", "total s", "speed-up", "RTF", "peak MB", *([] if all_clean else [""])):
        table.add_column(name, justify="right", no_wrap=True)
    first = measurements[0].total.median
    for one in measurements:
        table.add_row(
            str(one.threads),
            _time(one.total.median),
            f"{first / one.total.median:.2f}" if one.total.median else "",
            f"{one.rtf:.3f}",
            f"{one.peak_bytes.median / 1e6:.0f}",
            *([] if all_clean else ["" if one.clean else "not clean"]),
        )
    return table


def _table(one: Measurement) -> Table:
    plural = "s" * (one.threads > 1)
    repeats = f"{one.repeats} run{'s' * (one.repeats > 1)}"
    table = Table(title=f"{one.threads} thread{plural}, {repeats}", title_justify="left")
    for name in ("", "median", "p90", "min", "max"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    table.add_column("peak MB", justify="right", no_wrap=True)
    for stage, figures in one.stages.items():
        peak = figures.peak_bytes
        megabytes = "" if peak is None else f"{peak.median / 1e6:.0f}"
        label = _LABELS.get(stage, stage)
        if figures.calls > 1:
            table.add_row(f"{label}, each {_CALLS.get(stage, 'call')}", *_seconds(figures.call))
            label = f"{label}, all {figures.calls}"
        table.add_row(label, *_seconds(figures.compute), megabytes)
    table.add_section()
    if one.load_cold is not None:
        table.add_row("load, cold", *_seconds(one.load_cold))
    table.add_row("load, warm", *_seconds(one.load_warm))
    table.add_row("first audio", *_seconds(one.first_audio))
    table.add_row("total", *_seconds(one.total), f"{one.peak_bytes.median / 1e6:.0f}")
    table.caption = f"seconds; RTF {one.rtf:.3f} (computing per second of sound)"
    table.caption_justify = "left"
    return table


def _seconds(figure: Figure) -> tuple[str, ...]:
    figures = (figure.median, figure.p90, figure.minimum, figure.maximum)
    return tuple(_time(value) for value in figures)


def _time(seconds: float) -> str:
    return f"{seconds:.{4 if seconds < 1 else 3 if seconds < 100 else 1}f}"


def _remarks(result: BenchResult, one: Measurement) -> Iterator[Text]:
    if result.environment.emulated:
        yield Text("emulated: the times are the emulator's, not a device's", style="yellow")
    elif one.conditions.throttled is None:
        yield Text("note: whether it throttled cannot be read here", style="dim")
    if not one.clean:
        yield Text("not clean: do not quote these figures", style="bold red")
    conditions = one.conditions
    if conditions.temperature_peak is not None:
        began = conditions.temperature_start
        start = f" from {began:.0f} °C" if began is not None else ""
        yield Text(f"CPU up to {conditions.temperature_peak:.0f} °C{start}", style="dim")
    if conditions.waited >= 1:
        yield Text(f"waited {conditions.waited:.0f} s for it to cool", style="dim")
    for note in (*one.notes, *conditions.notes):
        yield Text(f"note: {note}", style="dim")
