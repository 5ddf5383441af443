"""`arcmobile bench compare`: whether it got slower, for people and, by exit code, for CI."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from arcmobile.bench.labels import counted, stage_label
from arcmobile.cli.consoles import bold, plain_console
from arcmobile.runtime.errors import InputError

if TYPE_CHECKING:
    from arcmobile.bench.compare import Comparison, Row

EXIT_REGRESSION = 1
_STYLES = {"slower": "red", "larger": "red", "faster": "green", "smaller": "green"}


def compare(
    a: Annotated[Path, typer.Argument(help="The earlier result file, the reference.")],
    b: Annotated[Path, typer.Argument(help="The later result file.")],
    threshold: Annotated[
        str, typer.Option(help="Growth that counts as a regression, e.g. 5% or 0.05.")
    ] = "5%",
    allow_unlike: Annotated[
        bool,
        typer.Option("--allow-unlike", help="Compare runs that are not alike."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare two results: ratios B/A with 95 % bounds, and a verdict for each figure.

    Exits with 0 if nothing got worse, 1 if something did by more than threshold and noise, 2 if the
    files cannot be compared (another request, target, CPU, runner or model). The noise is that
    within each file: on a busy machine, measure A and B alternately and more than once.

    Example:  arcmobile bench compare before.json after.json --threshold 5%
    """
    from arcmobile.bench.compare import compare as compare_results
    from arcmobile.bench.result import BenchResult

    limit = _share(threshold)
    first, second = BenchResult.read(a), BenchResult.read(b)
    comparison = compare_results(first, second, threshold=limit, allow_unlike=allow_unlike)
    if as_json:
        typer.echo(json.dumps(_document(comparison), indent=2))
    else:
        _print(comparison)
    if comparison.regressions:
        raise typer.Exit(EXIT_REGRESSION)


def _share(text: str) -> float:
    number = text.strip().removesuffix("%")
    try:
        value = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 <= value < 10:
        raise InputError(f"--threshold {text}: give a share such as 5% or 0.05")
    return value


def _document(comparison: Comparison) -> dict[str, Any]:
    return {
        "threshold": comparison.threshold,
        "regressed": bool(comparison.regressions),
        "rows": [
            {**asdict(row), "ratio": row.ratio, "regressed": row.regressed}
            for row in comparison.rows
        ],
        "notes": list(comparison.notes),
    }


def _print(comparison: Comparison) -> None:
    console = plain_console()
    table = Table(title="B against A, medians", title_justify="left")
    table.add_column("", overflow="fold")
    for name in ("A", "B", "B/A", "95 % bounds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    threads: int | None = -1
    for row in comparison.rows:
        if row.threads != threads:
            threads = row.threads
            table.add_section()
            if threads is not None:
                table.add_row(bold(counted(threads, "thread")))
        table.add_row(*_cells(row))
    console.print(table)
    if any(not row.decides for row in comparison.rows):
        console.print("(in brackets: does not count as a regression)", style="dim")
    for note in comparison.notes:
        console.print(f"note: {note}")
    worse = comparison.regressions
    limit = f"{comparison.threshold:.0%} and the noise"
    if worse:
        names = ", ".join(stage_label(row.name) for row in worse)
        console.print(f"worse beyond {limit}: {names}", style="bold red", highlight=False)
    else:
        console.print(f"nothing is worse beyond {limit}", highlight=False)


def _cells(row: Row) -> tuple[str | Text, ...]:
    exact = row.low == row.high
    bounds = "" if row.low is None or exact else f"{row.low:.2f} .. {row.high:.2f}"
    style = _STYLES.get(row.verdict, "") if row.decides else "dim"
    verdict = row.verdict if row.decides else f"({row.verdict})"
    amounts = _amount(row, row.a), _amount(row, row.b)
    return (stage_label(row.name), *amounts, f"{row.ratio:.3f}", bounds, Text(verdict, style))


def _amount(row: Row, value: float) -> str:
    if row.unit == "seconds":
        return f"{value * 1e3:.2f} ms" if value < 1 else f"{value:.2f} s"
    if row.unit == "bytes":
        return f"{value / 1e6:.1f} MB"
    return f"{value / 1e6:.1f} M"
