"""`arcmobile bench`: speed, memory and size, measured or predicted."""

from __future__ import annotations

import typer

from arcmobile.cli.bench_compare import compare
from arcmobile.cli.bench_full_size import baseline, fullsize
from arcmobile.cli.bench_gpu import gpu
from arcmobile.cli.bench_instructions import instructions
from arcmobile.cli.bench_operators import operators
from arcmobile.cli.bench_predict import predict
from arcmobile.cli.bench_report import report
from arcmobile.cli.bench_run import run

bench_app = typer.Typer(no_args_is_help=True)


@bench_app.callback()
def _group() -> None:
    """Measure speed, memory and size, on this machine, an emulated core, a board or a phone.

    Start with a bundle (`make export-android` makes one), look at what was measured, and compare
    it with the next measurement:

        arcmobile bench run --bundle out/embedded-executorch-mobile --out before.json
        arcmobile bench report before.json --out report.html
        arcmobile bench compare before.json after.json

    No device at hand: `instructions` counts on emulated Arm cores, `predict` estimates. All
    measurements are files of one format, which `report` and `compare` read.
    """


_MEASURE, _READ, _PREDICT = "Measure", "Read results", "Predict"
bench_app.command("run", rich_help_panel=_MEASURE)(run)
bench_app.command("operators", rich_help_panel=_MEASURE)(operators)
bench_app.command("instructions", rich_help_panel=_MEASURE)(instructions)
bench_app.command("gpu", rich_help_panel=_MEASURE)(gpu)
bench_app.command("fullsize", rich_help_panel=_MEASURE)(fullsize)
bench_app.command("baseline", rich_help_panel=_MEASURE)(baseline)
bench_app.command("report", rich_help_panel=_READ)(report)
bench_app.command("compare", rich_help_panel=_READ)(compare)
bench_app.command("predict", rich_help_panel=_PREDICT)(predict)
