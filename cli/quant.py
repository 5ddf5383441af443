"""`arcmobile quant`: what quantization costs, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown
from rich.text import Text

from arcmobile.cli.consoles import bold, plain_console
from arcmobile.cli.registry_options import BACKEND_NAMES
from arcmobile.quant.recipes import DEFAULT_RECIPE, RECIPES
from arcmobile.runtime.backends import DEFAULT_BACKEND

quant_app = typer.Typer(help="What quantization costs, layer by layer.", no_args_is_help=True)


@quant_app.command()
def report(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Report folder. Default: out/quant-MODEL.")
    ] = None,
    recipes: Annotated[
        str | None,
        typer.Option(help="Recipes to measure, e.g. mobile,int8-dynamic. Default: all."),
    ] = None,
    text_encoder: Annotated[
        Path | None, typer.Option(help="Text encoder folder. Default: CHECKPOINT/text_encoder.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(help="Latent frames to generate. Default: 32 or the most.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=64, help="Sampler steps.")] = 8,
    backend: Annotated[
        str, typer.Option(help=f"Backend whose network variant to measure: {BACKEND_NAMES}.")
    ] = DEFAULT_BACKEND,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a report that is there.")
    ] = False,
    sensitivity: Annotated[
        bool, typer.Option(help="Rank the layers; minutes at full size, one forward each.")
    ] = True,
) -> None:
    """Measure recipes against float32: size, SNR, trajectory, spectra, and a ranking of layers.

    Writes report.json, report.md and plots.

    Example:  arcmobile quant report checkpoints/sao-small --recipes mobile,fp16
    """
    from arcmobile.cli.export import StepLog
    from arcmobile.export.checkpoint.folder import CheckpointFolder
    from arcmobile.quality.report import check_report, markdown, measure, model_name, write_report

    folder = CheckpointFolder.open(checkpoint, text_encoder)
    destination = out or Path("out") / f"quant-{model_name(folder)}"
    check_report(destination, overwrite=overwrite)
    names = [name.strip() for name in recipes.split(",")] if recipes else []
    with StepLog(plain_console(stderr=True), keep=False) as log:
        measured = measure(
            folder,
            names,
            frames=frames,
            steps=steps,
            sensitivity=sensitivity,
            backend=backend,
            report=log,
        )
    folder_out = write_report(measured, destination, overwrite=overwrite)
    console = plain_console()
    console.print(Markdown(markdown(measured)))
    console.print(f"Report: {folder_out}/report.md")


@quant_app.command()
def recipes() -> None:
    """List the recipes and what they do."""
    console = plain_console()
    for recipe in RECIPES.values():
        mark = "  (default)" if recipe.name == DEFAULT_RECIPE else ""
        console.print(Text.assemble(bold(recipe.name), f"{mark}: {recipe.description}"))
