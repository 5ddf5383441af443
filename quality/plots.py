"""Plots of the quantization report, made without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from arcmobile.quality.measure import MEASURED, RecipeMeasure
from arcmobile.quality.sensitivity import LayerSensitivity

_EQUAL_DB = 140.0  # drawn for identical outputs: the resolution of float32
_COLORS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#a463f2", "#97bbf5")
_LAYERS = 10


def _figure(width: float, height: float, panels: int) -> tuple[Figure, list[Any]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, panels, i + 1) for i in range(panels)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.25)
        axis.set_axisbelow(True)
    return figure, axes


def _drawn(value: float | None) -> float:
    return _EQUAL_DB if value is None else value


def plot_recipes(recipes: Mapping[str, RecipeMeasure], path: Path) -> None:
    """Plot size by component, and SNR by component, for each recipe."""
    figure, (size, ratio) = _figure(10, 3.6, 2)
    names = list(recipes)
    bottom = [0.0] * len(names)
    for color, component in zip(_COLORS, MEASURED, strict=False):
        values = [recipes[name].components[component].bytes / 1e6 for name in names]
        size.bar(names, values, bottom=bottom, color=color, label=component, width=0.6)
        bottom = [b + v for b, v in zip(bottom, values, strict=True)]
    for position, total in enumerate(bottom):
        size.text(position, total, f"{total:.1f}", ha="center", va="bottom", fontsize=8)
    size.set_ylabel("weights, MB")
    width = 0.8 / len(MEASURED)
    for index, component in enumerate(MEASURED):
        values = [_drawn(recipes[name].components[component].snr_db) for name in names]
        places = [i + (index - (len(MEASURED) - 1) / 2) * width for i in range(len(names))]
        ratio.bar(places, values, width=width, color=_COLORS[index], label=component)
    ratio.set_xticks(range(len(names)), names)
    ratio.set_ylabel("SNR against float32, dB")
    for axis in (size, ratio):
        axis.tick_params(axis="x", labelrotation=20, labelsize=8)
    ratio.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)


def plot_trajectories(recipes: Mapping[str, RecipeMeasure], path: Path) -> None:
    """Plot SNR along the sampler: one step on float32 states, and free-running."""
    figure, (single, free) = _figure(10, 3.6, 2)
    for color, (name, measured) in zip(_COLORS * 2, recipes.items(), strict=False):
        for axis, values in (
            (single, measured.velocity_snr_db),
            (free, measured.state_snr_db),
        ):
            steps = range(1, len(values) + 1)
            axis.plot(steps, [_drawn(v) for v in values], marker="o", ms=3, color=color, label=name)
    single.set_title("velocity of one step, on float32 states", fontsize=9)
    free.set_title("latent, free-running from the same noise", fontsize=9)
    for axis in (single, free):
        axis.set_xlabel("step")
        axis.set_ylabel("SNR, dB")
    free.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)


def plot_sensitivity(ranking: Sequence[LayerSensitivity], path: Path) -> None:
    """Plot the layers with the largest share of each component's noise."""
    figure, axes = _figure(13, 3.8, len(MEASURED))
    for axis, color, component in zip(axes, _COLORS, MEASURED, strict=False):
        rows = [row for row in ranking if row.component == component][:_LAYERS][::-1]
        axis.barh([row.layer for row in rows], [100 * row.noise_share for row in rows], color=color)
        axis.set_title(component, fontsize=9)
        axis.set_xlabel("share of noise, %")
        axis.tick_params(axis="y", labelsize=7)
    figure.savefig(path, dpi=120)
