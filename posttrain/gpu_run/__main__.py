"""The commands that `run.sh` and `collect.sh` consist of."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import torch
import typer

from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
from arcmobile.export.gpu.model import find_device
from arcmobile.posttrain.arc.train import PANELS as ARC_PANELS
from arcmobile.posttrain.flow.train import PANELS as FLOW_PANELS
from arcmobile.posttrain.gpu_run.results import RunRecord, check_limits
from arcmobile.posttrain.gpu_run.results import collect as collect_results
from arcmobile.posttrain.gpu_run.settings import SIZES, RunSize
from arcmobile.posttrain.gpu_run.synthesis import SynthesisJob, synthesize_shards
from arcmobile.posttrain.gpu_run.training import train as train_all
from arcmobile.posttrain.training.metrics import METRICS, plot_metrics, read_metrics
from arcmobile.runtime.errors import ArcMobileError, InputError

_PANELS = {"flow": FLOW_PANELS, "arc": ARC_PANELS}
app = typer.Typer(add_completion=False, no_args_is_help=True)
Base = Annotated[Path, typer.Option(help="The embedded checkpoint.")]


def _size(name: str) -> RunSize:
    if name not in SIZES:
        raise InputError(f"--size {name}: unknown; choose one of {', '.join(SIZES)}")
    return SIZES[name]


@app.command()
def synthesize(
    base: Base,
    latents: Annotated[Path, typer.Option(help="Folder of the shards.")],
    size: Annotated[str, typer.Option(help="full or tiny.")] = "full",
    processes: Annotated[int, typer.Option(min=1)] = 16,
) -> None:
    """Synthesize sounds to train on, as latents.

    Raises:
        InputError: a process failed.
    """
    chosen = _size(size)
    job = SynthesisJob(base, latents, chosen.sounds, chosen.shard)
    if failed := synthesize_shards(job, processes):
        raise InputError(f"{failed} of {processes} processes failed; see the lines before")


@app.command()
def train(
    base: Base,
    latents: Annotated[Path, typer.Option(help="Folder of the shards.")],
    out: Annotated[Path, typer.Option(help="Folder of the results.")],
    until: Annotated[float, typer.Option(help="When to be done: seconds since 1970.")],
    size: Annotated[str, typer.Option(help="full or tiny.")] = "full",
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
) -> None:
    """Train by flow matching, then by ARC, and write the best candidate.

    Raises:
        ArcMobileError: the training failed; the reason is in run.json too.
        RuntimeError: PyTorch failed; the reason is in run.json too.
    """
    chosen, target = _size(size), find_device(device)
    folder = CheckpointFolder.open(base)
    require_sound(folder, digest=True)
    record = RunRecord(out, folder)
    record.set(size=size, device=_described(target), torch=torch.__version__)
    try:
        train_all(
            folder,
            latents,
            chosen,
            record,
            seconds=max(1.0, until - time.time()),
            device=target,
            compiled=target.type == "cuda",
        )
    except (ArcMobileError, RuntimeError) as error:
        kind = "" if isinstance(error, ArcMobileError) else f"{type(error).__name__}: "
        record.note(f"error: {kind}{next(iter(str(error).splitlines()), '')}")
        raise


def _described(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


@app.command()
def collect(
    out: Annotated[Path, typer.Argument(help="What a run left.")],
    folder: Annotated[Path, typer.Argument(help="Folder of the checkpoints to make.")],
    base: Base = Path("checkpoints/embedded"),
) -> None:
    """Make checkpoints of what a run left, and plots of its losses."""
    for path in collect_results(out, folder, base):
        typer.echo(str(path))
    for training, panels in _PANELS.items():
        if rows := read_metrics(out / METRICS, training):
            plot_metrics(folder / f"{training}-losses.png", rows, panels)


@app.command()
def check(out: Annotated[Path, typer.Argument(help="What a run left.")]) -> None:
    """Check that all files may be fetched from a lent machine.

    Raises:
        InputError: one may not.
    """
    if faults := check_limits(out):
        raise InputError(f"{out}: {'; '.join(faults)}")


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Run a command; an error is one line and exit code 2."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        app(standalone_mode=True)
    except ArcMobileError as error:
        typer.echo(f"error: {error}", err=True)
        os._exit(2)


if __name__ == "__main__":
    main()
