"""Ours against the recipe that is published for this model, in turns on the same machine.

The published mobile recipe (Arm and Google AI Edge, 2026) is LiteRT with XNNPACK, a float32 text
encoder and decoder, and a DiT with int8 weights and dynamic int8 activations. It is exported here
like our own, so that nothing but the recipe and the backend differs. Every figure is a ratio to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from arcmobile.bench.compare import ratio_bounds
from arcmobile.bench.fullsize import PRESET, ProcessFigures, describe_machine, run_process
from arcmobile.bench.measure import DEFAULT_PROMPT
from arcmobile.bench.runner_stats import PythonStats
from arcmobile.bench.targets.base import RunRequest, TargetOptions
from arcmobile.bench.targets.host import HostTarget
from arcmobile.runtime.bundle import MANIFEST_NAME, Bundle
from arcmobile.runtime.engine import available_cpus
from arcmobile.runtime.output_file import write_text_file

RESULT_VERSION: Final = 1
_SEED: Final = 1

Report = Callable[[str], None]
Figure = Callable[[PythonStats], float]


@dataclass(frozen=True)
class Contender:
    """One way to run the model: ``runner`` is ``native`` or ``python``."""

    name: str
    backend: str
    recipe: str
    runner: str


PUBLISHED: Final = Contender("published recipe", "litert", "published", "python")
EXECUTORCH: Final = Contender("ExecuTorch", "executorch", "mobile", "native")
ONNX: Final = Contender("ONNX Runtime", "onnx", "mobile", "python")
CONTENDERS: Final = (PUBLISHED, EXECUTORCH, ONNX)

FIGURES: Final[Mapping[str, Figure]] = {
    "end to end": lambda stats: stats.total_seconds,
    "DiT step": lambda stats: median(stats.dit_step_seconds),
    "decoder": lambda stats: sum(stats.decode_window_seconds),
    "first audio": lambda stats: stats.first_audio_seconds,
    "peak memory": lambda stats: float(stats.peak_bytes),
}


@dataclass(frozen=True)
class Row:
    """One goal and what was measured; ``low`` and ``high`` bound the value, where it has noise."""

    what: str
    goal: str
    value: str
    met: bool
    low: float | None = None
    high: float | None = None


@dataclass
class BaselineResult:
    """All repeats of every contender; seconds and bytes by figure, in the order of the runs."""

    machine: dict[str, str | int]
    threads: int
    exports: dict[str, ProcessFigures] = field(default_factory=dict)
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def median(self, contender: Contender, figure: str) -> float:
        return median(self.figures[contender.name][figure])

    def to_json(self) -> dict[str, Any]:
        exports = {name: vars(one) for name, one in self.exports.items()}
        return {
            "result_version": RESULT_VERSION,
            "machine": self.machine,
            "threads": self.threads,
            "exports": exports,
            "figures": self.figures,
            "goals": [vars(row) for row in rows(self)],
        }


def run_baseline(
    out: Path,
    *,
    preset: str = PRESET,
    threads: int | None = None,
    repeats: int = 5,
    contenders: Sequence[Contender] = CONTENDERS,
    report: Report = lambda line: None,
) -> BaselineResult:
    """Exports what is not there yet, then runs the contenders in turns.

    Bundles stay in ``out`` and are taken as they are the next time. One run of each warms up; the
    first contender of a turn is another one each time.

    Raises:
        ArcMobileError: an export or a run failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / preset
    if not (checkpoint / "model_config.json").is_file():
        report(f"making the random {preset} checkpoint")
        words = ["checkpoint", "init", "--preset", preset, "--seed", "0", "--out", str(checkpoint)]
        run_process(words, out / "init.log")
    result = BaselineResult(describe_machine(), threads or available_cpus())
    bundles = [_bundle(out, checkpoint, one, result, report) for one in contenders]
    for contender in contenders:
        result.figures[contender.name] = {name: [] for name in FIGURES}
    with ExitStack() as stack:
        targets = []
        for contender, bundle in zip(contenders, bundles, strict=True):
            target = stack.enter_context(HostTarget(TargetOptions(runner=contender.runner)))
            target.prepare(bundle)
            targets.append(target)
        steps = bundles[0].manifest.schedule.default_steps
        request = RunRequest(DEFAULT_PROMPT, None, steps, _SEED, result.threads)
        for turn in range(repeats + 1):
            for index in range(len(contenders)):
                place = (index + turn) % len(contenders)
                name = contenders[place].name
                report(f"{name}: {f'run {turn} of {repeats}' if turn else 'warm-up'}")
                stats = targets[place].run(request).stats
                if turn:
                    for figure, read in FIGURES.items():
                        result.figures[name][figure].append(read(stats))
    write_text_file(out / "baseline.json", json.dumps(result.to_json(), indent=1) + "\n")
    return result


def _bundle(
    out: Path, checkpoint: Path, one: Contender, result: BaselineResult, report: Report
) -> Bundle:
    folder = out / f"{checkpoint.name}-{one.backend}-{one.recipe}"
    note = out / f"{folder.name}-export.json"
    if not (folder / MANIFEST_NAME).is_file():
        report(f"{one.name}: export (log: {folder}-export.log)")
        words = ["export", str(checkpoint), "--backend", one.backend, "--recipe", one.recipe]
        done = run_process([*words, "--out", str(folder)], out / f"{folder.name}-export.log")
        write_text_file(note, json.dumps(vars(done)) + "\n")
    if note.is_file():
        result.exports[one.name] = ProcessFigures(**json.loads(note.read_text(encoding="utf-8")))
    return Bundle.open(folder)


def rows(result: BaselineResult) -> list[Row]:
    """The goals that this comparison can judge."""
    found = [
        _ratio_row(result, EXECUTORCH, "end to end", 0.6),
        _ratio_row(result, EXECUTORCH, "decoder", 0.5),
        _ratio_row(result, EXECUTORCH, "DiT step", 0.85),
    ]
    others = [name for name in result.figures if name != PUBLISHED.name]
    best = min(others, key=lambda name: median(result.figures[name]["end to end"]))
    fastest = next(one for one in CONTENDERS if one.name == best)
    found.insert(0, _ratio_row(result, fastest, "end to end", 0.5, label="best backend"))
    peak = result.median(EXECUTORCH, "peak memory") / 1e6
    found.append(Row("peak memory, native runner", "700 MB", f"{peak:.0f} MB", peak <= 700))
    shares = [
        first / total
        for first, total in zip(
            result.figures[EXECUTORCH.name]["first audio"],
            result.figures[EXECUTORCH.name]["end to end"],
            strict=True,
        )
    ]
    share = median(shares)
    found.append(
        Row(
            "time to first audio, ExecuTorch, share of the whole",
            "below 60 %",
            f"{share:.0%}",
            share < 0.6,
            min(shares),
            max(shares),
        )
    )
    if export := result.exports.get(EXECUTORCH.name):
        minutes, gigabytes = export.seconds / 60, export.peak_bytes / 1e9
        found.append(
            Row(
                "ExecuTorch export",
                "5 min, 6 GB",
                f"{minutes:.1f} min, {gigabytes:.1f} GB",
                minutes <= 5 and gigabytes <= 6,
            )
        )
    return found


def _ratio_row(
    result: BaselineResult, one: Contender, figure: str, goal: float, label: str = ""
) -> Row:
    ours, theirs = result.figures[one.name][figure], result.figures[PUBLISHED.name][figure]
    ratio = median(ours) / median(theirs)
    low, high = ratio_bounds(theirs, ours) or (None, None)
    named = f"{label} ({one.name})" if label else one.name
    what = f"{figure}, {named}, against the published recipe"
    return Row(what, f"{goal:g}x", f"{ratio:.2f}x", ratio <= goal, low, high)
