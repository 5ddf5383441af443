"""`arcmobile parity`: the networks against arrays that the upstream model computed."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from arcmobile.cli.consoles import plain_console
from arcmobile.export.model.forms import FORMS, REFERENCE
from arcmobile.runtime.backends import any_of
from arcmobile.runtime.errors import InputError

if TYPE_CHECKING:
    from arcmobile.export.parity.report import ParityRow, ParityRun


def parity(
    folder: Annotated[Path, typer.Argument(help="Checkpoint folder with expected.npz.")],
    text_encoder: Annotated[
        Path | None, typer.Option(help="T5 folder, where it is not FOLDER/text_encoder.")
    ] = None,
    form: Annotated[
        str, typer.Option(help=f"Network variant to check: {any_of(FORMS)}.")
    ] = REFERENCE.name,
    every: Annotated[bool, typer.Option("--all", help="A line for each array.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every row as JSON, for scripts.")
    ] = False,
) -> None:
    """Compare the networks with reference arrays.

    FOLDER is a checkpoint folder with expected.npz: inputs and outputs of every stage of the
    upstream model. Each stage is run on upstream's inputs; the largest absolute error must stay
    within 1e-4 (times the size of the tensor where it is larger than unit scale).

        arcmobile parity tests/data/parity_tiny

    Every array instead of every stage, with the networks as they are written for XNNPACK:

        arcmobile parity tests/data/parity_tiny --all --form xnnpack

    Exit code 1 when an array is above its tolerance.
    """
    from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
    from arcmobile.export.parity.report import ParityRun

    if form not in FORMS:
        raise InputError(f"--form {form}: unknown; choose one of {', '.join(FORMS)}")
    opened = CheckpointFolder.open(folder, text_encoder)
    run = ParityRun(opened, FORMS[form])
    rows = []
    with plain_console(stderr=True).status("reading weights") as status:
        require_sound(run.folder)
        for row in run.rows():
            rows.append(row)
            status.update(Text(f"comparing: {row.stage}"))
    if not rows:
        raise InputError(
            f"{run.arrays.path}: holds none of the arrays of a parity folder; "
            "tests/data/parity_tiny shows their names"
        )
    if as_json:
        typer.echo(json.dumps(_record(run, rows, form), indent=2))
    else:
        _show(run, rows, every)
    if not all(row.passed for row in rows):
        raise typer.Exit(1)


def _record(run: ParityRun, rows: list[ParityRow], form: str) -> dict[str, object]:
    return {
        "folder": str(run.folder.path),
        "form": form,
        "passed": all(row.passed for row in rows),
        "rows": [
            {
                "stage": row.stage,
                "array": row.array,
                "error": row.error if math.isfinite(row.error) else None,
                "tolerance": row.tolerance,
                "passed": row.passed,
            }
            for row in rows
        ],
        "absent": run.absent(),
        "not_compared": run.unread(),
    }


def _show(run: ParityRun, rows: list[ParityRow], every: bool) -> None:
    # Piped output has no width of its own; array names stay whole in it.
    width = None if sys.stdout.isatty() else 160
    console = plain_console(width=width)
    console.print(_arrays(rows) if every else _stages(rows))
    failed = [row for row in rows if not row.passed]
    console.print(
        f"{len(failed)} of {len(rows)} arrays above tolerance: "
        + ", ".join(row.array for row in failed)
        if failed
        else f"{len(rows)} arrays within tolerance"
    )
    if absent := run.absent():
        console.print(f"not in {run.arrays.path.name}: {', '.join(absent)}")
    if unread := run.unread():
        console.print(f"not compared: {', '.join(unread)}")


def _stages(rows: list[ParityRow]) -> Table:
    """One line per stage: its worst array."""
    table = _table("stage", "arrays", "worst array", "max abs error", "tolerance", "")
    for stage in dict.fromkeys(row.stage for row in rows):
        members = [row for row in rows if row.stage == stage]
        worst = max(members, key=lambda row: row.severity)
        table.add_row(stage, str(len(members)), worst.array, *_figures(worst))
    return table


def _arrays(rows: list[ParityRow]) -> Table:
    table = _table("stage", "array", "max abs error", "tolerance", "")
    for row in rows:
        table.add_row(row.stage, row.array, *_figures(row))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in columns:
        right = name in ("arrays", "max abs error", "tolerance")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    return table


def _figures(row: ParityRow) -> tuple[str, str, str]:
    verdict = "ok" if row.passed else "ABOVE"
    if not row.tolerance:
        return f"{row.error:.0f} differ", "0", verdict
    return f"{row.error:.1e}", f"{row.tolerance:.1e}", verdict
