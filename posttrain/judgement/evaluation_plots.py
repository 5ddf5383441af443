"""Plots of an evaluation: adherence with intervals, classes, similarity, a few sounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from arcmobile.posttrain.judgement.adherence import MEASURES
from arcmobile.posttrain.judgement.evaluation import Evaluation, RowResult
from arcmobile.posttrain.judgement.sound_classifier import NAMES
from arcmobile.posttrain.judgement.spectrogram import spectrogram
from arcmobile.runtime.whole_output import whole_file

_CEILING, _MODEL = "#a3a49f", "#3568b8"
_DOTS_PER_INCH = 130
_SHOWN_ROWS = 3  # of models, next to the synthesized sound
_CAPTION_LETTERS = 26


def _saved(figure: Figure, path: Path) -> None:
    """Write the image, whole or not at all."""
    FigureCanvasAgg(figure)
    with whole_file(path, overwrite=True) as unfinished:
        figure.savefig(unfinished, dpi=_DOTS_PER_INCH, format="png")


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def _colors(results: Sequence[RowResult]) -> list[str]:
    return [_CEILING if result.row.ceiling else _MODEL for result in results]


def plot_adherence(results: Sequence[RowResult], path: Path) -> None:
    """Plot a panel per measure: the share right of every row with its 95 % interval."""
    figure = Figure(figsize=(13, 1.2 + 0.3 * len(results)), layout="constrained")
    places = np.arange(len(results))[::-1]
    panels = np.atleast_1d(figure.subplots(1, len(MEASURES), sharey=True))
    for axes, measure in zip(panels, MEASURES, strict=True):
        for place, result, color in zip(places, results, _colors(results), strict=True):
            tally = result.adherence[measure]
            if tally.count:
                low, high = tally.interval
                axes.plot((100 * low, 100 * high), (place, place), color=color, linewidth=2)
                axes.plot(100 * tally.share, place, "o", color=color, markersize=5)
        axes.set_title(measure, fontsize=9)
        axes.set_xlim(0, 101)
        axes.grid(axis="x", alpha=0.25)
        _plain(axes)
    panels[0].set_yticks(places, [result.row.name for result in results])
    figure.supxlabel("right, %", fontsize=8)
    _saved(figure, path)


def plot_classes(results: Sequence[RowResult], path: Path) -> None:
    """Plot how often each row's classes were recognised; white where there is no prompt."""
    shares = np.array([[tally.share for tally in r.by_class.values()] for r in results])
    figure = Figure(figsize=(13, 2.0 + 0.26 * len(results)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(100 * shares, aspect="auto", cmap="viridis", vmin=0, vmax=100)
    axes.set_xticks(range(len(NAMES)), NAMES, rotation=60, ha="right")
    axes.set_yticks(range(len(results)), [result.row.name for result in results])
    axes.tick_params(labelsize=7, length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, pad=0.01).set_label("recognised, %", fontsize=8)
    _saved(figure, path)


def plot_similarity(results: Sequence[RowResult], path: Path) -> None:
    """Plot Fréchet distance and diversity."""
    figure = Figure(figsize=(9, 1.2 + 0.3 * len(results)), layout="constrained")
    places = np.arange(len(results))[::-1]
    near, varied = figure.subplots(1, 2, sharey=True)
    near.barh(places, [r.frechet for r in results], color=_colors(results), height=0.65)
    for place, result in zip(places, results, strict=True):
        near.text(result.frechet, place, f" {result.frechet:.2f}", va="center", fontsize=7)
    near.set_title("Fréchet distance to synthesized sounds", fontsize=9)
    for place, result, color in zip(places, results, _colors(results), strict=True):
        if result.diversity is not None:
            varied.barh(
                place,
                result.diversity.value,
                xerr=np.nan_to_num(result.diversity.error),
                color=color,
                height=0.65,
                ecolor="#444444",
            )
    varied.set_title("diversity between seeds", fontsize=9)
    near.set_yticks(places, [result.row.name for result in results])
    for axes in (near, varied):
        axes.grid(axis="x", alpha=0.25)
        _plain(axes)
    _saved(figure, path)


def plot_sounds(evaluation: Evaluation, results: Sequence[RowResult], path: Path) -> None:
    """Plot spectrograms of the examples, up to 22 kHz: synthesized, and by a few models."""
    models = [result for result in results if not result.row.ceiling][:_SHOWN_ROWS]
    columns = [("synthesized", evaluation.reference_examples)]
    columns += [(result.row.name, list(result.examples)) for result in models]
    count = len(evaluation.examples)
    figure = Figure(figsize=(2.6 * len(columns), 0.4 + 1.1 * count), layout="constrained")
    panels = figure.subplots(count, len(columns), squeeze=False)
    for column, (name, sounds) in enumerate(columns):
        panels[0, column].set_title(name, fontsize=9)
        for line, audio in enumerate(sounds):
            axes = panels[line, column]
            axes.imshow(spectrogram(audio), cmap="magma", vmin=0, vmax=1, aspect="auto")
            axes.set_xticks([])
            axes.set_yticks([])
    for line, place in enumerate(evaluation.examples):
        prompt = evaluation.prompts[place]
        caption = fill(f"{prompt.caption}, {prompt.seconds:.1f} s", _CAPTION_LETTERS)
        panels[line, 0].set_ylabel(
            caption, fontsize=7, rotation=0, ha="right", va="center", multialignment="left"
        )
    _saved(figure, path)
