"""`arcmobile fetch`: the trained weights, for those who have access."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arcmobile.cli.consoles import byte_bars
from arcmobile.export.hub.names import DEFAULT_REPO, DEFAULT_TEXT_REPO

DEFAULT_OUT = Path("out/checkpoints/stable-audio-open-small")


def fetch(
    repo: Annotated[
        str, typer.Option(help="Model repository on the Hugging Face Hub.")
    ] = DEFAULT_REPO,
    text_encoder: Annotated[str, typer.Option(help="Text encoder repository.")] = DEFAULT_TEXT_REPO,
    revision: Annotated[
        str, typer.Option(help="Branch, tag or commit of --repo. Default: the newest commit.")
    ] = "",
    text_encoder_revision: Annotated[str, typer.Option(help="The same of --text-encoder.")] = "",
    weights: Annotated[
        str, typer.Option(help="What the weights are called in --repo; .safetensors or .ckpt.")
    ] = "model.safetensors",
    config: Annotated[
        str, typer.Option(help="What the model's config is called in --repo.")
    ] = "model_config.json",
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")] = DEFAULT_OUT,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the folder if it exists.")
    ] = False,
) -> None:
    """Download the trained weights: just the files an export needs, about 3 GB.

    They are gated: accept the license on the model's page and run `hf auth login` first. A download
    that was interrupted goes on where it stopped. The folder keeps the commits and digests of what
    was downloaded; fetching into it again compares them with the files and with the Hub.
    """
    from arcmobile.export.checkpoint.hub import (
        ModelSource,
        fetch_checkpoint,
        interrupted_download,
    )

    if interrupted_download(out):
        typer.echo(f"{out}: an earlier download was interrupted; the same files go on", err=True)
    with byte_bars() as bar:
        task = bar.add_task(f"fetching {repo}", total=None)
        new = fetch_checkpoint(
            out,
            ModelSource(repo, revision, weights, config),
            text_encoder,
            text_revision=text_encoder_revision,
            overwrite=overwrite,
            report=lambda line: bar.update(task, description=line),
            on_total=lambda total: bar.update(task, total=total),
            on_bytes=lambda count: bar.advance(task, count),
        )
    what = "complete" if new else "complete already, the same commits and digests"
    typer.echo(f"{out}: {what}\nnext: make export-android CHECKPOINT={out}")
