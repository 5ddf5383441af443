"""`arcmobile bench report`: results as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_HELP = """Make one self-contained HTML page from results: figures, charts, a model card.

The page loads nothing and runs no script: send it, archive it, print it.

    arcmobile bench report result.json --out report.html

Several results are compared, bar by bar:

    arcmobile bench report phone.json pi.json --out compare.html

With a prediction next to what was measured:

    arcmobile bench predict --device raspberry-pi-5 --json > predicted.json
    arcmobile bench report pi.json --prediction predicted.json --out report.html
"""


def report(
    results: Annotated[
        list[Path], typer.Argument(help="Results of `arcmobile bench run`.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path(
        "report.html"
    ),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a page that is there.")
    ] = False,
    prediction: Annotated[
        Path | None,
        typer.Option("--prediction", help="Output of `arcmobile bench predict --json`."),
    ] = None,
) -> None:
    from arcmobile.bench.prediction_record import read
    from arcmobile.bench.report import write_report
    from arcmobile.bench.result import BenchResult
    from arcmobile.runtime.whole_output import check_file

    check_file(out, overwrite=overwrite, option="--out")
    measured = [BenchResult.read(path) for path in results]
    predictions = read(prediction) if prediction else ()
    write_report(out, measured, predictions, overwrite=overwrite)
    typer.echo(f"{out}  ({out.stat().st_size / 1e3:.0f} kB)")


report.__doc__ = _HELP
