"""Trainable networks, flow matching, the checkpoint it starts from, and folders of own sounds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from arcmobile.cli.main import app
from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
from arcmobile.export.manifest import folder_tokenizer
from arcmobile.posttrain.autoencoder.filterbanks import mel_spaced_pairs, spaced_tones
from arcmobile.posttrain.autoencoder.stereo_from_mono import stereo_config, stereo_tensors
from arcmobile.posttrain.autoencoder.tensors import TrainableAutoencoder
from arcmobile.posttrain.autoencoder.tensors import initial_tensors as autoencoder_start
from arcmobile.posttrain.embedded_model import (
    embedded_config,
    embedded_model_config,
    one_channel_autoencoder,
)
from arcmobile.posttrain.flow.batches import cached_batches
from arcmobile.posttrain.flow.generator import (
    TrainableGenerator,
    base_generator,
    initial_tensors,
)
from arcmobile.posttrain.flow.start_checkpoint import write_start, write_with_autoencoder
from arcmobile.posttrain.flow.trainer import FlowTrainer
from arcmobile.posttrain.latents.cache import LatentBatch, LatentCache, cache_sound_folder
from arcmobile.posttrain.latents.encoders import checkpoint_encoder
from arcmobile.posttrain.latents.sound_folder import SoundFolder
from arcmobile.posttrain.training.settings import FlowSettings
from arcmobile.posttrain.training.state import read_tensors, write_tensors
from arcmobile.runtime.errors import CheckpointError, InputError

CAPTIONS = ("a low hum", "rain on a roof", "two claps", "a bright bell")
CHANNELS, FRAMES = 8, 16


class FourSounds:
    """Latents that are constant over time, a level for each caption."""

    def batch(self, rng: np.random.Generator, size: int) -> LatentBatch:
        which = rng.integers(len(CAPTIONS), size=size)
        level = torch.linspace(-1.5, 1.5, len(CAPTIONS))[torch.from_numpy(which)]
        latents = level.view(-1, 1, 1).expand(size, CHANNELS, FRAMES).clone()
        return LatentBatch(latents, [CAPTIONS[i] for i in which], torch.full((size,), 2.0))


@pytest.fixture(scope="module")
def base(micro_checkpoint: Path) -> CheckpointFolder:
    return CheckpointFolder.open(micro_checkpoint)


@pytest.fixture
def generator(base: CheckpointFolder) -> TrainableGenerator:
    return base_generator(base)


def inputs(batch: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Latent, time, ids, mask, seconds."""
    random = torch.Generator().manual_seed(1)
    latent = torch.randn(batch, CHANNELS, FRAMES, generator=random)
    ids = torch.randint(3, 40, (batch, 64), generator=random)
    mask = (torch.arange(64)[None] < 9).float().repeat(batch, 1)
    return latent, torch.rand(batch, generator=random), ids, mask, torch.linspace(0.5, 2, batch)


# --- networks ------------------------------------------------------------------------------------


def test_what_goes_in_comes_out(base: CheckpointFolder, generator: TrainableGenerator) -> None:
    model, text = generator.checkpoint_tensors()
    assert all(torch.equal(tensor, base.source.read(name)) for name, tensor in model.items())
    assert all(torch.equal(tensor, base.text_source.read(name)) for name, tensor in text.items())
    assert not any(name.startswith("pretransform") for name in model)


def test_what_is_trained_comes_out_in_its_place(
    base: CheckpointFolder, generator: TrainableGenerator
) -> None:
    with torch.no_grad():
        for parameter in generator.trained_parameters().values():
            parameter.add_(1)
    model, text = generator.checkpoint_tensors()
    still = {
        name for name, tensor in model.items() if torch.equal(tensor, base.source.read(name))
    } | {name for name, tensor in text.items() if torch.equal(tensor, base.text_source.read(name))}
    # Fourier features and tables are constants upstream too.
    assert still == {
        "conditioner.conditioners.seconds_total.embedder.embedding.0.weights",
        "model.model.timestep_features.weight",
        "model.model.transformer.rotary_pos_emb.inv_freq",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    }
    moved = {**model, **text}
    for name in moved.keys() - still:
        source = base.source if name in model else base.text_source
        torch.testing.assert_close(moved[name], source.read(name) + 1)


def test_values_stand_in_for_parameters(generator: TrainableGenerator) -> None:
    name = next(iter(generator.trained_parameters()))
    values = {name: torch.zeros_like(generator.trained_parameters()[name])}
    before = generator.checkpoint_tensors()
    after = generator.checkpoint_tensors(values)
    changed = [
        key
        for old, new in zip(before, after, strict=True)
        for key in old
        if not torch.equal(old[key], new[key])
    ]
    assert len(changed) == 1


def test_prompts_can_be_exchanged_and_dropped(generator: TrainableGenerator) -> None:
    latent, time, ids, mask, seconds = inputs()
    conditioning = generator.condition(ids, mask, seconds)
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        exchanged = generator.velocity(latent, time, conditioning.rows(order))
        again = generator.condition(ids[order], mask[order], seconds[order])
        torch.testing.assert_close(exchanged, generator.velocity(latent, time, again))
        kept = generator.velocity(latent, time, conditioning)
        partly = generator.velocity(
            latent, time, conditioning.dropped(torch.tensor([1.0, 0.0, 1.0]))
        )
        other = generator.condition(ids.flip(1), mask, seconds)
        nothing = [
            generator.velocity(latent, time, prompt.dropped(torch.zeros(3)))
            for prompt in (conditioning, other)
        ]
    torch.testing.assert_close(partly[::2], kept[::2])
    assert not torch.allclose(partly[1], kept[1])
    torch.testing.assert_close(nothing[0], nothing[1])


def test_a_new_generator_says_nothing_yet(base: CheckpointFolder) -> None:
    config, text = base.config, base.text_config
    fresh = TrainableGenerator(config, text, *initial_tensors(config, text, 0))
    latent, time, ids, mask, seconds = inputs()
    assert not fresh.velocity(latent, time, fresh.condition(ids, mask, seconds)).any()


def test_tensors_of_another_model_are_named(base: CheckpointFolder) -> None:
    config, text = base.config, base.text_config
    model, words = initial_tensors(config, text, 0)
    name = "model.model.transformer.project_in.weight"
    with pytest.raises(ValueError, match=name):
        TrainableGenerator(config, text, {**model, name: torch.zeros(2, 2)}, words)
    del model[name]
    with pytest.raises(KeyError, match=name):
        TrainableGenerator(config, text, model, words)


# --- training ------------------------------------------------------------------------------------


def test_flow_matching_learns_which_sound_is_meant(base: CheckpointFolder) -> None:
    config, text = base.config, base.text_config
    tensors, _ = initial_tensors(config, text, 0)
    words = {name: base.text_source.read(name) for name in base.text_source.names()}
    settings = FlowSettings(steps=60, batch=16, warmup=5, drop=0.0)
    trainer = FlowTrainer(TrainableGenerator(config, text, tensors, words), settings)
    batches = cached_batches(FourSounds(), folder_tokenizer(base), seed=0, size=16)
    losses = [trainer.train_step(batches(step))["flow"] for step in range(60)]
    assert np.mean(losses[-10:]) < 0.4 * np.mean(losses[:5])


def test_training_goes_on_exactly(base: CheckpointFolder) -> None:
    settings = FlowSettings(steps=6, batch=4, warmup=2)
    batches = cached_batches(FourSounds(), folder_tokenizer(base), seed=0, size=4)

    def run(trainer: FlowTrainer, until: int) -> FlowTrainer:
        while trainer.step < until:
            trainer.train_step(batches(trainer.step))
        return trainer

    whole = run(FlowTrainer(base_generator(base), settings), 6)
    first = run(FlowTrainer(base_generator(base), settings), 3)
    second = FlowTrainer(base_generator(base), settings)
    second.restore(*first.state())
    run(second, 6)
    for ours, theirs in zip(whole.averaged_tensors(), second.averaged_tensors(), strict=True):
        # Sums depend on where arrays lie in memory, and Muon works in bfloat16; a lost moment would
        # show in the third digit.
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=1e-4)


# --- from parts to a checkpoint ------------------------------------------------------------------


def test_the_embedded_model_fits_together() -> None:
    config = embedded_config()
    assert config.sample_size / config.sample_rate > 3
    assert config.max_frames * config.samples_per_frame == config.sample_size


def micro_parts(base: CheckpointFolder, folder: Path) -> tuple[dict[str, Any], Path, Path]:
    """Config, autoencoder folder and text folder, as their trainings leave them."""
    config = base.config.autoencoder
    write_tensors(
        folder / "autoencoder" / "autoencoder.safetensors", autoencoder_start(config, 0), {}
    )
    summary = {"config": config.model_dump(mode="json"), "latents": {"scale": 1.7}}
    (folder / "autoencoder" / "autoencoder.json").write_text(json.dumps(summary))
    content = json.loads((base.path / "model_config.json").read_text())
    return content, folder / "autoencoder", base.path


def test_trained_parts_make_a_checkpoint(base: CheckpointFolder, tmp_path: Path) -> None:
    content, autoencoder, text = micro_parts(base, tmp_path)
    write_start(content, autoencoder, text, tmp_path / "start")
    start = CheckpointFolder.open(tmp_path / "start")
    require_sound(start)
    assert start.config.model.pretransform.scale == 1.7
    stored = load_file(tmp_path / "start" / "model.safetensors")
    trained = autoencoder_start(start.config.autoencoder, 0)
    assert all(torch.equal(stored[name], tensor) for name, tensor in trained.items())


def test_a_generator_gets_the_autoencoder_of_its_latents(
    base: CheckpointFolder, tmp_path: Path
) -> None:
    _, autoencoder, _ = micro_parts(base, tmp_path)
    out = tmp_path / "joined"
    with pytest.raises(CheckpointError, match=r"--generator .*scale"):
        write_with_autoencoder(base.path, autoencoder, out, torch.float32)

    summary = json.loads((autoencoder / "autoencoder.json").read_text())
    summary["latents"]["scale"] = base.config.model.pretransform.scale
    (autoencoder / "autoencoder.json").write_text(json.dumps(summary))
    write_with_autoencoder(base.path, autoencoder, out, torch.float32)
    stored, theirs = (load_file(path / "model.safetensors") for path in (out, base.path))
    trained = autoencoder_start(base.config.autoencoder, 0)
    for name, tensor in stored.items():
        assert torch.equal(tensor, trained[name] if name in trained else theirs[name]), name


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"autoencoder\.safetensors"):
        write_start(embedded_model_config(), tmp_path, tmp_path, tmp_path / "start")


def test_the_command_trains_and_goes_on(base: CheckpointFolder, tmp_path: Path) -> None:
    cached(base, tmp_path, 4)
    options = ["--start", str(base.path), "--latents", str(tmp_path / "latents"), "--batch", "2"]
    options = ["posttrain", "flow", *options, "--out", str(tmp_path / "flow"), "--threads", "1"]
    runner = CliRunner()
    result = runner.invoke(app, [*options, "--steps", "2"])
    assert result.exit_code == 0, result.output
    require_sound(CheckpointFolder.open(tmp_path / "flow" / "checkpoint"))
    result = runner.invoke(app, [*options, "--steps", "2"])
    assert result.exit_code == 2
    assert "--resume" in result.output
    result = runner.invoke(app, [*options, "--steps", "3", "--resume", "--rate", "0.001"])
    assert result.exit_code == 0, result.output
    _, header = read_tensors(tmp_path / "flow" / "state.safetensors")
    assert (header["step"], header["settings"]["learning_rate"]) == (3, 0.001)
    assert (tmp_path / "flow" / "losses.png").is_file()


def test_two_of_one_channel_are_one_of_two() -> None:
    mono = one_channel_autoencoder()
    tensors = autoencoder_start(mono, 0)
    stereo = stereo_config(mono)
    assert stereo == embedded_config().autoencoder
    one = TrainableAutoencoder(mono, tensors)
    two = TrainableAutoencoder(stereo, stereo_tensors(mono, tensors))
    sound = 0.1 * torch.randn(1, 2, 8192, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = [part.flatten(0, 1) for part in one.encode(sound.view(2, 1, -1))]
        found = [part.squeeze(0) for part in two.encode(sound)]
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
        latent = found[0].view(2, -1, 4)
        sides = one.decode(latent).squeeze(1)
        torch.testing.assert_close(two.decode(found[0][None])[0], sides, atol=2e-5, rtol=0)


# --- filter banks --------------------------------------------------------------------------------


def test_spaced_tones_join_to_steady_ones() -> None:
    hop, frames = 256, 40
    rows = spaced_tones(80, hop)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(80))
    sound = torch.zeros((frames + 1) * hop)
    for frame in range(frames):
        sound[frame * hop : (frame + 2) * hop] += rows[19]
    spectrum = torch.fft.rfft(sound[hop : 33 * hop]).abs()
    assert spectrum.argmax() == 32 * 20
    assert spectrum.sum() < 1.01 * spectrum.max()  # nothing else


def test_mel_spaced_pairs_hear_every_low_frequency_and_every_instant() -> None:
    hop = 128
    filters = mel_spaced_pairs(32, 2 * hop, 44100)
    torch.testing.assert_close(filters.norm(dim=1), torch.ones(64))
    time = torch.arange(2 * hop) / 44100
    for hertz in (60, 250, 1000, 2000):
        tone = torch.cos(2 * torch.pi * hertz * time)
        energy = (filters @ tone).view(-1, 2).square().sum(1)
        assert energy.max() > 20, hertz
    clicks = filters.view(-1, 2, 2, hop).square().sum((1, 2))  # by pair and place in a frame
    assert (clicks > 0.1 * clicks.amax(1, keepdim=True)).all()


# --- own sounds ----------------------------------------------------------------------------------


def write_sounds(folder: Path, count: int, samples: int) -> Path:
    folder.mkdir()
    for index in range(count):
        time = np.arange(samples // 2) / 44100
        tone = 0.3 * np.sin(2 * np.pi * 220 * (index + 1) * time)
        soundfile.write(folder / f"{index}.wav", tone, 44100)
        (folder / f"{index}.txt").write_text(f"tone number {index}\n\na tone, {index}\n")
    return folder


def cached(base: CheckpointFolder, folder: Path, count: int) -> LatentCache:
    """Latents of as many sounds, of FRAMES frames, in the folder's ``latents``."""
    encode, settings = checkpoint_encoder(base.path)
    samples = FRAMES * base.config.samples_per_frame
    assert samples <= settings.samples
    settings = replace(settings, samples=samples, shard=2, batch=2)
    sounds = SoundFolder(write_sounds(folder / "sounds", count, samples), samples, 44100)
    assert cache_sound_folder(encode, folder / "latents", sounds, settings=settings)
    return LatentCache(folder / "latents")


def test_own_sounds_come_with_all_their_wordings(tmp_path: Path) -> None:
    folder = SoundFolder(write_sounds(tmp_path / "sounds", 3, 8000), 8000, 44100)
    assert len(folder) == 3
    sound = folder[1]
    assert sound.audio.shape == (2, 8000)
    assert sound.captions == ("tone number 1", "a tone, 1")
    assert sound.seconds == pytest.approx(4000 / 44100, abs=1e-3)
    assert not sound.audio[:, 4000:].any()


def test_own_sounds_are_cached_with_their_captions(base: CheckpointFolder, tmp_path: Path) -> None:
    cache = cached(base, tmp_path, 3)
    batch = cache.batch(np.random.default_rng(0), 8)
    assert batch.latents.shape == (8, CHANNELS, FRAMES)
    assert set(batch.captions) <= {text for s in cache.sounds for text in s.captions}


def test_faulty_folders_of_sounds_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no sound files"):
        SoundFolder(tmp_path, 100, 44100)
    folder = write_sounds(tmp_path / "sounds", 1, 8000)
    (folder / "0.txt").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        SoundFolder(folder, 100, 44100)
    (folder / "0.txt").unlink()
    with pytest.raises(InputError, match="write the captions"):
        SoundFolder(folder, 100, 44100)
