"""The full-size path, end to end: random sao-small checkpoint -> bundles -> sound, with figures.

Every cell is a fresh process, so peak memory is its own. Figures of a shared machine are good as
proportions, not as seconds; the result says on what they were measured.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from arcmobile.bench.device_facts import cpu_name
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.engine import ENGINES, available_cpus
from arcmobile.runtime.errors import ArcMobileError, OutputError
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT, stage_of
from arcmobile.runtime.whole_output import check_file, write_whole_text

RESULT_VERSION = 1
RESULTS = "full-size.json"
PRESET = "sao-small"
PROMPT = "warm analog synth pad, soft rain in the background"
_GENERATION_SEED = 1

Report = Callable[[str], None]


@dataclass(frozen=True)
class ProcessFigures:
    """Wall seconds and peak resident bytes of one process."""

    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class BackendFigures:
    """One backend at full size.

    Attributes:
        export: the export process.
        bundle_bytes: all files of the bundle.
        snr_db: program against float32 network, by component; None: equal.
        precision: by component.
        generate: the generation process, loading included.
        stats: the record of the generation (seconds by stage, see ``generate --stats-json``).
    """

    export: ProcessFigures
    bundle_bytes: int
    snr_db: dict[str, float | None]
    precision: dict[str, dict[str, str]]
    generate: ProcessFigures
    stats: dict[str, Any]


@dataclass
class FullSizeResult:
    """All cells of a run and the machine they ran on."""

    machine: dict[str, str | int]
    recipe: str
    backends: dict[str, BackendFigures] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"result_version": RESULT_VERSION, **asdict(self)}


def run_process(arguments: Sequence[str], log: Path) -> ProcessFigures:
    """Run ``arcmobile ARGUMENTS`` in a fresh process, its output in ``log``.

    Raises:
        ArcMobileError: it failed; the message is its last line.
    """
    start = time.perf_counter()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "arcmobile.cli", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1] if lines else "no output"
        raise ArcMobileError(f"arcmobile {arguments[0]} failed: {last} (see {log})")
    scale = 1 if sys.platform == "darwin" else 1024
    return ProcessFigures(time.perf_counter() - start, usage.ru_maxrss * scale)


def describe_machine() -> dict[str, str | int]:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    name = cpu_name(text) or platform.processor() or platform.machine()
    return {"cpu": name, "architecture": platform.machine(), "cores": available_cpus()}


def run_full_size(
    out: Path,
    *,
    backends: Sequence[str] = (),
    recipe: str = "mobile",
    preset: str = PRESET,
    keep: bool = False,
    overwrite: bool = False,
    report: Report = lambda line: None,
) -> FullSizeResult:
    """Export the random checkpoint of ``preset`` for each backend, generate its whole duration.

    A backend that fails is noted and the others go on. Bundles are removed after their turn unless
    ``keep``; results are written to ``out/full-size.json`` after every backend.

    Raises:
        OutputError: ``out`` cannot be written, or holds results that may not be replaced.
    """
    file = out / RESULTS
    check_file(file, overwrite=overwrite, option="--out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"--out {out}: cannot be written ({error.strerror}); choose another folder"
        ) from error
    checkpoint = out / preset
    if not (checkpoint / "model_config.json").is_file():
        report(f"making the random {preset} checkpoint")
        arguments = ["checkpoint", "init", "--preset", preset, "--seed", "0"]
        run_process([*arguments, "--out", str(checkpoint)], out / "init.log")
    result = FullSizeResult(describe_machine(), recipe)
    for backend in backends or ENGINES:
        try:
            figures = _measure(out, checkpoint, backend, recipe, keep, report)
            result.backends[backend] = figures
        except ArcMobileError as error:
            result.failures[backend] = str(error)
        text = json.dumps(result.to_json(), indent=2, allow_nan=False) + "\n"
        write_whole_text(file, text, overwrite=True, option="--out")
    return result


def _measure(
    out: Path, checkpoint: Path, backend: str, recipe: str, keep: bool, report: Report
) -> BackendFigures:
    name = f"{checkpoint.name}-{backend}-{recipe}"
    bundle_folder, sound, stats = out / name, out / f"{name}.wav", out / f"{name}-stats.json"
    report(f"{backend}: export (log: {out / name}-export.log)")
    exported = run_process(
        ["export", str(checkpoint), "--backend", backend, "--recipe", recipe,
         "--out", str(bundle_folder), "--overwrite"],
        out / f"{name}-export.log",
    )  # fmt: skip
    manifest = Bundle.open(bundle_folder).manifest
    report(f"{backend}: generate the whole duration")
    generated = run_process(
        ["generate", PROMPT, "--bundle", str(bundle_folder), "--out", str(sound), "--overwrite",
         "--seed", str(_GENERATION_SEED), "--low-memory", "--stats-json", str(stats)],
        out / f"{name}-generate.log",
    )  # fmt: skip
    figures = BackendFigures(
        export=exported,
        bundle_bytes=Bundle.open(bundle_folder).size,
        snr_db={n: c.fidelity.snr_db for n, c in manifest.components.items()},
        precision={n: c.precision for n, c in manifest.components.items()},
        generate=generated,
        stats=json.loads(stats.read_text(encoding="utf-8"))[0],
    )
    if not keep:
        for path in sorted(bundle_folder.iterdir()):
            path.unlink()
        bundle_folder.rmdir()
    return figures


def markdown_table(result: FullSizeResult) -> str:
    """The result as the README's table."""
    lines = [
        "| backend | bundle MB | export s | export peak GB | SNR dB: conditioner / DiT step / "
        "decoder's parts | T5 s | DiT s per step | decode s | whole s | peak MB | RTF |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for backend, one in result.backends.items():
        ratios = " / ".join(_ratios(one.snr_db, stage) for stage in (CONDITIONER, DIT, DECODER))
        stats = one.stats
        steps, windows = stats["dit_step_seconds"], stats["decode_window_seconds"]
        cells = [
            backend,
            f"{one.bundle_bytes / 1e6:.0f}",
            f"{one.export.seconds:.0f}",
            f"{one.export.peak_bytes / 1e9:.1f}",
            ratios,
            f"{stats['conditioner_seconds']:.2f}",
            f"{sorted(steps)[len(steps) // 2]:.2f}",
            f"{sum(windows):.1f}",
            f"{stats['total_seconds']:.1f}",
            f"{one.generate.peak_bytes / 1e6:.0f}",
            f"{stats['rtf']:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratios(snr_db: dict[str, float | None], stage: str) -> str:
    """Decibels of each program of a stage, the decoder's parts in order."""
    ratios = [ratio for name, ratio in snr_db.items() if stage_of(name) == stage]
    return ", ".join("equal" if ratio is None else f"{ratio:.1f}" for ratio in ratios)
