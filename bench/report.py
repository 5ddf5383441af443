"""The report: one self-contained HTML page from one or several results.

:mod:`arcmobile.bench.report_page` decides what is on the page, ``report.html.j2`` how it looks.
Results may come from anywhere, so the template escapes every word of them; the page loads nothing
and runs no script.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from arcmobile.bench.prediction_record import PredictionRecord
from arcmobile.bench.report_page import build_page
from arcmobile.bench.result import BenchResult
from arcmobile.runtime.whole_output import write_whole_text


def render(results: Sequence[BenchResult], predictions: Sequence[PredictionRecord] = ()) -> str:
    """Render the page as HTML text.

    Args:
        results: one or more; with several, the page compares them.
        predictions: shown next to the measurements.
    """
    templates = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files("arcmobile.bench") / "report.html.j2"
    template = templates.from_string(source.read_text(encoding="utf-8"))
    return template.render(page=build_page(with_profiles(results), predictions))


def with_profiles(results: Sequence[BenchResult]) -> list[BenchResult]:
    """Join profiles without timings to the first timed result of the same bundle.

    Instructions are those of a whole sound, so that has to be the same; operators are of one call.
    """
    timed = [one for one in results if one.measurements]
    alone = []
    for profile in (one for one in results if not one.measurements):
        for index, one in enumerate(timed):
            same_sound = one.request == profile.request or not profile.instructions
            if one.bundle.digest == profile.bundle.digest and same_sound:
                timed[index] = one.model_copy(
                    update={
                        "instructions": (*one.instructions, *profile.instructions),
                        "operators": (*one.operators, *profile.operators),
                    }
                )
                break
        else:
            alone.append(profile)
    return [*timed, *alone]


def write_report(
    path: Path,
    results: Sequence[BenchResult],
    predictions: Sequence[PredictionRecord] = (),
    *,
    overwrite: bool = False,
) -> None:
    """Write the page whole or not at all.

    Raises:
        OutputError: it cannot be written, or exists and may not be replaced.
    """
    write_whole_text(path, render(results, predictions), overwrite=overwrite, option="--out")
