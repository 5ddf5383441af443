"""What this project set out to reach against the published recipe, and what a run says of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

from arcmobile.bench.baseline import (
    CONTENDERS,
    EXECUTORCH,
    I8MM,
    NEON,
    PUBLISHED,
    BaselineResult,
    Contender,
)
from arcmobile.bench.compare import ratio_bounds
from arcmobile.runtime.tensors import DECODER, DIT

_BEST: Final = 0.5
_EXECUTORCH: Final = {"end to end": 0.6, "decoder": 0.5, "DiT step": 0.85}
_INSTRUCTIONS: Final = {DIT: ("one DiT step", 0.25), DECODER: ("decoder", 0.5)}
_SNR_DB: Final = 25.0
_PEAK_MB: Final = 700
_FIRST_AUDIO: Final = 0.6
_EXPORT_MINUTES, _EXPORT_GB = 5, 6
_GPU_SECONDS: Final = 0.075


@dataclass(frozen=True)
class Row:
    """One goal and what was measured.

    ``met`` is None where nothing was measured and ``value`` says why; ``low`` and ``high`` bound a
    value that has noise.
    """

    what: str
    goal: str
    value: str
    met: bool | None
    low: float | None = None
    high: float | None = None


def rows(result: BaselineResult) -> list[Row]:
    """Every goal, in the order of the plan."""
    return [
        *_times(result),
        *_quality(result),
        *_memory_and_latency(result),
        *_export(result),
        _gpu(result),
        *_arm(result),
    ]


def _times(result: BaselineResult) -> Iterator[Row]:
    others = [name for name in result.figures if name != PUBLISHED.name]
    best = min(others, key=lambda name: median(result.figures[name]["end to end"]))
    fastest = next(one for one in CONTENDERS if one.name == best)
    yield _ratio(result, fastest, "end to end", _BEST, f"best backend ({fastest.name})")
    for figure, goal in _EXECUTORCH.items():
        yield _ratio(result, EXECUTORCH, figure, goal, EXECUTORCH.name)


def _ratio(result: BaselineResult, one: Contender, figure: str, goal: float, who: str) -> Row:
    ours, theirs = result.figures[one.name][figure], result.figures[PUBLISHED.name][figure]
    ratio = median(ours) / median(theirs)
    low, high = ratio_bounds(theirs, ours) or (None, None)
    what = f"{figure}, {who}, against the published recipe"
    return Row(what, f"{goal:g}x", f"{ratio:.2f}x", ratio <= goal, low, high)


def _quality(result: BaselineResult) -> Iterator[Row]:
    for name in ("audio", "last latent"):
        what, goal = f"SNR of the {name} against float32", f"{_SNR_DB:g} dB"
        if name in result.snr_db:
            found = result.snr_db[name]
            yield Row(what, goal, f"{found:.1f} dB", found >= _SNR_DB)
        else:
            yield Row(what, goal, "not measured", None)


def _memory_and_latency(result: BaselineResult) -> Iterator[Row]:
    peak = result.median(EXECUTORCH, "peak memory") / 1e6
    goal = f"{_PEAK_MB} MB"
    yield Row("peak memory, native runner", goal, f"{peak:.0f} MB", peak <= _PEAK_MB)
    ours = result.figures[EXECUTORCH.name]
    shares = [
        first / total for first, total in zip(ours["first audio"], ours["end to end"], strict=True)
    ]
    share = median(shares)
    what = "time to first audio, ExecuTorch, share of the whole"
    goal = f"below {_FIRST_AUDIO:.0%}"
    yield Row(what, goal, f"{share:.1%}", share < _FIRST_AUDIO, min(shares), max(shares))


def _export(result: BaselineResult) -> Iterator[Row]:
    what, goal = "ExecuTorch export", f"{_EXPORT_MINUTES} min, {_EXPORT_GB} GB"
    export = result.exports.get(EXECUTORCH.name)
    if export is None:
        yield Row(what, goal, "not measured: its bundle was there already", None)
        return
    minutes, gigabytes = export.seconds / 60, export.peak_bytes / 1e9
    met = minutes <= _EXPORT_MINUTES and gigabytes <= _EXPORT_GB
    yield Row(what, goal, f"{minutes:.1f} min, {gigabytes:.1f} GB", met)


def _gpu(result: BaselineResult) -> Row:
    what = "PyTorch engine on a GPU, half precision, compiled"
    goal = f"{_GPU_SECONDS * 1e3:.0f} ms on an H100"
    if result.gpu_seconds is None:
        return Row(what, goal, "not measured: no GPU here", None)
    seconds = result.gpu_seconds
    return Row(what, goal, f"{seconds * 1e3:.0f} ms", seconds <= _GPU_SECONDS)


def _arm(result: BaselineResult) -> Iterator[Row]:
    for stage, (label, goal) in _INSTRUCTIONS.items():
        what = f"instructions of {label}, int8 on an i8mm core against float32 on NEON"
        if NEON in result.instructions and I8MM in result.instructions:
            ratio = result.instructions[I8MM][stage] / result.instructions[NEON][stage]
            yield Row(what, f"{goal:g}x", f"{ratio:.2f}x", ratio <= goal)
        else:
            yield Row(what, f"{goal:g}x", "not measured: takes --instructions", None)
