"""`arcmobile evaluate`: what models make of held-out captions, compared with synthesized sounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from arcmobile.cli.consoles import plain_console
from arcmobile.cli.export import StepLog
from arcmobile.cli.registry_options import BACKEND_NAMES
from arcmobile.runtime.errors import InputError

if TYPE_CHECKING:
    from arcmobile.posttrain.judgement.evaluation import RowResult
    from arcmobile.posttrain.judgement.rows import Row

BASE_STEPS = 50
ALL, NONE = "all", "none"


def evaluate(
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Post-trained checkpoint folder: judged in PyTorch with 8, 4 and 1 steps, and in "
            "8 steps as a bundle of every recipe.",
        ),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint folder of the model before post-training: judged with 50 guided "
            "steps, and with 8 steps and no guidance."
        ),
    ] = None,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(help="Bundle to judge as it is; may be given several times."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for results, plots and the page.")
    ] = Path("out/evaluation"),
    prompts: Annotated[
        int,
        typer.Option(min=2, max=20_000, help="Held-out captions, the same number of each class."),
    ] = 184,
    prompt_set: Annotated[
        int, typer.Option(min=0, max=1 << 20, help="Set of held-out captions to use.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, max=1 << 20, help="Seed for all noise.")] = 0,
    examples: Annotated[
        int, typer.Option(min=0, max=1000, help="Captions with sounds on the page.")
    ] = 8,
    variants: Annotated[
        int,
        typer.Option(min=1, max=64, help="Seeds of one caption that diversity compares; 1: none."),
    ] = 2,
    guidance: Annotated[
        float, typer.Option(min=1.0, max=100.0, help="Guidance of the base model's 50 steps.")
    ] = 4.0,
    backend: Annotated[
        str,
        typer.Option(
            "--backend", "-b", help=f"Backend to export the recipes for: {BACKEND_NAMES}."
        ),
    ] = "onnx",
    recipes: Annotated[
        str, typer.Option(help="Recipes to export and judge, e.g. fp32,mobile; all; or none.")
    ] = ALL,
    work: Annotated[
        Path | None, typer.Option(help="Folder of the exported bundles. Default: OUT/bundles.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of bundles' engines. Default: all CPUs.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results of another evaluation.")
    ] = False,
) -> None:
    """Judge models on captions that no training has seen.

    Of each sound: is it the sound that the caption names, and is every word of the caption true of
    it (pitch, speed, brightness, length, side)? Of each set of sounds: how far is it from
    synthesized sounds, and how much do sounds of one caption differ? Synthesized sounds are judged
    too, so every table shows the best possible figures.

    OUT gets results.json, README.md with the tables, plots, and index.html to listen to.

    Example:  arcmobile evaluate --base checkpoints/flow --checkpoint checkpoints/arc
    """
    bundles = bundle or []
    if checkpoint is None and base is None and not bundles:
        raise InputError("nothing to judge: give --checkpoint, --base or --bundle")

    from arcmobile.posttrain.judgement.evaluation import Evaluation
    from arcmobile.posttrain.judgement.held_out_prompts import held_out_prompts
    from arcmobile.posttrain.judgement.models import EvaluatedModels
    from arcmobile.posttrain.judgement.report import (
        check_report_folder,
        write_report,
        write_results,
    )
    from arcmobile.posttrain.judgement.sound_classifier import load_classifier
    from arcmobile.posttrain.training.folder_lock import only_writer

    if math.isnan(guidance):  # which typer lets pass
        raise InputError("--guidance nan: give 1 to 100")
    check_report_folder(out, overwrite=overwrite)
    models = EvaluatedModels.open(
        checkpoint=checkpoint,
        base=base,
        bundles=bundles,
        backend=backend,
        recipes=_recipes(recipes),
        threads=threads,
    )
    chosen = held_out_prompts(prompts, prompt_set, models.longest_seconds)
    console = plain_console(stderr=True)
    evaluation = Evaluation(
        chosen, load_classifier(), seed=seed, variants=variants, examples=examples
    )
    results: list[RowResult] = []
    with only_writer(out):
        with StepLog(console) as steps:
            rows = models.rows(BASE_STEPS, guidance, work or out / "bundles", steps)
        with _progress(console, rows) as advance:
            for row in rows:
                results.append(evaluation.judge(row, advance))
                write_results(out, evaluation, results, models.sources)
        write_report(out, evaluation, results, models.sources)
    _print(results)
    plain_console().print(f"Listen: {out / 'index.html'}", soft_wrap=True)


def _recipes(text: str) -> tuple[str, ...] | None:
    """Names of recipes; None for all."""
    if text == ALL:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return () if names == (NONE,) else names


@contextmanager
def _progress(console: Console, rows: list[Row]) -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar of the running row; yield its callback."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    names = [row.name for row in rows]
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("")

        def advance(name: str, done: int, total: int) -> None:
            if done == 1:
                bars.reset(task)
            place = f"{names.index(name) + 1}/{len(names)}"
            bars.update(task, description=f"{place} {name}", completed=done, total=total)

        yield advance


def _print(results: list[RowResult]) -> None:
    from arcmobile.posttrain.judgement.evaluation_tables import diversity_text, percent

    table = Table()
    table.add_column("")
    for heading in ("right sound", "everything right", "Fréchet distance", "diversity"):
        table.add_column(heading, justify="right")
    for result in results:
        tallies = result.adherence
        table.add_row(
            result.row.name,
            percent(tallies["class"]),
            percent(tallies["all"]),
            f"{result.frechet:.2f}",
            diversity_text(result),
            style="dim" if result.row.ceiling else None,
        )
    plain_console().print(table)
