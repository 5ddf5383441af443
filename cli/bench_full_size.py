"""`arcmobile bench fullsize` and `bench baseline`: exports of a random checkpoint side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arcmobile.cli.bench_options import Overwrite, Preset, Threads
from arcmobile.cli.consoles import plain_console
from arcmobile.cli.registry_options import BACKEND_NAMES, Recipe
from arcmobile.quant.recipes import DEFAULT_RECIPE
from arcmobile.runtime.backends import BACKENDS

if TYPE_CHECKING:
    from arcmobile.bench.full_size import Workplace
    from arcmobile.bench.measure import Report
    from arcmobile.bench.result import BenchResult

_PASTED_WIDTH = 200  # tables of Markdown are for pasting: their rows must not be folded


def fullsize(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for results; needs 6 GB of disk.")
    ] = Path("out/full-size"),
    backends: Annotated[
        str | None, typer.Option(help=f"Some of {BACKEND_NAMES}, by commas. Default: all.")
    ] = None,
    recipe: Recipe = DEFAULT_RECIPE,
    preset: Preset = "sao-small",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the bundles.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Export a random full-size checkpoint for every backend and generate its longest sound.

    About 20 minutes on two cores. Prints a Markdown table and writes one result per backend, which
    `bench report` and `bench compare` read. Exits with 1 if a backend failed.

    Example:  arcmobile bench fullsize --backends executorch
    """
    from arcmobile.bench.full_size import Variant, run_full_size

    names = [name.strip() for name in backends.split(",")] if backends else list(BACKENDS)
    variants = [Variant(name, recipe, "python") for name in names]
    with _workplace(out, preset) as (place, report):
        results, failures = run_full_size(
            place, variants, keep=keep, overwrite=overwrite, report=report
        )
    _print_results(results)
    for name, reason in failures.items():
        typer.echo(f"{name}: {reason}", err=True)
    if failures:
        raise typer.Exit(1)


def baseline(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for bundles and results; needs 8 GB.")
    ] = Path("out/baseline"),
    threads: Threads = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds that count.")] = 5,
    preset: Preset = "sao-small",
    overwrite: Overwrite = False,
) -> None:
    """Compare our bundles with the published mobile recipe, run in turns on this machine.

    Exports the three bundles first (about 15 minutes at full size; the next time they are there),
    then prints figures and ratios with 95 % bounds as Markdown tables, and writes one result per
    bundle. Close other programs: a busy machine widens the bounds.

    Example:  arcmobile bench baseline --threads 2
    """
    from arcmobile.bench.full_size import run_baseline
    from arcmobile.cli.bench_tables import ratio_table

    with _workplace(out, preset) as (place, report):
        results = run_baseline(
            place, threads=threads, repeats=repeats, overwrite=overwrite, report=report
        )
    _print_results(results)
    plain_console(width=_PASTED_WIDTH).print(ratio_table(results))
    typer.echo(f"results: {out}")


@contextmanager
def _workplace(out: Path, preset: str) -> Iterator[tuple[Workplace, Report]]:
    """The folder to work in, and a log of its exports and runs."""
    from arcmobile.bench.full_size import Workplace
    from arcmobile.cli.export import StepLog

    with StepLog(plain_console(stderr=True)) as log:
        yield Workplace(out, preset, log), lambda progress: log(progress.doing)


def _print_results(results: Sequence[BenchResult]) -> None:
    from arcmobile.bench.labels import counted
    from arcmobile.cli.bench_tables import results_table

    if results:
        machine, (measurement,) = results[0].environment, results[0].measurements
        threads, runs = counted(measurement.threads, "thread"), counted(measurement.repeats, "run")
        typer.echo(f"{machine.cpu}, {threads}, {runs} each\n")
        plain_console(width=_PASTED_WIDTH).print(results_table(results))
