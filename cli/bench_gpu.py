"""`arcmobile bench gpu`: latency of the PyTorch networks on a GPU."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from arcmobile.cli.bench_options import Overwrite, Preset, parse_counts

_MOST = 64  # steps of a sound, prompts of a batch


def gpu(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for results.")] = Path("out/gpu"),
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint folder. Default: a random model.")
    ] = None,
    preset: Preset = "sao-small",
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    seconds: Annotated[
        float, typer.Option(min=1, help="Budget for the whole benchmark, in seconds.")
    ] = 120.0,
    repeats: Annotated[
        int, typer.Option(min=5, help="Runs of each combination, after 5 to warm up.")
    ] = 50,
    steps: Annotated[str, typer.Option(help="Numbers of sampler steps.")] = "8,4,1",
    batches: Annotated[str, typer.Option(help="Batch sizes.")] = "1,8",
    compiling: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Also measure torch.compile.")
    ] = True,
    prompt: Annotated[str, typer.Option(help="Prompt.")] = "a fast drum loop, 120 BPM",
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and noise.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Time a generation on a GPU, stage by stage, from prompt to samples.

    Runs a random model of the full size (or a checkpoint) in float16 and bfloat16, as CUDA graphs,
    with and without torch.compile, in batches of 1 and 8 and in 8, 4 and 1 steps: medians of 50
    runs, peak memory, and the SNR against float32. The networks are on the GPU before the first
    run.

        arcmobile bench gpu --out out/gpu
        arcmobile bench report out/gpu/latency.json --out report.html

    Writes two files of results: latency.json with the fastest for one prompt in 8 steps, and
    latency-cells.json with all. Both are written after every combination; the most important come
    first, and what does not fit into --seconds is left out and named.
    """
    begin = time.monotonic()  # importing PyTorch is part of the budget
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
        steps=parse_counts("--steps", steps, most=_MOST),
        batches=parse_counts("--batches", batches, most=_MOST),
        compiling=compiling,
    )
    if target.type == "cpu":  # where half precision is emulated, number by number
        protocol = replace(protocol, dtypes=("float32",))
    if checkpoint is not None:
        model = checkpoint_model(checkpoint, target)
    else:
        model = random_model(preset, seed, target)
    run = measure_gpu(
        TorchEngine(model),
        replace(protocol, seconds=max(1.0, seconds - (time.monotonic() - begin))),
        out,
        report=lambda line: typer.echo(line, err=True),
        ceilings=lambda: measured_ceilings(target),
    )
    if not run.results:
        typer.echo("nothing could be measured", err=True)
        raise typer.Exit(1)
    card = run.results[0].environment.device
    typer.echo(
        f"{out / RESULT}  ({len(run.results)} combinations on {card}; "
        f"goal on an H100: {1e3 * GOAL_SECONDS:.0f} ms, at most {1e3 * FLOOR_SECONDS:.0f} ms)"
    )
