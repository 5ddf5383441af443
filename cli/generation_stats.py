"""Figures of generated sounds: the record of one, the table and the JSON file of many."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from arcmobile.bench.labels import call_label, counted, stage_label
from arcmobile.cli.sounds import Sound
from arcmobile.runtime.audio import AudioWriter
from arcmobile.runtime.bundle import Manifest
from arcmobile.runtime.generate import AudioStream
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT, ENCODER
from arcmobile.runtime.whole_output import write_whole_text


def sound_record(
    manifest: Manifest, sound: Sound, stream: AudioStream, writer: AudioWriter
) -> dict[str, Any]:
    """The figures of one sound; seconds and bytes."""
    timings = stream.timings
    seconds = writer.samples / stream.sample_rate
    warnings = list(stream.warnings)
    if writer.clipped:
        warnings.append(
            f"{writer.clipped} samples were beyond full scale and clipped; "
            "--format wav-float keeps them"
        )
    return {
        "file": str(sound.path),
        "prompt": sound.request.prompt,
        "seed": stream.seed,
        "model": manifest.model_id,
        "recipe": manifest.recipe,
        "backend": manifest.backend,
        "seconds": seconds,
        "sample_rate": stream.sample_rate,
        "load_seconds": timings.load,
        "tokenize_seconds": timings.tokenize,
        "conditioner_seconds": timings.conditioner,
        "encoder_seconds": timings.encoder,
        "dit_step_seconds": timings.dit_steps,
        "decode_window_seconds": timings.decode_windows,
        "first_audio_seconds": timings.first_audio,
        "compute_seconds": timings.compute,
        "total_seconds": timings.total,
        "rtf": timings.compute / seconds,
        "peak_memory_bytes": dict(stream.peak_memory),
        "clipped_samples": writer.clipped,
        "warnings": warnings,
    }


def stats_table(records: list[dict[str, Any]]) -> Table:
    """Time and memory by stage; of several sounds the median time and the largest peak."""
    sounds = counted(len(records), "sound") + (", median" if len(records) > 1 else "")
    table = Table(title=f"Seconds and peak resident memory by stage ({sounds})")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("peak MB", justify="right")

    def add(label: str, seconds: Callable[[dict[str, Any]], float], stage: str = "") -> None:
        peaks = [record["peak_memory_bytes"].get(stage, 0) for record in records]
        peak = f"{max(peaks) / 1e6:.0f}" if any(peaks) else ""
        table.add_row(label, f"{median(map(seconds, records)):.3f}", peak)

    def add_calls(stage: str, figure: str) -> None:
        calls = counted(len(records[0][figure]), call_label(stage))
        add(f"{stage_label(stage)}, {calls}", lambda record: sum(record[figure]), stage)

    add("load programs", lambda record: sum(record["load_seconds"].values()))
    add("tokenize", lambda record: record["tokenize_seconds"])
    add(stage_label(CONDITIONER), lambda record: record["conditioner_seconds"], CONDITIONER)
    if any(record["encoder_seconds"] for record in records):
        add(stage_label(ENCODER), lambda record: record["encoder_seconds"], ENCODER)
    add_calls(DIT, "dit_step_seconds")
    add_calls(DECODER, "decode_window_seconds")
    table.add_section()
    add("first audio", lambda record: record["first_audio_seconds"])
    add("total", lambda record: record["total_seconds"])
    rtf = median(record["rtf"] for record in records)
    table.caption = f"RTF {rtf:.3f}: seconds of computing, without loading, per second of sound"
    return table


def write_records(path: Path, records: list[dict[str, Any]]) -> None:
    """Write the figures of some sounds as a JSON list.

    Raises:
        OutputError: the file cannot be written.
    """
    write_whole_text(
        path, json.dumps(records, indent=2) + "\n", overwrite=True, option="--stats-json"
    )
