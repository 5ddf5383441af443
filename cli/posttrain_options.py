"""Options that the trainings of `arcmobile posttrain` share, and what they mean."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from arcmobile.runtime.bounds import THREADS
from arcmobile.runtime.errors import InputError

Out = Annotated[Path, typer.Option(help="Folder of this training.")]
Hours = Annotated[float, typer.Option(min=0, help="Longest time to train for.")]
Threads = Annotated[int, typer.Option(min=1, max=THREADS, help="Threads of PyTorch.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Resume = Annotated[bool, typer.Option(help="Go on from the state in the folder.")]
BFloat16 = Annotated[bool, typer.Option(help="Mixed precision.")]
Compiled = Annotated[
    bool, typer.Option("--compile/--no-compile", help="Needs a C++ compiler; faster.")
]

_SECONDS_PER_HOUR = 3600.0


def seconds_of(hours: float) -> float:
    """Seconds of --hours; InputError for NaN, which typer lets pass."""
    if math.isnan(hours):
        raise InputError("--hours nan: give a number, e.g. 2")
    return hours * _SECONDS_PER_HOUR


def use_threads(threads: int) -> None:
    """Sets the number of threads of PyTorch."""
    import torch

    torch.set_num_threads(threads)


def check_device(device: str) -> str:
    """The device, if PyTorch can use it here; InputError otherwise."""
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise InputError(f"--device {device}: give cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"--device {device}: PyTorch finds no GPU here; leave it out")
    return device


def require_new(out: Path) -> None:
    """Raises InputError where a folder holds a training already."""
    from arcmobile.posttrain.training.loop import STATE

    if (out / STATE).exists():
        raise InputError(f"--out {out}: holds a training; add --resume or remove it")
