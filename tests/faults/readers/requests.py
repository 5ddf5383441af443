"""What a user hands over beside the bundle: prompts files, sounds to start from, results."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import numpy as np

from faults.inputs import bundle_of
from faults.mutations import mutate_bytes, mutate_json
from faults.readers import Attempt, reader


@reader("prompts")
def prompts(folder: Path) -> Attempt:
    from arcmobile.cli.sounds import (
        Destination,
        SoundFormat,
        name_files,
        read_requests,
        variations,
    )
    from arcmobile.runtime.bundle import Bundle
    from arcmobile.runtime.request import GenerationRequest, make_plan

    manifest = Bundle.open(bundle_of("onnx")).manifest
    path = folder / "prompts.txt"
    hum = folder / "hum.wav"
    hum.write_bytes(_sound("WAV", "PCM_16", np.zeros((1000, 2))))
    out = Destination(folder / "out", is_folder=True)
    lines: list[dict[str, object]] = [
        {"prompt": "rain", "seconds": 0.5, "seed": 7},
        {"prompt": "A\u030a", "steps": 3, "numbers": {"seconds_start": 1.0}},
        {"prompt": "hum", "init_audio": str(hum), "noise_level": 0.5},
    ]

    def attempt(rng: random.Random) -> None:
        pieces = [json.dumps(line).encode() for line in lines] + [b"soft rain", b""]
        at = rng.randrange(len(pieces))
        if at < len(lines):
            pieces[at] = mutate_json(rng, lines[at]).replace(b"\n", b" ")
        else:
            pieces[at] = mutate_bytes(rng, b"soft rain and \xe9\x9b\xa8 thunder")
        data = rng.choice((b"\n", b"\r\n")).join(pieces)
        path.write_bytes(mutate_bytes(rng, data) if rng.random() < 0.3 else data)
        requests = list(variations(read_requests(GenerationRequest(prompt=""), None, path), 2))
        for sound in name_files(requests, out, SoundFormat.wav, overwrite=False):
            make_plan(sound.request, manifest)

    return attempt


def _sound(form: str, subtype: str, samples: np.ndarray) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, 44_100, format=form, subtype=subtype)
    return file.getvalue()


@reader("init-audio")
def init_audio(folder: Path) -> Attempt:
    from arcmobile.runtime.audio import read_init_audio

    samples = np.random.default_rng(1).uniform(-0.5, 0.5, (4000, 2))
    good = [
        _sound("WAV", "PCM_16", samples),
        _sound("WAV", "FLOAT", samples),
        _sound("WAVEX", "PCM_24", samples),
        _sound("FLAC", "PCM_16", samples),
        _sound("OGG", "VORBIS", samples),
        _sound("AIFF", "PCM_16", samples),
    ]
    path = folder / "sound.wav"

    def attempt(rng: random.Random) -> None:
        path.write_bytes(mutate_bytes(rng, rng.choice(good)))
        read_init_audio(path, sample_rate=44_100, channels=2, samples=rng.choice((1000, 100_000)))

    return attempt


@reader("bench-result")
def bench_result(folder: Path) -> Attempt:
    from test_bench_report import result

    from arcmobile.bench.compare import compare
    from arcmobile.bench.report import write_report
    from arcmobile.bench.result import BenchResult

    good = result()
    document = json.loads(good.model_dump_json())
    path = folder / "result.json"

    def attempt(rng: random.Random) -> None:
        path.write_bytes(mutate_json(rng, document))
        read = BenchResult.read(path)
        write_report(folder / "report.html", [read, good], overwrite=True)
        compare(good, read, threshold=0.05, allow_unlike=True)

    return attempt
