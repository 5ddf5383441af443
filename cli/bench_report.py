"""`arcmobile bench report`: results as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arcmobile.cli.bench_options import Overwrite


def report(
    results: Annotated[
        list[Path], typer.Argument(help="Result files of any `bench` command.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Page to write.")] = Path("report.html"),
    overwrite: Overwrite = False,
    prediction: Annotated[
        Path | None,
        typer.Option("--prediction", help="Output of `arcmobile bench predict --json`."),
    ] = None,
) -> None:
    """Make one self-contained HTML page from results: figures, charts, a model card.

    The page loads nothing and runs no script: send it, archive it, print it.

        arcmobile bench report result.json --out report.html

    Several results, compared bar by bar:

        arcmobile bench report phone.json pi.json --out compare.html

    A prediction next to the measurement:

        arcmobile bench predict --device raspberry-pi-5 --json > predicted.json
        arcmobile bench report pi.json --prediction predicted.json --out report.html
    """
    from arcmobile.bench.prediction_record import read
    from arcmobile.bench.report import write_report
    from arcmobile.bench.result import read_results
    from arcmobile.runtime.whole_output import check_file

    check_file(out, overwrite=overwrite, option="--out")
    measured = [result for path in results for result in read_results(path)]
    predictions = read(prediction) if prediction else ()
    write_report(out, measured, predictions, overwrite=overwrite)
    typer.echo(f"{out}  ({out.stat().st_size / 1e3:.0f} kB)")
