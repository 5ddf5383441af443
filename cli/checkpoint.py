"""`arcmobile checkpoint`: make a random checkpoint, or say what one holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from arcmobile.cli.consoles import byte_bars, plain_console
from arcmobile.export.checkpoint.disk_space import readable_size
from arcmobile.export.messages import shown_name
from arcmobile.runtime.errors import CheckpointError

if TYPE_CHECKING:
    from arcmobile.export.checkpoint.folder import CheckpointFolder, CheckpointReport

checkpoint_app = typer.Typer(no_args_is_help=True, help="Make a random checkpoint, or check one.")


@checkpoint_app.callback()
def _checkpoint() -> None:
    """Keep the sub-commands' names whatever their number."""


@checkpoint_app.command()
def init(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")],
    preset: Annotated[
        str, typer.Option(help="tiny (7 MB, for first steps) or sao-small (2.4 GB, the true size).")
    ] = "tiny",
    seed: Annotated[int, typer.Option(help="Same seed, same weights.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the folder if it exists.")
    ] = False,
) -> None:
    """Write a random checkpoint in the layout of the trained one.

    It sounds like noise; its speed, memory and sizes are those of the real network.
    """
    from arcmobile.export.checkpoint.presets import checkpoint_bytes, find_preset, init_checkpoint

    chosen = find_preset(preset)
    with byte_bars() as bar:
        task = bar.add_task(f"writing {out}", total=checkpoint_bytes(chosen))
        init_checkpoint(
            chosen,
            seed,
            out,
            overwrite=overwrite,
            on_bytes=lambda count: bar.advance(task, count),
        )
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    typer.echo(f"{out}: random {chosen.name} checkpoint, seed {seed}, {readable_size(total)}")


@checkpoint_app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="The checkpoint folder.")],
    text_encoder: Annotated[
        Path | None, typer.Option(help="T5 folder, where it is not FOLDER/text_encoder.")
    ] = None,
) -> None:
    """Show what a checkpoint holds, and list what is missing, unknown, misshapen or not finite.

    The tokenizer files are checked against each other and the text encoder.

    Exit code 2 when it cannot be exported as it is.
    """
    from arcmobile.export.checkpoint.folder import CheckpointFolder, inspect_checkpoint

    opened = CheckpointFolder.open(folder, text_encoder)
    report = inspect_checkpoint(opened)
    _show_contents(opened, report)
    faults = {
        "missing": report.missing,
        "unknown": report.unexpected,
        "wrong shape": report.wrong_shape,
        "not stored as floats": report.wrong_type,
        "NaN or infinite": report.non_finite,
        "tokenizer": report.tokenizer,
    }
    for kind, names in faults.items():
        for name in names:
            typer.echo(f"{kind}: {shown_name(name)}")
    if phrases := report.faults():
        way_out = (
            ""
            if report.origin() or report.tokenizer
            else "; use the checkpoint this config belongs to"
        )
        raise CheckpointError(f"{folder}: {'; '.join(phrases)}{way_out}")
    typer.echo("sound: every tensor is there, has its shape and is finite; the tokenizer fits")


def _show_contents(opened: CheckpointFolder, report: CheckpointReport) -> None:
    for line in _facts(opened):
        typer.echo(line)
    table = Table(box=None, pad_edge=False)
    table.add_column("part")
    table.add_column("parameters", justify="right")
    for part, count in report.parameters.items():
        table.add_row(part, f"{count:,}")
    table.add_row("total", f"{sum(report.parameters.values()):,}", style="bold")
    plain_console().print(table)


def _facts(opened: CheckpointFolder) -> list[str]:
    config = opened.config
    dit, text, prompt = config.dit, opened.text_config, config.conditioning.text
    numbers = ", ".join(
        f"{number.id} {number.config.min_val:g} to {number.config.max_val:g}"
        for number in config.conditioning.numbers
    )
    seconds = config.max_frames * config.samples_per_frame / config.sample_rate
    kinds = {opened.source.type_name(name) for name in opened.source.names()}
    kinds |= {opened.text_source.type_name(name) for name in opened.text_source.names()}
    precision = ", ".join(sorted(kinds))
    return [
        f"{opened.model_file}",
        f"{opened.text_file}",
        f"family      {config.model_type}, {config.model.diffusion.diffusion_objective}",
        f"audio       {seconds:.1f} s at {config.sample_rate} Hz, "
        f"{config.audio_channels} channels, {config.samples_per_frame} samples per frame",
        f"latents     {config.max_frames} frames x {dit.io_channels} channels",
        f"DiT         {dit.depth} layers, width {dit.embed_dim}, {dit.num_heads} heads",
        f"prompt      T5, {text.num_layers} layers, width {text.d_model}, "
        f"{text.vocab_size} tokens known, {prompt.config.max_length} at a time",
        f"numbers     {numbers or 'none'}",
        f"stored as   {precision}",
        "",
    ]
