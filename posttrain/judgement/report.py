"""Writes an evaluation as a folder: results.json, README.md, plots, and a page to listen to."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arcmobile.export.manifest import tool_versions
from arcmobile.posttrain.judgement.evaluation import Evaluation, RowResult
from arcmobile.posttrain.judgement.evaluation_plots import (
    plot_adherence,
    plot_classes,
    plot_similarity,
    plot_sounds,
)
from arcmobile.posttrain.judgement.evaluation_tables import evaluation_text
from arcmobile.posttrain.judgement.listening_page import write_page
from arcmobile.posttrain.training.metrics import finite_or_none
from arcmobile.runtime.backends import runtime_distributions
from arcmobile.runtime.errors import OutputError
from arcmobile.runtime.whole_output import check_file, write_whole_text

RESULTS, TEXT = "results.json", "README.md"
_TOOLS = ("numpy", "scipy", *runtime_distributions())


def check_report_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that a report can be written.

    Raises:
        OutputError: it cannot be written, or there is one already.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"--out {folder}: is a file; name a folder")
    check_file(folder / RESULTS, overwrite=overwrite, option="--out")


def write_results(
    folder: Path,
    evaluation: Evaluation,
    results: Sequence[RowResult],
    sources: Mapping[str, str],
) -> None:
    """Write results.json; ``sources`` are digests of what was judged, by role."""
    record: dict[str, Any] = {
        "versions": {"python": platform.python_version(), **tool_versions(_TOOLS)},
        "sources": dict(sources),
        **evaluation.record(results),
    }
    text = json.dumps(finite_or_none(record), indent=1, allow_nan=False)
    write_whole_text(folder / RESULTS, text + "\n", overwrite=True, option="--out")


def write_report(
    folder: Path,
    evaluation: Evaluation,
    results: Sequence[RowResult],
    sources: Mapping[str, str],
) -> None:
    """Write the whole folder; raise OutputError if that fails."""
    write_results(folder, evaluation, results, sources)
    plot_adherence(results, folder / "adherence.png")
    plot_classes(results, folder / "classes.png")
    plot_similarity(results, folder / "similarity.png")
    if evaluation.examples:
        plot_sounds(evaluation, results, folder / "sounds.png")
    write_whole_text(
        folder / TEXT, evaluation_text(evaluation, results), overwrite=True, option="--out"
    )
    write_page(folder, evaluation, results)
