"""Benchmark results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from arcmobile.bench.compare import compare
from arcmobile.bench.labels import call_label, counted, stage_label
from arcmobile.bench.result import BenchResult, Figure, Measurement
from arcmobile.runtime.tensors import DECODER, DIT

_RESULT_COLUMNS = (
    *("bundle MB", "export min", "export peak GB", "whole s", "DiT step s", "decode s"),
    *("first audio s", "peak MB"),
)


def measurement_tables(result: BenchResult) -> Iterator[Group]:
    """One table for each thread count, with a title above and what to know below."""
    environment = result.environment
    where = f"{environment.device} ({environment.target}, {environment.cpu})"
    what = f"{result.bundle.name}, {result.request.seconds:.2f} s of sound"
    steps = counted(result.request.steps, "step")
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
    title = f"{counted(one.threads, 'thread')}, {counted(one.repeats, 'run')}"
    table = Table(title=title, title_justify="left")
    for name in ("", "median", "p90", "min", "max"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    table.add_column("peak MB", justify="right", no_wrap=True)
    for stage, figures in one.stages.items():
        peak = figures.peak_bytes
        megabytes = "" if peak is None else f"{peak.median / 1e6:.0f}"
        label = stage_label(stage)
        if figures.calls > 1:
            table.add_row(f"{label}, each {call_label(stage)}", *_seconds(figures.call))
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


def results_table(results: Sequence[BenchResult]) -> Table:
    """Exports and generations side by side, in Markdown; medians of each result's best run."""
    table = Table(box=box.MARKDOWN)
    table.add_column("bundle")
    for name in _RESULT_COLUMNS:
        table.add_column(name, justify="right")
    for result in results:
        if (one := result.best) is None:
            continue
        export = result.export
        table.add_row(
            f"{result.bundle.backend}, {result.bundle.recipe}, {result.runner.kind} runner",
            f"{result.bundle.bytes / 1e6:.0f}",
            f"{export.seconds / 60:.1f}" if export else "",
            f"{export.peak_bytes / 1e9:.1f}" if export else "",
            f"{one.total.median:.2f}",
            f"{one.stages[DIT].call.median:.3f}",
            f"{one.stages[DECODER].compute.median:.2f}",
            f"{one.first_audio.median:.2f}",
            f"{one.peak_bytes.median / 1e6:.0f}",
        )
    return table


def ratio_table(results: Sequence[BenchResult]) -> Table:
    """Each result's medians over those of the first, with 95 % bounds, in Markdown."""
    reference, *others = results
    table = Table(box=box.MARKDOWN)
    table.add_column(f"ratio to {reference.bundle.backend}, {reference.bundle.recipe}")
    rows: dict[str, list[str]] = {}
    for other in others:
        table.add_column(f"{other.bundle.backend}, {other.bundle.recipe}", justify="right")
        for row in compare(reference, other, allow_unlike=True).rows:
            exact = row.low is None or row.low == row.high
            bounds = "" if exact else f" ({row.low:.2f} .. {row.high:.2f})"
            rows.setdefault(stage_label(row.name), []).append(f"{row.ratio:.2f}x{bounds}")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table
