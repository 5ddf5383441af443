"""`arcmobile bench baseline`: ours against the published recipe, goal by goal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from arcmobile.cli.consoles import plain_console

_MET = {True: "yes", False: "NO", None: "–"}


def baseline(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Working folder; bundles stay. Needs 8 GB.")
    ] = Path("out/baseline"),
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads. Default: all CPUs.", show_default=False)
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Turns that count.")] = 5,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that are there.")
    ] = False,
    preset: Annotated[
        str, typer.Option(help="Random checkpoint: sao-small or tiny.")
    ] = "sao-small",
    instructions: Annotated[
        bool,
        typer.Option(
            "--instructions",
            help="Also count instructions on emulated Arm cores: half an hour, once per bundle. "
            "Needs make native-arm64 and 10 GB of memory.",
        ),
    ] = False,
) -> None:
    """Compare our bundles with the published mobile recipe, in turns, goal by goal.

    Exports the three bundles first (about 15 minutes at full size; the next time they are there).
    Exit code 1 when a goal is missed. Close other programs: a busy machine shows in the bounds.

    Example:  arcmobile bench baseline --threads 2
    """
    from arcmobile.bench.baseline import CONTENDERS, FIGURES, run_baseline
    from arcmobile.bench.goals import rows
    from arcmobile.cli.export import StepLog

    with StepLog(plain_console(stderr=True)) as log:
        result = run_baseline(
            out,
            preset=preset,
            threads=threads,
            repeats=repeats,
            instructions=instructions,
            overwrite=overwrite,
            report=log,
        )
    console = plain_console()
    figures = Table(
        title=f"{result.machine['cpu']}, {result.threads} threads, medians of {repeats}"
    )
    figures.add_column("")
    for name in FIGURES:
        figures.add_column(name, justify="right")
    for contender in CONTENDERS:
        cells = [
            f"{result.median(contender, name) / 1e6:.0f} MB"
            if name == "peak memory"
            else f"{result.median(contender, name):.3g} s"
            for name in FIGURES
        ]
        figures.add_row(f"{contender.name} ({contender.backend}, {contender.recipe})", *cells)
    console.print(figures)

    judged = rows(result)
    goals = Table(title="Goals")
    for column in ("what", "goal", "measured", "95 %", "met"):
        goals.add_column(column)
    for row in judged:
        bounds = "" if row.low is None else f"{row.low:.2f} .. {row.high:.2f}"
        goals.add_row(row.what, row.goal, row.value, bounds, _MET[row.met])
    console.print(goals)
    console.print(f"All runs: {out / 'baseline.json'}")
    if any(row.met is False for row in judged):
        raise typer.Exit(1)
