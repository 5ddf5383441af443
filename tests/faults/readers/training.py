"""Files that trainings read: states, metrics, cached latents, folders of captioned sounds."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from faults.mutations import flip_bits, mutate_bytes, mutate_json
from faults.readers import Attempt, reader

_ROWS: Final[list[dict[str, Any]]] = [
    {"step": 20 * index, "flow": 1.5 / index, "gradient": 0.5, "seconds_per_step": 0.1}
    for index in range(1, 5)
]


def _edited(rng: random.Random, data: bytes) -> bytes:
    """A safetensors file with a broken header, broken values, or broken as a whole."""
    kind = rng.randrange(4)
    if kind == 0:
        return mutate_bytes(rng, data)
    (length,) = struct.unpack_from("<Q", data)
    header, values = json.loads(data[8 : 8 + length]), data[8 + length :]
    if kind == 1:
        return data[: 8 + length] + flip_bits(rng, values, within=len(values))
    if kind == 2:
        text = mutate_json(rng, header)
    else:
        inner = mutate_json(rng, json.loads(header["__metadata__"]["state"]))
        header["__metadata__"]["state"] = inner.decode("utf-8", "replace")
        text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


def _resigned(path: Path) -> Callable[[], None]:
    """Gives the content of a file a digest that fits, as if it had been written so."""
    from arcmobile.posttrain.training import state as training_state

    def sign() -> None:
        data = path.read_bytes()
        if len(data) < 8:
            return
        (length,) = struct.unpack_from("<Q", data)
        try:
            header = json.loads(data[8 : 8 + length])
            del header["__metadata__"]["sha256"]
            text = json.dumps(header).encode()
            path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
            tensors, state = training_state.read_tensors(path)
            training_state.write_tensors(path, tensors, state)
        except Exception:  # noqa: BLE001 - what cannot be signed is read as it is
            path.write_bytes(data)

    return sign


@reader("training-state")
def training_state(folder: Path) -> Attempt:
    from dataclasses import asdict

    import torch

    from arcmobile.posttrain.training.settings import FlowSettings
    from arcmobile.posttrain.training.state import read_tensors, write_tensors

    path = folder / "state.safetensors"
    tensors = {"weights/a": torch.ones(3, 4), "adam/step/a": torch.tensor(2.0)}
    write_tensors(path, tensors, {"step": 2, "settings": asdict(FlowSettings())})
    good, sign = path.read_bytes(), _resigned(path)

    def attempt(rng: random.Random) -> None:
        path.write_bytes(_edited(rng, good))
        if rng.random() < 0.5:
            sign()
        _, header = read_tensors(path)
        try:
            FlowSettings(**header["settings"])
        except (KeyError, TypeError):
            return  # what resuming catches, see posttrain/training/resume.py

    return attempt


@reader("latent-shard")
def latent_shard(folder: Path) -> Attempt:
    import numpy as np
    import torch

    from arcmobile.posttrain.latents.cache import CacheSettings, LatentCache, cache_latents
    from arcmobile.posttrain.sounds import Attributes, CaptionedSound

    def make_sound(seed: int) -> CaptionedSound:
        second = Attributes("rain", 1.0) if seed % 2 else None
        joined = "then" if seed % 2 else None
        attributes = Attributes("wind", 1.0, side="left", second=second, joined=joined)
        return CaptionedSound(np.full((2, 64), 0.1, np.float32), "wind", attributes, 1.0)

    def encode(audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = audio.unflatten(2, (-1, 8)).mean(3)
        return mean, torch.full_like(mean, 0.5)

    settings = CacheSettings("a", 64)
    cache_latents(encode, folder / "cache", 4, 10, settings=settings, make_sound=make_sound)
    (path,) = (folder / "cache").glob("shard-*")
    good, sign = path.read_bytes(), _resigned(path)

    def attempt(rng: random.Random) -> None:
        path.write_bytes(_edited(rng, good))
        if rng.random() < 0.5:
            sign()
        cache = LatentCache(folder / "cache")
        batch = cache.batch(np.random.default_rng(0), 8)
        assert torch.isfinite(batch.latents).all()
        assert all(batch.captions)

    return attempt


@reader("metrics")
def metrics(folder: Path) -> Attempt:
    from arcmobile.posttrain.training.metrics import keep_metrics_until, plot_metrics, read_metrics
    from arcmobile.runtime.errors import CheckpointError

    path = folder / "metrics.jsonl"
    plot_metrics(folder / "losses.png", _ROWS, (("flow",),))  # imports what draws

    def attempt(rng: random.Random) -> None:
        lines = [json.dumps(row).encode() for row in _ROWS]
        at = rng.randrange(len(lines))
        lines[at] = mutate_json(rng, _ROWS[at]).replace(b"\n", b" ")
        data = b"\n".join(lines) + b"\n"
        path.write_bytes(mutate_bytes(rng, data) if rng.random() < 0.3 else data)
        keep_metrics_until(path, 60)
        rows = read_metrics(path)
        assert all(0 <= row["step"] <= 60 for row in rows)
        for line in path.read_bytes().splitlines():
            json.loads(line, parse_constant=_refuse)
        if rng.random() < 0.02:
            plot_metrics(folder / "losses.png", rows, (("flow",), ("gradient", "step")))
        if not rows:
            raise CheckpointError("no rows are left")

    return attempt


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@reader("captioned-sounds")
def captioned_sounds(folder: Path) -> Attempt:
    import io

    import numpy as np
    import soundfile

    from arcmobile.posttrain.latents.sound_folder import SoundFolder

    sounds = folder / "sounds"
    sounds.mkdir()
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, (3000, 2))
    good = {}
    for name, kind in (("a.wav", "WAV"), ("b.flac", "FLAC"), ("c.ogg", "OGG"), ("d.mp3", "MP3")):
        file = io.BytesIO()
        soundfile.write(file, samples, 44_100, format=kind)
        good[name] = file.getvalue()
    text = "rain on a roof\r\nsoft rain \u2028 \U0001f327\r\n"

    def attempt(rng: random.Random) -> None:
        name = rng.choice(list(good))
        path = sounds / name
        broken = rng.random() < 0.6
        path.write_bytes(mutate_bytes(rng, good[name]) if broken else good[name])
        data = text.encode(rng.choice(("utf-8", "utf-8-sig", "utf-16")))
        if not broken or rng.random() < 0.3:
            data = mutate_bytes(rng, data)
        path.with_suffix(".txt").write_bytes(data)
        try:
            for index in range(len(found := SoundFolder(sounds, 4000, 44_100))):
                sound = found[index]
                assert sound.audio.shape == (2, 4000)
                assert np.isfinite(sound.audio).all()
                assert 0 < sound.seconds < 1
        finally:
            path.unlink()
            path.with_suffix(".txt").unlink()

    return attempt
