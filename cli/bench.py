"""`arcmobile bench`: measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arcmobile.cli.bench_baseline import baseline
from arcmobile.cli.bench_compare import compare
from arcmobile.cli.bench_gpu import gpu
from arcmobile.cli.bench_instructions import instructions
from arcmobile.cli.bench_operators import operators
from arcmobile.cli.bench_predict import predict
from arcmobile.cli.bench_report import report
from arcmobile.cli.bench_run import run
from arcmobile.cli.consoles import plain_console

bench_app = typer.Typer(help="Measure speed, memory and size.", no_args_is_help=True)


@bench_app.callback()
def _group() -> None:
    """Measure speed, memory and size."""


bench_app.command("run")(run)
bench_app.command("gpu")(gpu)
bench_app.command("baseline")(baseline)
bench_app.command("report")(report)
bench_app.command("predict")(predict)
bench_app.command("compare")(compare)
bench_app.command("instructions")(instructions)
bench_app.command("operators")(operators)


@bench_app.command()
def fullsize(
    out: Annotated[Path, typer.Option("--out", "-o", help="Working folder; needs 6 GB.")] = Path(
        "out/full-size"
    ),
    backends: Annotated[
        str | None, typer.Option(help="e.g. executorch,onnx. Default: all three.")
    ] = None,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Recipe to export.")] = "mobile",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the bundles.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that are there.")
    ] = False,
) -> None:
    """Export a random full-size checkpoint for every backend and generate its whole duration.

    Speed, memory and size do not depend on what the weights have learnt. About 20 minutes on two
    cores. Prints the table of the README.

    Example:  arcmobile bench fullsize --backends executorch
    """
    from arcmobile.bench.fullsize import markdown_table, run_full_size
    from arcmobile.cli.export import StepLog

    names = [name.strip() for name in backends.split(",")] if backends else []
    with StepLog(plain_console(stderr=True)) as log:
        result = run_full_size(
            out, backends=names, recipe=recipe, keep=keep, overwrite=overwrite, report=log
        )
    machine = result.machine
    typer.echo(f"{machine['cpu']}, {machine['cores']} threads, recipe {result.recipe}")
    typer.echo(markdown_table(result))
    for backend, reason in result.failures.items():
        typer.echo(f"{backend}: {reason}", err=True)
    if result.failures:
        raise typer.Exit(1)
