"""Trainings that diverge or are stopped, and faulty folders of sounds and latents."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.posttrain.flow.batches import checkpoint_batches
from arcmobile.posttrain.flow.generator import base_generator
from arcmobile.posttrain.flow.train import train as train_flow
from arcmobile.posttrain.flow.trainer import FlowTrainer
from arcmobile.posttrain.latents.cache import CacheSettings, LatentCache, cache_sound_folder
from arcmobile.posttrain.latents.captions_file import read_captions
from arcmobile.posttrain.latents.sound_folder import SoundFolder
from arcmobile.posttrain.training.folder_lock import is_being_written, only_writer
from arcmobile.posttrain.training.loop import STATE, run_training
from arcmobile.posttrain.training.metrics import (
    METRICS,
    append_metrics,
    keep_metrics_until,
    read_metrics,
)
from arcmobile.posttrain.training.resume import resumed
from arcmobile.posttrain.training.settings import (
    ArcSettings,
    AutoencoderSettings,
    FlowSettings,
    Part,
)
from arcmobile.posttrain.training.state import read_tensors, write_tensors
from arcmobile.runtime.errors import CheckpointError, InputError, OutputError, TrainingError

CHANNELS, FRAMES = 8, 16
SAMPLES, RATE = 4096, 8192


def encode(audio: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 2, SAMPLES) -> latents (B, CHANNELS, FRAMES) that tell sounds apart."""
    mean = audio.reshape(len(audio), CHANNELS, FRAMES, -1).std(3) * 4
    return mean, torch.full_like(mean, 0.1)


def write_sound(path: Path, hertz: float, captions: str, *, seconds: float = 0.4) -> None:
    time = np.arange(round(seconds * RATE)) / RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * time), RATE)
    path.with_suffix(".txt").write_text(captions, encoding="utf-8")


def sounds_in(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        write_sound(folder / f"{index}.wav", 200.0 + 50 * index, f"tone {index}\n")
    return folder


def cached(folder: Path, sounds: Path) -> tuple[int, LatentCache]:
    """The cache of a folder of sounds, and how often the encoder ran for it."""
    calls: list[int] = []

    def counted(audio: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(len(audio))
        return encode(audio)

    settings = CacheSettings(source="test", samples=SAMPLES, sample_rate=RATE, shard=2, batch=1)
    cache_sound_folder(counted, folder, SoundFolder(sounds, SAMPLES, RATE), settings=settings)
    return len(calls), LatentCache(folder)


# --- divergence ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(micro_checkpoint: Path) -> CheckpointFolder:
    return CheckpointFolder.open(micro_checkpoint)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> LatentCache:
    folder = tmp_path_factory.mktemp("cache")
    return cached(folder / "latents", sounds_in(folder / "sounds", 3))[1]


def flow_trainer(base: CheckpointFolder, rate: float, steps: int) -> FlowTrainer:
    settings = FlowSettings(batch=2, warmup=1, learning_rate=rate, steps=steps)
    return FlowTrainer(base_generator(base), settings)


def train(trainer: FlowTrainer, base: CheckpointFolder, cache: LatentCache, out: Path) -> None:
    settings = trainer.settings
    batches = checkpoint_batches(cache, base, seed=settings.seed, size=settings.batch)
    train_flow(trainer, base, batches, out, seconds=60)


@pytest.mark.parametrize("steps", [1, 40])  # the last step's weights are used by no other step
def test_a_training_that_diverges_leaves_nothing(
    base: CheckpointFolder, cache: LatentCache, tmp_path: Path, steps: int
) -> None:
    with pytest.raises(TrainingError, match=r"diverged at step .*no state was saved.*--rate"):
        train(flow_trainer(base, 1e25, steps), base, cache, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] in ([], [METRICS])


def test_a_training_that_diverges_later_leaves_its_last_sound_state(
    base: CheckpointFolder, cache: LatentCache, tmp_path: Path
) -> None:
    train(flow_trainer(base, 1e-4, 2), base, cache, tmp_path)
    state = (tmp_path / STATE).read_bytes()
    written = CheckpointFolder.open(tmp_path / "checkpoint").digest()
    changed = {"learning_rate": 1e25, "steps": 40}

    def make(settings: FlowSettings) -> FlowTrainer:
        return FlowTrainer(base_generator(base), settings)

    broken = resumed(tmp_path, FlowSettings, changed, make)
    with pytest.raises(TrainingError, match="the state of step 2 is kept: go on with --resume"):
        train(broken, base, cache, tmp_path)
    assert (tmp_path / STATE).read_bytes() == state
    assert CheckpointFolder.open(tmp_path / "checkpoint").digest() == written
    again = resumed(tmp_path, FlowSettings, {"steps": 3}, make)
    train(again, base, cache, tmp_path)
    assert again.step == 3


def test_latents_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    settings = CacheSettings(source="test", samples=SAMPLES, sample_rate=RATE)
    sounds = SoundFolder(sounds_in(tmp_path / "sounds", 1), SAMPLES, RATE)
    loud: Callable[[Tensor], tuple[Tensor, Tensor]] = lambda audio: (  # noqa: E731
        encode(audio)[0] + 1e6,
        encode(audio)[1],
    )
    with pytest.raises(InputError, match=r"'tone 0'.*not finite"):
        cache_sound_folder(loud, tmp_path / "cache", sounds, settings=settings)


def test_settings_are_checked_wherever_they_come_from() -> None:
    assert AutoencoderSettings(part="decoder").part is Part.DECODER  # type: ignore[arg-type]
    assert FlowSettings(learning_rate=1).learning_rate == 1.0
    for settings, wrong in (
        (FlowSettings, {"learning_rate": float("nan")}),
        (FlowSettings, {"learning_rate": 10**400}),
        (FlowSettings, {"batch": 0}),
        (FlowSettings, {"steps": 2.0}),
        (FlowSettings, {"seed": 10**18}),
        (ArcSettings, {"average": 1.5}),
        (ArcSettings, {"train_text": 1}),
        (AutoencoderSettings, {"part": "both halves"}),
        (AutoencoderSettings, {"floor": 0.0}),
    ):
        with pytest.raises(InputError, match=next(iter(wrong))):
            settings(**wrong)  # type: ignore[arg-type]


# --- states and metrics --------------------------------------------------------------------------


def test_metrics_are_json_and_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / METRICS
    append_metrics(path, {"step": 1, "loss": float("nan"), "shares": (0.5, float("-inf"))})
    append_metrics(path, {"step": 2, "loss": 0.5})
    lines = [json.loads(line, parse_constant=pytest.fail) for line in path.open()]
    assert lines[0] == {"step": 1, "loss": None, "shares": [0.5, None]}
    with path.open("ab") as file:
        file.write(b'{"step": 3, "loss": NaN}\n[1]\n{"step": "4"}\n\xff\n' + b"[" * 9999 + b"\n")
        file.write(b'{"step": 5, "loss": 1e999}\n{"step": 6, "loss": 0.25}\n{"step": 7, "lo')
    assert read_metrics(path) == [
        {"step": 1}, {"step": 2, "loss": 0.5}, {"step": 3}, {"step": 5}, {"step": 6, "loss": 0.25}
    ]  # fmt: skip
    keep_metrics_until(path, 5)
    assert [json.loads(line)["step"] for line in path.open()] == [1, 2, 3, 5]


def test_a_changed_byte_of_a_state_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / STATE
    write_tensors(path, {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(0)}, {"step": 1})
    tensors, header = read_tensors(path)
    assert tensors["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert header == {"step": 1}
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="has changed since it was written"):
        read_tensors(path)
    path.write_bytes(whole.replace(b'"step', b'"stop'))
    with pytest.raises(CheckpointError, match="has changed since it was written"):
        read_tensors(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="not a file of a training"):
        read_tensors(path)


# --- signals -------------------------------------------------------------------------------------


class Counting:
    """Trains nothing, and gets signals while it does."""

    def __init__(self, signals: list[signal.Signals]) -> None:
        self.step, self.signals = 0, signals

    def train_step(self) -> dict[str, float]:
        if self.step == 1:
            for number in self.signals:
                os.kill(os.getpid(), number)
        self.step += 1
        return {"loss": 1.0}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"weight": torch.ones(1)}, {"step": self.step}


def run(trainer: Counting, out: Path) -> list[str]:
    """What was evaluated before the training was interrupted."""
    evaluated: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_training(
            trainer,
            out,
            name="counting",
            train_step=trainer.train_step,
            evaluate=lambda: evaluated.append("evaluated"),
            steps=10,
            seconds=60,
            watched="loss",
        )
    return evaluated


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_training_with_a_state(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    assert run(Counting([number]), tmp_path) == []
    assert read_tensors(tmp_path / STATE)[1] == {"step": 2}
    assert signal.getsignal(number) is before
    assert [path.name for path in tmp_path.iterdir()] == [STATE]


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    trainer = Counting([signal.SIGTERM, signal.SIGINT])
    run(trainer, tmp_path)
    assert trainer.step == 1
    assert list(tmp_path.iterdir()) == []


# --- folders of sounds ---------------------------------------------------------------------------


def test_every_format_is_read_and_what_is_not_taken_as_it_is_is_said(tmp_path: Path) -> None:
    deeper = tmp_path / "more" / "deep"
    deeper.mkdir(parents=True)
    tone = 0.3 * np.sin(np.arange(RATE // 2) / 5)
    soundfile.write(tmp_path / "a.mp3", np.tile(tone, 4), 44100)
    soundfile.write(tmp_path / "b.aiff", np.stack([tone] * 6, axis=1), RATE)
    soundfile.write(deeper / "c.W64", np.tile(tone, 3), RATE, format="W64")
    for name in ("a", "b", "more/deep/c", "alone"):
        (tmp_path / f"{name}.txt").write_text("a tone\n")
    (tmp_path / "film.m4a").write_bytes(b"\0" * 64)
    (tmp_path / "broken.wav").symlink_to("nowhere.wav")
    (deeper / "back").symlink_to(tmp_path)
    (tmp_path / ".hidden.wav").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.wav")
    folder = SoundFolder(tmp_path, SAMPLES, RATE)
    assert [path.name for path in folder.paths] == ["a.mp3", "b.aiff", "c.W64"]
    assert folder.notes == (
        "3 files left out, not readable as sound: broken.wav, film.m4a, pipe.wav",
        "1 file without a sound file of that name: alone.txt",
        "1 file resampled to 8192 Hz: a.mp3",
        "1 file cut to 0.5 s: more/deep/c.W64",
        "1 file with more than two channels, of which the first two are used: b.aiff",
    )
    assert [round(folder[index].seconds, 1) for index in range(3)] == [0.4, 0.5, 0.5]
    assert folder[1].audio.shape == (2, SAMPLES)


def test_sounds_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.with_suffix(".txt").write_text("noise\n")
    broken.write_bytes(b"RIFF\x10\0\0\0WAVEnone")
    with pytest.raises(InputError, match=r"broken\.wav: not a readable sound file"):
        SoundFolder(tmp_path, SAMPLES, RATE)
    soundfile.write(broken, np.zeros(0), RATE)
    with pytest.raises(InputError, match=r"broken\.wav: holds no samples"):
        SoundFolder(tmp_path, SAMPLES, RATE)[0]
    soundfile.write(broken, np.array([0.5, np.nan]), RATE, subtype="FLOAT")
    with pytest.raises(InputError, match=r"broken\.wav: holds NaN"):
        SoundFolder(tmp_path, SAMPLES, RATE)[0]


def test_captions_in_the_encodings_of_editors(tmp_path: Path) -> None:
    path, sound = tmp_path / "a.txt", tmp_path / "a.wav"
    for data in (
        b"rain\r\n\r\nsoft rain \xe2\x80\xa8 on tin\r\n",
        b"\xef\xbb\xbfrain\nsoft rain \xe2\x80\xa8 on tin",
        "rain\rsoft rain \u2028 on tin\r".encode("utf-16"),
    ):
        path.write_bytes(data)
        assert read_captions(path, sound) == ("rain", "soft rain \u2028 on tin")
    for data, words in (
        (b"r\0a\0i\0n\0\n\0", "control character U\\+0000"),
        (b"caf\xe9", "not UTF-8"),
        (b" \r\n", "is empty"),
        (b"x" * (1 << 17), "over 64 kB"),
    ):
        path.write_bytes(data)
        with pytest.raises(InputError, match=words):
            read_captions(path, sound)


# --- the cache of latents ------------------------------------------------------------------------


def test_what_changes_in_a_folder_changes_in_its_cache(tmp_path: Path) -> None:
    sounds, folder = sounds_in(tmp_path / "sounds", 5), tmp_path / "cache"
    assert cached(folder, sounds)[0] == 5
    encoded, before = cached(folder, sounds)
    assert encoded == 0
    (sounds / "0.txt").write_text("another wording\n")  # no new latents for new words
    write_sound(sounds / "3.wav", 1000, "higher\n")
    encoded, now = cached(folder, sounds)
    assert encoded == 1
    assert [sound.captions for sound in now.sounds] == [
        ("another wording",), ("tone 1",), ("tone 2",), ("higher",), ("tone 4",)
    ]  # fmt: skip
    assert [torch.equal(now.mean[k], before.mean[k]) for k in range(5)] == [True] * 3 + [
        False,
        True,
    ]
    for name in ("0", "1", "2"):
        (sounds / f"{name}.wav").unlink()
    encoded, fewer = cached(folder, sounds)
    assert (encoded, len(list(folder.glob("shard-*")))) == (0, 1)
    assert torch.equal(fewer.mean, now.mean[3:])


def test_a_run_that_is_stopped_leaves_nothing_old(tmp_path: Path) -> None:
    sounds, folder = sounds_in(tmp_path / "sounds", 6), tmp_path / "cache"
    cached(folder, sounds)
    for name in ("3", "5"):
        write_sound(sounds / f"{name}.wav", 1000, "higher\n")

    def stopped(audio: Tensor) -> tuple[Tensor, Tensor]:
        raise KeyboardInterrupt

    settings = CacheSettings(source="test", samples=SAMPLES, sample_rate=RATE, shard=2, batch=1)
    with pytest.raises(KeyboardInterrupt):
        cache_sound_folder(stopped, folder, SoundFolder(sounds, SAMPLES, RATE), settings=settings)
    assert [path.name for path in folder.glob("shard-*")] == ["shard-00000.safetensors"]
    with pytest.raises(InputError, match=r"only 2 of 6 sounds are cached; run .* again"):
        LatentCache(folder)
    encoded, now = cached(folder, sounds)
    assert (encoded, len(now)) == (4, 6)


def test_a_damaged_or_foreign_shard_is_never_believed(tmp_path: Path) -> None:
    sounds, folder = sounds_in(tmp_path / "sounds", 2), tmp_path / "cache"
    cached(folder, sounds)
    (shard,) = folder.glob("shard-*")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-2] + bytes([whole[-2] ^ 4]) + whole[-1:])
    with pytest.raises(CheckpointError, match="has changed since it was written; remove it"):
        LatentCache(folder)
    with pytest.raises(CheckpointError, match="has changed since"):
        cached(folder, sounds)
    shard.write_bytes(whole.replace(b"tone 0", b"bell 0"))
    with pytest.raises(CheckpointError, match="has changed since"):
        LatentCache(folder)
    shard.write_bytes(whole)
    settings = CacheSettings(source="other", samples=SAMPLES, sample_rate=RATE)
    with pytest.raises(InputError, match="another autoencoder"):
        cache_sound_folder(encode, folder, SoundFolder(sounds, SAMPLES, RATE), settings=settings)
    with pytest.raises(InputError, match="another autoencoder"):
        cache_sound_folder(
            encode, folder, SoundFolder(sounds, SAMPLES, RATE),
            settings=replace(settings, source="test", sample_rate=RATE + 1),
        )  # fmt: skip


def test_one_process_writes_a_cache_and_nobody_reads_it_meanwhile(tmp_path: Path) -> None:
    sounds, folder = sounds_in(tmp_path / "sounds", 1), tmp_path / "cache"
    with only_writer(folder):
        assert is_being_written(folder)
        with pytest.raises(OutputError, match="another process is writing it"):
            cached(folder, sounds)
        with pytest.raises(InputError, match="wait until that is done"):
            LatentCache(folder)
    assert not is_being_written(folder)
    assert len(cached(folder, sounds)[1]) == 1


# --- the command line ----------------------------------------------------------------------------


def test_help_needs_no_pytorch() -> None:
    script = (
        "import sys; sys.modules['torch'] = sys.modules['resource'] = sys.modules['fcntl'] = None\n"
        "from typer.testing import CliRunner\n"
        "from arcmobile.cli.main import app\n"
        "names = 'autoencoder text start latents flow arc classifier'.split()\n"
        "for words in ([], *([name] for name in names)):\n"
        "    result = CliRunner().invoke(app, ['posttrain', *words, '--help'])\n"
        "    assert result.exit_code == 0, result.output\n"
        "    assert 'Usage' in result.output\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_module_imports_where_there_is_no_unix() -> None:
    script = (
        "import importlib, pkgutil, signal, sys\n"
        "sys.modules['resource'] = sys.modules['fcntl'] = None\n"
        "del signal.SIGHUP, signal.SIGXFSZ\n"
        "for name in ('cli', 'bench', 'posttrain'):\n"
        "    package = importlib.import_module(f'arcmobile.{name}')\n"
        "    for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):\n"
        "        if not module.name.endswith('__main__'):\n"
        "            importlib.import_module(module.name)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
