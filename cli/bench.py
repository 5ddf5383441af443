"""`arcmobile bench`: measured figures."""

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

bench_app = typer.Typer(help="Measure speed, memory and size.", no_args_is_help=True)


@bench_app.callback()
def _group() -> None:
    """Measure speed, memory and size."""


bench_app.command("run")(run)
bench_app.command("gpu")(gpu)
bench_app.command("fullsize")(fullsize)
bench_app.command("baseline")(baseline)
bench_app.command("report")(report)
bench_app.command("predict")(predict)
bench_app.command("compare")(compare)
bench_app.command("instructions")(instructions)
bench_app.command("operators")(operators)
