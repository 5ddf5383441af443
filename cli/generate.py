"""`arcmobile generate`: prompts to sound files, with a bundle or with the PyTorch reference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from arcmobile.cli.consoles import plain_console
from arcmobile.cli.generation_stats import sound_record, stats_table, write_records
from arcmobile.cli.sounds import (
    Destination,
    Sound,
    SoundFormat,
    name_files,
    parse_numbers,
    read_requests,
    variations,
    written_format,
)
from arcmobile.runtime.audio import AudioWriter
from arcmobile.runtime.engine import EngineOptions
from arcmobile.runtime.errors import InputError
from arcmobile.runtime.generate import AudioStream, GenerationRequest, Pipeline, ProgressEvent
from arcmobile.runtime.request import Progress as ReportProgress
from arcmobile.runtime.whole_output import check_file

DEFAULT_BUNDLE = Path("out/embedded-executorch-mobile")


def generate(
    prompt: Annotated[
        str | None, typer.Argument(help="What to hear. Leave it out with --prompts.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            "-b",
            help="Folder of an exported bundle. Default: what make export-android makes, "
            f"{DEFAULT_BUNDLE}.",
            show_default=False,
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="File of prompts: one per line, or JSON lines such as "
            '{"prompt": "rain", "seconds": 4, "seed": 7}.'
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, help="Variations of each prompt, with seeds S, S+1, ...")
    ] = 1,
    seconds: Annotated[
        float | None,
        typer.Option(help="Length. Default: the longest the bundle makes.", show_default=False),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Sampler steps, 1 to 64. Default: the bundle's (8).", show_default=False),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Same seed, same sound. Default: a new one.", show_default=False),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write, or folder for files named by prompt and seed. Default: here.",
            show_default=False,
        ),
    ] = None,
    sound_format: Annotated[
        SoundFormat | None,
        typer.Option("--format", help="Default: what --out ends in, else wav.", show_default=False),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist.")
    ] = False,
    init_audio: Annotated[
        Path | None, typer.Option(help="Start from this sound file (needs an encoder).")
    ] = None,
    noise_level: Annotated[
        float | None,
        typer.Option(
            help="How much of --init-audio to replace, above 0 to 1. Default: 0.7.",
            show_default=False,
        ),
    ] = None,
    number: Annotated[
        list[str] | None,
        typer.Option(help="Other number inputs of the model, as NAME=VALUE.", show_default=False),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads. Default: all CPUs.", show_default=False)
    ] = None,
    low_memory: Annotated[
        bool, typer.Option("--low-memory", help="Hold one program at a time; loads more often.")
    ] = False,
    stats: Annotated[
        bool, typer.Option("--stats", help="Print time and peak memory by stage.")
    ] = False,
    stats_json: Annotated[
        Path | None, typer.Option(help="Write time and peak memory by stage to this file.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Use the PyTorch reference on this checkpoint instead of a bundle."),
    ] = None,
    text_encoder: Annotated[
        Path | None, typer.Option(help="With --checkpoint: its text-encoder folder.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="With --checkpoint: cpu or cuda. Default: cpu.", show_default=False),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="With --checkpoint: half precision.")
    ] = False,
    compile_model: Annotated[
        bool, typer.Option("--compile", help="With --checkpoint: torch.compile the networks.")
    ] = False,
) -> None:
    """Turn prompts into sound files.

    The first sound, with the bundle of make export-android:

        arcmobile generate "telephone ringing on the right" --seed 1

    Three variations, four seconds each, as FLAC in a folder:

        arcmobile generate "rain on a tin roof" --bundle out/android --seconds 4 --batch 3
        --format flac --out rain/

    Start from a recording (0.4: stay close to it, 0.9: follow the prompt):

        arcmobile generate "organ" --bundle out/android --init-audio hum.wav --noise-level 0.6

    Compare with the original network in PyTorch, with the same seed and so the same noise:

        arcmobile generate "rain" --seed 1 --checkpoint DIR --out reference.wav
    """
    base = GenerationRequest(
        prompt="",
        seconds=seconds,
        steps=steps,
        seed=seed,
        init_audio=init_audio,
        noise_level=noise_level,
        numbers=parse_numbers(number or []),
    )
    destination = Destination.of(out)
    written = written_format(destination, sound_format)
    requests = list(variations(read_requests(base, prompt, prompts), batch))
    sounds = name_files(requests, destination, written, overwrite=overwrite)
    if stats_json is not None:
        check_file(stats_json, overwrite=True, option="--stats-json")
    reference_only = {
        "--text-encoder": text_encoder is not None,
        "--device": device is not None,
        "--half": half,
        "--compile": compile_model,
    }
    if bundle is not None and checkpoint is not None:
        raise InputError("give either --bundle (an exported bundle) or --checkpoint (PyTorch)")
    measure = stats or stats_json is not None
    if checkpoint is None:
        if given := [option for option, is_given in reference_only.items() if is_given]:
            raise InputError(f"{', '.join(given)}: belongs to --checkpoint; leave it out")
        if bundle is None and not DEFAULT_BUNDLE.is_dir():
            raise InputError(f"no {DEFAULT_BUNDLE} here; run make export-android, or give --bundle")
        options = EngineOptions(threads)
        pipeline = Pipeline.open(
            bundle or DEFAULT_BUNDLE, options, low_memory=low_memory, measure_memory=measure
        )
    else:
        if threads is not None:
            raise InputError("--threads: belongs to --bundle; PyTorch takes OMP_NUM_THREADS")
        from arcmobile.export.parity.reference import open_reference

        parts = open_reference(
            checkpoint, text_encoder, device=device or "cpu", half=half, compile=compile_model
        )
        pipeline = Pipeline(*parts, low_memory=low_memory, measure_memory=measure)
    with pipeline:
        records = _run(pipeline, sounds, written, overwrite=overwrite)
    if stats:
        plain_console().print(stats_table(records))
    if stats_json is not None:
        write_records(stats_json, records)


def _run(
    pipeline: Pipeline, sounds: list[Sound], written: SoundFormat, *, overwrite: bool
) -> list[dict[str, Any]]:
    records = []
    with _progress_bars() as show:
        requests = [sound.request for sound in sounds]
        streams = pipeline.stream_many(requests, progress=show)
        for sound, stream in zip(sounds, streams, strict=True):
            with AudioWriter(
                sound.path,
                sample_rate=stream.sample_rate,
                channels=stream.channels,
                encoding=written.encoding,
                overwrite=overwrite,
                comment=_provenance(pipeline, sound.request, stream),
                samples=stream.samples,
            ) as writer:
                for chunk in stream:
                    writer.write(chunk)
            record = sound_record(pipeline.manifest, sound, stream, writer)
            records.append(record)
            for warning in record["warnings"]:
                typer.echo(f"warning: {warning}", err=True)
            typer.echo(
                f"{sound.path}  {record['seconds']:.2f} s of sound in "
                f"{record['compute_seconds']:.2f} s (RTF {record['rtf']:.2f}), seed {stream.seed}"
            )
    return records


def _provenance(pipeline: Pipeline, request: GenerationRequest, stream: AudioStream) -> str:
    """What the sound was made of; goes into the file's comment, so the prompt is kept short."""
    manifest = pipeline.manifest
    return json.dumps(
        {
            "prompt": request.prompt[:1000],
            "seed": stream.seed,
            "steps": request.steps or manifest.schedule.default_steps,
            "model": manifest.model_id,
            "recipe": manifest.recipe,
            "backend": manifest.backend,
        }
    )


@contextmanager
def _progress_bars() -> Iterator[ReportProgress]:
    """A bar for the running stage, on stderr and only on a terminal; gives the callback."""
    console = plain_console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task: TaskID | None = None

    def show(event: ProgressEvent) -> None:
        nonlocal task
        labels = {
            "load": f"load {event.detail}",
            "dit": f"DiT step {event.done}/{event.total}",
            "decode": f"decode frame {event.done}/{event.total}",
        }
        description = labels.get(event.stage, event.stage)
        if event.done == 0:
            if task is not None:
                bars.remove_task(task)
            task = bars.add_task(description, total=event.total)
        elif task is not None:
            bars.update(task, description=description, completed=event.done)

    with bars:
        yield show
