"""`arcmobile bench gpu`: latency of the PyTorch networks on a GPU."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

_HELP = """Time prompt to samples on a GPU, and what each stage of it takes.

Runs a random model of the full size (or a checkpoint) in float16 and bfloat16, as CUDA graphs,
with and without torch.compile, in batches of 1 and 8 and in 8, 4 and 1 steps: medians of 50 runs,
peak memory, and the SNR against float32. Networks are on the GPU before the first run.

    arcmobile bench gpu --out out/gpu
    arcmobile bench report out/gpu/latency.json --out report.html

OUT gets latency.json, the soonest of one prompt in 8 steps as a result for `bench report`, and
latency-cells.json with everything. Both are written after every cell: what is most wanted comes
first, and what does not fit into --seconds is left out and named.
"""


def gpu(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path(
        "out/gpu"
    ),
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint folder. Default: a random model.")
    ] = None,
    preset: Annotated[str, typer.Option(help="Size of the random model.")] = "sao-small",
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    seconds: Annotated[float, typer.Option(min=1, help="Time for all of it.")] = 120.0,
    repeats: Annotated[int, typer.Option(min=5, help="Runs of each cell, after 5 others.")] = 50,
    steps: Annotated[str, typer.Option(help="Numbers of steps.")] = "8,4,1",
    batches: Annotated[str, typer.Option(help="Prompts at a time.")] = "1,8",
    compiling: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Also through torch.compile.")
    ] = True,
    prompt: Annotated[str, typer.Option(help="What is generated.")] = "a fast drum loop, 120 BPM",
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and noise.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that are there.")
    ] = False,
) -> None:
    begin = time.monotonic()  # importing PyTorch is part of the time
    from arcmobile.bench.gpu import (
        CELLS,
        FLOOR_SECONDS,
        GOAL_SECONDS,
        RESULT,
        GpuProtocol,
        measure_gpu,
    )
    from arcmobile.cli.gpu_bench_engine import TorchEngine, measured_ceilings
    from arcmobile.export.gpu.model import checkpoint_model, find_device, random_model
    from arcmobile.runtime.whole_output import check_file

    for name in (CELLS, RESULT):
        check_file(out / name, overwrite=overwrite, option="--out")
    target = find_device(device)
    protocol = GpuProtocol(
        prompt,
        seed=seed,
        seconds=seconds,
        repeats=repeats,
        steps=_counts("--steps", steps, most=64),
        batches=_counts("--batches", batches, most=64),
        compiling=compiling,
    )
    if target.type == "cpu":  # where half precision is emulated, number by number
        protocol = replace(protocol, dtypes=("float32",))
    if checkpoint is not None:
        model = checkpoint_model(checkpoint, target)
    else:
        model = random_model(preset, seed, target)
    measured = measure_gpu(
        TorchEngine(model),
        replace(protocol, seconds=max(1.0, seconds - (time.monotonic() - begin))),
        out,
        report=lambda line: typer.echo(line, err=True),
        ceilings=lambda: measured_ceilings(target),
    )
    if not measured.cells:
        typer.echo("nothing could be measured", err=True)
        raise typer.Exit(1)
    typer.echo(
        f"{out / RESULT}  ({len(measured.cells)} cells on {measured.card}; "
        f"goal on an H100: {1e3 * GOAL_SECONDS:.0f} ms, at most {1e3 * FLOOR_SECONDS:.0f} ms)"
    )


gpu.__doc__ = _HELP


def _counts(option: str, text: str, *, most: int) -> tuple[int, ...]:
    """Whole numbers of 1 to ``most``, each once; raises InputError."""
    from arcmobile.runtime.errors import InputError

    words = [word.strip() for word in text.split(",") if word.strip()]
    counts = [int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 4]
    if len(counts) != len(words) or not counts or not all(1 <= count <= most for count in counts):
        raise InputError(f"{option} {text}: give numbers of 1 to {most}, as in 8,4,1")
    return tuple(dict.fromkeys(counts))
