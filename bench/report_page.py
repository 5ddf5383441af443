"""The report's page: words, and charts as geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from arcmobile.bench import charts
from arcmobile.bench.charts import BarChart, LineChart, StripChart, size
from arcmobile.bench.charts import seconds as duration
from arcmobile.bench.labels import (
    call_label,
    component_label,
    counted,
    result_letter,
    stage_label,
    stage_tone,
)
from arcmobile.bench.prediction_record import PredictionRecord
from arcmobile.bench.report_compare import (
    Comparison,
    Forecast,
    comparisons,
    emulated_letters,
    forecast,
)
from arcmobile.bench.report_profiles import (
    InstructionSection,
    OperatorSection,
    instruction_sections,
    operator_sections,
)
from arcmobile.bench.result import BenchResult, Figure, Measurement
from arcmobile.runtime.backends import BACKENDS

_DIGEST_SHOWN: Final = 16
_MINUTES_END: Final = 16  # of an ISO 8601 time


@dataclass(frozen=True)
class Tile:
    """A headline figure."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Notice:
    """What a reader must know before believing a time."""

    title: str
    details: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A row of a table; ``strong`` rows stand out."""

    cells: tuple[str, ...]
    strong: bool = False


@dataclass(frozen=True)
class Section:
    """All about one result. Charts and tables are ``None`` or empty where nothing was measured."""

    letter: str
    title: str
    subtitle: str
    warnings: tuple[Notice, ...]
    tiles: tuple[Tile, ...]
    timeline: BarChart | None
    latency: tuple[Row, ...]
    latency_note: str
    repeats: StripChart | None
    scaling: LineChart | None
    memory: BarChart | None
    components: tuple[Row, ...]
    instructions: tuple[InstructionSection, ...]
    operators: tuple[OperatorSection, ...]
    card: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Page:
    """The whole page; ``emulated``: letters of the results whose times are not compared."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    comparisons: tuple[Comparison, ...]
    emulated: str
    forecasts: tuple[Forecast, ...]
    license_notice: str


def build_page(
    results: Sequence[BenchResult], predictions: Sequence[PredictionRecord] = ()
) -> Page:
    """Lay out the page, in words and in percent."""
    several = len(results) > 1
    models = list(dict.fromkeys(result.bundle.model_id for result in results))
    notices = [result.bundle.license_notice for result in results if result.bundle.license_notice]
    return Page(
        title=", ".join(models),
        subtitle=_subtitle(results[0]) if not several else f"{len(results)} results compared",
        sections=tuple(
            _section(result, result_letter(i) if several else "")
            for i, result in enumerate(results)
        ),
        comparisons=comparisons(results) if several else (),
        emulated=emulated_letters(results),
        forecasts=tuple(forecast(prediction, results) for prediction in predictions),
        license_notice=" ".join(dict.fromkeys(notices)),
    )


def _date(created: str) -> str:
    """``2026-07-01 10:00`` of an ISO 8601 time."""
    return created[:_MINUTES_END].replace("T", " ")


def _subtitle(result: BenchResult) -> str:
    return f"{result.bundle.recipe} on {result.bundle.backend} · {result.environment.device}"


def _section(result: BenchResult, letter: str) -> Section:
    best, measurements = result.best, result.measurements
    return Section(
        letter=letter,
        title=result.environment.device,
        subtitle=f"{result.bundle.recipe} on {result.bundle.backend}, {_date(result.created)}",
        warnings=_warnings(result),
        tiles=_tiles(result),
        timeline=_timeline(result) if measurements else None,
        latency=_latency(best) if best else (),
        latency_note=(
            f"{counted(best.threads, 'thread')}, {counted(best.repeats, 'run')} "
            f"after {best.warmups} to warm up"
            if best
            else ""
        ),
        repeats=charts.strips(_repeated(best)) if best else None,
        scaling=charts.scaling({one.threads: one.total for one in measurements}),
        memory=_memory(best) if best else None,
        components=_components(result),
        instructions=instruction_sections(result.instructions),
        operators=operator_sections(result.operators),
        card=_card(result),
        environment=_environment(result),
    )


def _warnings(result: BenchResult) -> tuple[Notice, ...]:
    """Emulation first, then every measurement that was disturbed."""
    found = []
    if result.environment.emulated:
        found.append(
            Notice(
                "Emulated: these times say nothing about a device",
                ("Instruction counts, sizes and accuracy hold; seconds are the emulator's.",),
            )
        )
    for one in result.measurements:
        if not one.clean:
            notes = (*one.notes, *one.conditions.notes)
            if one.conditions.throttled and not notes:
                notes = ("the device lowered its clocks",)
            found.append(
                Notice(f"Not a clean measurement: {counted(one.threads, 'thread')}", notes)
            )
    return tuple(found)


def _tiles(result: BenchResult) -> tuple[Tile, ...]:
    tiles = []
    if best := result.best:
        rtf, emulated = best.rtf, result.environment.emulated
        side = "faster" if rtf <= 1 else "slower"
        notes = (
            f"{max(rtf, 1 / rtf):.1f}× {side} than real time"
            if rtf > 1e-9
            else "too short to tell",
            f"{best.audio_seconds:.1f} s of sound, {counted(best.threads, 'thread')}",
            "loading included" if result.runner.kind != "torch" else "networks loaded before",
        )
        names = ("real-time factor", "prompt to sound", "first audio")
        values = (f"{rtf:.2f}", duration(best.total.median), duration(best.first_audio.median))
        tiles = [
            Tile(name, value, "of the emulator" if emulated else note)
            for name, value, note in zip(names, values, notes, strict=True)
        ]
        of_what = "of the process" if result.runner.kind != "torch" else "on the device"
        tiles.append(Tile("peak memory", size(best.peak_bytes.median), of_what))
    count = len(result.bundle.component_bytes)
    tiles.append(Tile("size", size(result.bundle.bytes), f"{count} programs and the tokenizer"))
    return tuple(tiles)


def _timeline(result: BenchResult) -> BarChart:
    """Lay out loading and computing by stage, one bar per thread count."""
    rows = []
    for one in result.measurements:
        segments = []
        for name, stage in one.stages.items():
            label, tone = stage_label(name), stage_tone(name)
            load, compute = stage.load.median, stage.compute.median
            segments.append((f"load {label}", load, duration(load), f"{tone} load"))
            segments.append((label, compute, duration(compute), tone))
        rest = one.total.median - sum(value for _, value, _, _ in segments)
        if rest > 0:
            segments.append(("other", rest, duration(rest), "other"))
        rows.append((counted(one.threads, "thread"), segments, duration(one.total.median)))
    unclean = frozenset(i for i, one in enumerate(result.measurements) if not one.clean)
    return charts.stacked(rows, muted=unclean)


def _repeated(one: Measurement) -> dict[str, Figure]:
    stages = {stage_label(name): stage.compute for name, stage in one.stages.items()}
    return {"prompt to sound": one.total, "first audio": one.first_audio, **stages}


def _latency(one: Measurement) -> tuple[Row, ...]:
    def row(name: str, figure: Figure, strong: bool = False) -> Row:
        values = (figure.median, figure.p90, figure.minimum, figure.maximum)
        return Row((name, *map(duration, values)), strong)

    rows = [row("prompt to sound", one.total, True), row("first audio", one.first_audio)]
    rows.append(row("computing", one.compute))
    for name, stage in one.stages.items():
        label = stage_label(name)
        if stage.calls > 1:
            call = call_label(name)
            rows.append(row(f"{label}, {counted(stage.calls, call)}", stage.compute))
            rows.append(row(f"one {label} {call}", stage.call))
        else:
            rows.append(row(label, stage.compute))
    rows.append(row("loading", one.load_warm))
    if one.load_cold is not None:
        rows.append(row("loading, files not in the page cache", one.load_cold))
    return tuple(rows)


def _memory(one: Measurement) -> BarChart | None:
    """Peak resident memory while each stage was loaded, and of the whole process."""
    rows = [
        (
            stage_label(name),
            [
                (
                    "peak memory",
                    stage.peak_bytes.median,
                    size(stage.peak_bytes.median),
                    stage_tone(name),
                )
            ],
            size(stage.peak_bytes.median),
        )
        for name, stage in one.stages.items()
        if stage.peak_bytes is not None
    ]
    if not rows:
        return None
    peak = one.peak_bytes.median
    rows.append(("whole process", [("peak memory", peak, size(peak), "other")], size(peak)))
    chart = charts.stacked(rows)
    return BarChart(chart.bars, (), ())


def _components(result: BenchResult) -> tuple[Row, ...]:
    bundle = result.bundle
    rows = []
    for name, count in bundle.component_bytes.items():
        parts = bundle.precision.get(name, {})
        kinds = list(dict.fromkeys(parts.values()))
        each = [f"{part} {kind}" for part, kind in parts.items()] if len(kinds) > 1 else kinds
        precision = ", ".join(each) or "–"
        snr = _snr(bundle.snr_db, name)
        rows.append(Row((component_label(name), size(count), precision, snr)))
    return tuple(rows)


def _snr(ratios: dict[str, float | None], name: str) -> str:
    if name not in ratios:
        return "–"
    ratio = ratios[name]
    return "identical" if ratio is None else f"{ratio:.1f} dB"


def _program_format(backend: str) -> str:
    """What kind of programs were run; measurements on a GPU run the networks themselves."""
    if backend == "torch":
        return "none: PyTorch networks"
    return BACKENDS[backend].programs if backend in BACKENDS else backend


def _card(result: BenchResult) -> tuple[tuple[str, str], ...]:
    """Return the model card: what it is, and what it needs."""
    bundle, request, best = result.bundle, result.request, result.best
    versions = ", ".join(f"{name} {version}" for name, version in result.runner.versions.items())
    rows = [
        ("model", bundle.model_id),
        ("format", _program_format(bundle.backend)),
        ("recipe", bundle.recipe),
        ("target", f"{result.environment.device} ({result.environment.target})"),
        ("runner", f"{result.runner.kind}{f', {versions}' if versions else ''}"),
    ]
    precisions = {kind for parts in bundle.precision.values() for kind in parts.values()}
    ratios = [ratio for ratio in bundle.snr_db.values() if ratio is not None]
    if precisions:
        rows.append(("precision", ", ".join(sorted(precisions))))
    if ratios:
        rows.append(("accuracy", f"{min(ratios):.1f} dB at worst against the float32 network"))
    if best and not result.environment.emulated:
        rows.append(
            ("latency", f"{duration(best.total.median)}, {counted(best.threads, 'thread')}")
        )
        rows.append(("memory", f"{size(best.peak_bytes.median)} peak"))
    if export := result.export:
        rows.append(("export", f"{duration(export.seconds)}, {size(export.peak_bytes)} peak"))
    rows += [
        ("size", size(bundle.bytes)),
        (
            "request",
            f"“{request.prompt}”, {request.seconds:.1f} s ({request.frames} frames), "
            f"{request.steps} steps, seed {request.seed}",
        ),
        ("bundle", f"{bundle.name}, sha256 of the manifest {bundle.digest[:_DIGEST_SHOWN]}…"),
    ]
    if bundle.license_notice:
        rows.append(("license", bundle.license_notice))
    return tuple(rows)


def _environment(result: BenchResult) -> tuple[tuple[str, str], ...]:
    """Where it ran, and in what state; what could not be read is left out."""
    place = result.environment
    rows = [
        ("CPU", f"{place.cpu}, {place.cores} cores, {place.architecture}"),
        ("ISA features", " ".join(place.features)),
        ("memory", size(place.memory_bytes) if place.memory_bytes else ""),
        ("system", place.system),
        ("governor", place.governor or ""),
        ("peak rates", "; ".join(f"{name}: {rate:.0f}" for name, rate in place.ceilings.items())),
    ]
    if best := result.best:
        state = best.conditions
        start, peak = state.temperature_start, state.temperature_peak
        temperature = f"{start:.0f} °C at the start" if start is not None else ""
        if peak is not None:
            temperature += f"{', ' if temperature else ''}{peak:.0f} °C at most"
        lowest = state.frequency_ratio_lowest
        throttled = {True: "yes", False: "no", None: "could not be read"}[state.throttled]
        rows += [
            ("temperature", temperature),
            ("lowest clock", f"{charts.percent(lowest)} of the highest" if lowest else ""),
            ("throttled", throttled),
            ("waited to cool", duration(state.waited) if state.waited else ""),
            ("notes", "; ".join(dict.fromkeys((*best.notes, *state.notes)))),
        ]
    rows.append(("arcmobile", result.arcmobile))
    return tuple((name, value) for name, value in rows if value)
