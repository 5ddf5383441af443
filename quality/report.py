"""The quantization report: every recipe against float32, as JSON, Markdown and plots."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arcmobile.export.backends import get_backend
from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.programs import plan_frames
from arcmobile.quality.measure import MEASURED, Networks, RecipeMeasure, measure_recipe
from arcmobile.quality.plots import plot_recipes, plot_sensitivity, plot_trajectories
from arcmobile.quality.sensitivity import LayerSensitivity, rank_layers
from arcmobile.quant.recipes import RECIPES, REFERENCE_RECIPE, get_recipe
from arcmobile.runtime.backends import DEFAULT_BACKEND
from arcmobile.runtime.whole_output import check_folder, whole_folder

REPORT_VERSION = 1
_REPORT_FILE = "report.json"
# About a second and a half of sound is enough to compare.
DEFAULT_FRAMES = 32
_SHOWN_LAYERS = 12
# Layers that together make up this much of a component's noise are worth an exception.
_WORTH_KEEPING = 0.5

Report = Callable[[str], None]


@dataclass(frozen=True)
class QuantizationReport:
    """All figures of one checkpoint."""

    model: str
    backend: str
    frames: int
    steps: int
    recipes: dict[str, RecipeMeasure]
    sensitivity: list[LayerSensitivity]

    def to_json(self) -> dict[str, Any]:
        """Return what ``report.json`` holds."""
        return {"report_version": REPORT_VERSION, **asdict(self)}


def measure(
    folder: CheckpointFolder,
    recipes: Sequence[str],
    *,
    frames: int | None = None,
    steps: int = 8,
    sensitivity: bool = True,
    backend: str = DEFAULT_BACKEND,
    report: Report = lambda line: None,
) -> QuantizationReport:
    """Measure recipes on a checkpoint, on its networks in the form of ``backend``.

    Raises:
        InputError: an unknown recipe or backend, or ``frames`` out of range.
        CheckpointError: the checkpoint is not sound.
    """
    names = list(recipes) or [name for name in RECIPES if name != REFERENCE_RECIPE]
    chosen = [get_recipe(name) for name in names]
    count = frames or min(DEFAULT_FRAMES, folder.config.max_frames)
    planned, target = plan_frames(folder.config, (count,)), get_backend(backend)
    report("float32 networks: loading")
    reference = Networks(folder, planned, target)
    report(f"float32 networks: {steps} steps and decode")
    trajectory = reference.generate(steps)
    measures = {}
    for recipe in chosen:
        report(f"{recipe.name}: quantizing")
        quantized = Networks(folder, planned, target, recipe)
        report(f"{recipe.name}: measuring")
        measures[recipe.name] = measure_recipe(reference, trajectory, quantized)
        del quantized
    ranking = (
        rank_layers(reference, on_layer=lambda name: report(f"layer alone: {name}"))
        if sensitivity
        else []
    )
    return QuantizationReport(model_name(folder), backend, count, steps, measures, ranking)


def model_name(folder: CheckpointFolder) -> str:
    """Return what a checkpoint is called in reports: its folder's name."""
    return folder.path.resolve().name


def worth_keeping(ranking: Sequence[LayerSensitivity]) -> list[LayerSensitivity]:
    """Return the fewest layers of each component that make up half of its noise."""
    kept: list[LayerSensitivity] = []
    for component in MEASURED:
        total = 0.0
        for row in (r for r in ranking if r.component == component):
            if total >= _WORTH_KEEPING:
                break
            kept.append(row)
            total += row.noise_share
    return kept


def _db(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f}"


def markdown(report: QuantizationReport) -> str:
    """Return the report as a page."""
    lines = [
        f"# Quantization of {report.model}",
        "",
        f"{report.steps} ping-pong steps, {report.frames} latent frames, same noise; float32 "
        f"PyTorch is the reference; networks as {report.backend} gets them. Sizes are of the "
        "weights of conditioner, DiT and decoder.",
        "",
        "| recipe | MB | conditioner dB | DiT step dB | decoder dB | last latent dB | audio dB "
        "| log-spectral distance dB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, measured in report.recipes.items():
        cells = [f"{measured.bytes / 1e6:.1f}"]
        cells += [_db(measured.components[component].snr_db) for component in MEASURED]
        cells += [_db(measured.state_snr_db[-1]), _db(measured.audio_snr_db)]
        cells.append(f"{measured.log_spectral_distance_db:.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "![Size and signal to noise ratio](recipes.png)", ""]
    lines += ["## Along the trajectory", "", "![Error along the trajectory](trajectory.png)", ""]
    if report.sensitivity:
        lines += [
            "## Layers",
            "",
            "SNR of the component when that layer alone is int8-dynamic, and its share of the "
            "component's noise.",
            "",
            "![Most sensitive layers](sensitivity.png)",
            "",
        ]
        for component in MEASURED:
            rows = [r for r in report.sensitivity if r.component == component]
            lines += [
                f"### {component}",
                "",
                "| layer | weights | SNR dB | share of noise |",
                "| --- | ---: | ---: | ---: |",
            ]
            for row in rows[:_SHOWN_LAYERS]:
                cells = [f"`{row.layer}`", f"{row.weights:,}", _db(row.snr_db)]
                lines.append(f"| {' | '.join(cells)} | {row.noise_share:.1%} |")
            lines.append("")
        lines += ["### Keep in higher precision", ""]
        kept = worth_keeping(report.sensitivity)
        for component in MEASURED:
            rows = [r for r in kept if r.component == component]
            share = sum(r.noise_share for r in rows)
            weights = sum(r.weights for r in rows)
            total = sum(r.weights for r in report.sensitivity if r.component == component)
            names = ", ".join(f"`{r.layer}`" for r in rows)
            lines.append(
                f"- {component}: {names}: {share:.0%} of the noise in {weights / total:.1%} of "
                "the weights."
            )
        lines.append("")
    return "\n".join(lines)


def check_report(destination: Path, *, overwrite: bool) -> None:
    """Check that a report can be written; worth it before measuring.

    Raises:
        OutputError: it cannot.
    """
    check_folder(destination, replaceable=_REPORT_FILE, overwrite=overwrite, option="--out")


def write_report(report: QuantizationReport, destination: Path, *, overwrite: bool = False) -> Path:
    """Write ``report.json``, ``report.md`` and the plots; the folder appears complete.

    Raises:
        OutputError: the folder exists and may not be replaced, or cannot be written.
    """
    with whole_folder(
        destination, replaceable=_REPORT_FILE, overwrite=overwrite, option="--out"
    ) as folder:
        text = json.dumps(report.to_json(), indent=2, allow_nan=False)
        (folder / _REPORT_FILE).write_text(text + "\n", encoding="utf-8")
        (folder / "report.md").write_text(markdown(report), encoding="utf-8")
        plot_recipes(report.recipes, folder / "recipes.png")
        plot_trajectories(report.recipes, folder / "trajectory.png")
        if report.sensitivity:
            plot_sensitivity(report.sensitivity, folder / "sensitivity.png")
    return destination
