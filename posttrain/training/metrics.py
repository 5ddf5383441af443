"""Figures of a training: one JSON object a line in ``metrics.jsonl``, and their plot."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from arcmobile.runtime.errors import CheckpointError, OutputError
from arcmobile.runtime.whole_output import whole_file, write_whole_text

METRICS: Final = "metrics.jsonl"
PLOT: Final = "losses.png"

_MOST_BYTES: Final = 1 << 26
_MOST_STEPS: Final = 1 << 60


def append_metrics(path: Path, row: Mapping[str, Any]) -> None:
    """Append one line of JSON, in which a number that is not finite is null.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(_line(row))
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); free some space and go on with --resume"
        ) from error


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(finite_or_none(row), allow_nan=False) + "\n"


def finite_or_none(value: Any) -> Any:
    """Return JSON content with None in place of every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: Path, training: str | None = None) -> list[dict[str, Any]]:
    """Read the rows of a metrics file; none if there is no file.

    Lines that are not rows (cut short, damaged) are skipped, and of the others everything that is
    not a number. With ``training`` only rows are read that name it as theirs.

    Raises:
        CheckpointError: the file cannot be read, or is too large.
    """
    if not path.is_file():
        return []
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check it") from error
    if len(data) > _MOST_BYTES:
        raise CheckpointError(f"{path}: over {_MOST_BYTES >> 20} MB; move it away")
    lines = data.decode("utf-8", "replace").split("\n")
    rows = (_row(line, training) for line in lines if line.strip())
    return [row for row in rows if row is not None]


def _row(line: str, training: str | None) -> dict[str, Any] | None:
    """The step and the numbers of a line; None if it is not a row of ``training``."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    if not 0 <= row["step"] < _MOST_STEPS or row.get("training") != training:
        return None
    return {key: value for key, value in row.items() if _is_figure(value)}


def _is_figure(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300  # NaN compares false


def keep_metrics_until(path: Path, step: int) -> None:
    """Drop the rows of steps after the state that a training goes on from."""
    kept = [row for row in read_metrics(path) if row["step"] <= step]
    write_whole_text(path, "".join(map(_line, kept)), overwrite=True)


def plot_training(out: Path, panels: Sequence[Sequence[str]]) -> None:
    """Plot the metrics of a training's folder as its ``losses.png``."""
    plot_metrics(out / PLOT, read_metrics(out / METRICS), panels)


def plot_metrics(
    path: Path, rows: Sequence[Mapping[str, Any]], panels: Sequence[Sequence[str]]
) -> None:
    """Plot one panel per group of metric names, over steps, as a PNG file.

    Names that no row has are left out.
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
