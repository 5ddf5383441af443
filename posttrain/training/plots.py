"""The rows of a metrics file as one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arcmobile.runtime.whole_output import whole_file


def plot_metrics(
    path: Path, rows: Sequence[Mapping[str, Any]], panels: Sequence[Sequence[str]]
) -> None:
    """One panel per group of metric names, over steps; names that no row has are left out.

    The image appears whole or not at all.
    """
    from matplotlib.figure import Figure

    page = Figure(figsize=(8, 3 * len(panels)), layout="constrained")
    for place, names in enumerate(panels):
        axes = page.add_subplot(len(panels), 1, place + 1)
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=name, linewidth=1)
        if axes.lines:
            axes.legend(fontsize=7)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    with whole_file(path, overwrite=True) as unfinished:
        page.savefig(unfinished, dpi=110, format="png")
