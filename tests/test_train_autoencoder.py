"""Training of the autoencoder: losses by hand, steps that learn, resuming, and what is written."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from arcmobile.cli.main import app
from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
from arcmobile.export.model.autoencoder_config import AutoencoderConfig
from arcmobile.export.model.config import load_model_config
from arcmobile.posttrain.autoencoder import train as train_autoencoder
from arcmobile.posttrain.autoencoder.crops import Audio, crop_batch, crop_of
from arcmobile.posttrain.autoencoder.reconstruction import log_spectral_distance, si_sdr
from arcmobile.posttrain.autoencoder.spectral_losses import (
    FLOOR,
    QUIETEST,
    LogMel,
    StftLoss,
    left_right_mid_side,
    magnitudes,
    mel_matrix,
    short_time_spectra,
    spectral_distance,
)
from arcmobile.posttrain.autoencoder.tensors import (
    PREFIX,
    TrainableAutoencoder,
    expected_shapes,
    initial_tensors,
)
from arcmobile.posttrain.autoencoder.train import train
from arcmobile.posttrain.autoencoder.trainer import (
    AutoencoderTrainer,
    kl_divergence,
    latent_figures,
    waveform_distance,
)
from arcmobile.posttrain.autoencoder.waveform_discriminator import (
    ScaleOutput,
    WaveformDiscriminator,
    adversarial_loss,
    discriminator_loss,
    feature_distance,
)
from arcmobile.posttrain.embedded_model import embedded_config, one_channel_autoencoder
from arcmobile.posttrain.training import loop as training_loop
from arcmobile.posttrain.training import resume
from arcmobile.posttrain.training import state as training_state
from arcmobile.posttrain.training.loop import Intervals
from arcmobile.posttrain.training.metrics import METRICS, append_metrics, read_metrics
from arcmobile.posttrain.training.settings import AutoencoderSettings
from arcmobile.runtime.errors import CheckpointError, InputError, OutputError, TrainingError

SAMPLES = 4096
QUICK = {"intervals": Intervals(report=2, save=2, evaluate=100), "held_out": 2}


def tone(seed: int) -> Audio:
    """(2, 6000): one of a few tones, louder on the left."""
    hertz = 200.0 * (1 + seed % 5)
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(6000) / 44100)
    return np.stack((wave, 0.3 * wave)).astype(np.float32)


@pytest.fixture(scope="module")
def micro_autoencoder(micro_checkpoint: Path) -> AutoencoderConfig:
    return load_model_config(micro_checkpoint / "model_config.json").autoencoder


def settings(**changes: float) -> AutoencoderSettings:
    chosen = {"steps": 6, "batch": 2, "samples": SAMPLES, "warmup": 2, "resolutions": 2}
    chosen |= {"discriminator_width": 4, "adversarial_from": 0.5, **changes}
    return AutoencoderSettings(**chosen)  # type: ignore[arg-type]


# --- losses --------------------------------------------------------------------------------------


def test_spectral_distance_by_hand() -> None:
    target = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    estimate = torch.tensor([3.0, 1.0]).view(1, 1, 1, 2)
    # |(0, 3)| / |(3, 4)|, the same of roots, and the mean of |log 1| and |log 4|
    roots = (4**0.5 - 1) / math.hypot(3**0.5, 4**0.5)
    expected = 3 / 5 + roots + 0.5 * math.log(4) / 2
    assert float(spectral_distance(estimate, target, 0.5)) == pytest.approx(expected)


def test_errors_against_silence_are_related_to_the_floor() -> None:
    silence, quiet = torch.full((1, 1, 1, 4), FLOOR), torch.full((1, 1, 1, 4), 3 * FLOOR)
    # errors over the least size of a target, of magnitudes and of roots, and log 3
    roots = (math.sqrt(3 * FLOOR) - math.sqrt(FLOOR)) / math.sqrt(QUIETEST)
    expected = 2 * FLOOR / QUIETEST + roots + math.log(3)
    assert float(spectral_distance(quiet, silence, 1.0)) == pytest.approx(expected, rel=1e-5)


def test_mid_and_side_come_from_spectra() -> None:
    audio = torch.randn(1, 2, 1024, generator=torch.Generator().manual_seed(0))
    mid = (audio[:, :1] + audio[:, 1:]) / math.sqrt(2)
    four = left_right_mid_side(short_time_spectra(audio, 256))
    torch.testing.assert_close(four[:, 2:3], short_time_spectra(mid, 256))


@pytest.mark.parametrize("size", [32, 512])
def test_noise_has_magnitudes_of_its_rms_at_every_size(size: int) -> None:
    noise = 0.1 * torch.randn(1, 2, 40_000, generator=torch.Generator().manual_seed(1))
    levels = magnitudes(short_time_spectra(noise, size))[:, :, 1:-1]
    assert float(levels.square().mean().sqrt()) == pytest.approx(0.1, rel=0.03)


def test_stft_loss_sees_gain_and_side() -> None:
    audio = torch.from_numpy(tone(1))[None]
    assert float(StftLoss()(audio, audio)) == 0
    swapped = audio.flip(1)
    assert float(StftLoss((512,))(swapped, audio)) > float(StftLoss((512,))(0.9 * audio, audio))


def test_log_mel_of_a_gain_is_the_gain() -> None:
    matrix = mel_matrix(80, 2048, 44100)
    torch.testing.assert_close(matrix.sum(1), torch.ones(80))
    noise = torch.randn(1, 2, 8192, generator=torch.Generator().manual_seed(2))
    assert float(LogMel().distance(2 * noise, noise)) == pytest.approx(math.log(2), rel=1e-4)


def test_kl_and_waveform_distance_by_hand() -> None:
    mean, stdev = torch.tensor([[[2.0], [0.0]]]), torch.tensor([[[1.0], [math.exp(-1)]]])
    expected = 2.0 + 0.5 * (math.exp(-2) - 1) + 1
    assert float(kl_divergence(mean, stdev)) == pytest.approx(expected)
    target = torch.full((1, 2, 4), 0.5)
    assert float(waveform_distance(0.5 * target, target)) == pytest.approx(0.5)


def test_adversarial_losses_by_hand() -> None:
    real = [ScaleOutput(torch.tensor([2.0, 0.5]), (torch.tensor([1.0, -3.0]),))]
    made = [ScaleOutput(torch.tensor([-3.0, 0.0]), (torch.tensor([2.0, -3.0]),))]
    assert float(discriminator_loss(real, made)) == pytest.approx(0.25 + 0.5)
    assert float(adversarial_loss(made)) == pytest.approx(1.5)
    assert float(feature_distance(real, made)) == pytest.approx(0.5 / 2)


@pytest.mark.parametrize("channels", [1, 2])
def test_discriminator_learns_to_tell_noise_from_tones(channels: int) -> None:
    torch.manual_seed(0)
    discriminator = WaveformDiscriminator(width=4, channels=channels, sizes=(256, 64))
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-2)
    tones = torch.from_numpy(np.stack([tone(seed)[:channels] for seed in range(4)]))
    noise = 0.3 * torch.randn(tones.shape)
    losses = []
    for _ in range(25):
        loss = discriminator_loss(discriminator(tones), discriminator(noise))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(2, abs=0.3)
    assert losses[-1] < 1


def test_figures_of_known_distortions() -> None:
    target = torch.randn(1, 2, 8192, generator=torch.Generator().manual_seed(3))
    noise = torch.randn(1, 2, 8192, generator=torch.Generator().manual_seed(4))
    assert float(si_sdr(3 * (target + 0.1 * noise), target)) == pytest.approx(20, abs=0.5)
    assert float(log_spectral_distance(0.5 * target, target)) == pytest.approx(6.02, abs=0.05)


# --- tensors -------------------------------------------------------------------------------------


def test_initial_autoencoder_keeps_signals_in_size() -> None:
    config = embedded_config().autoencoder
    network = TrainableAutoencoder(config, initial_tensors(config, 0))
    noise = 0.1 * torch.randn(1, 2, 16384, generator=torch.Generator().manual_seed(0))
    made, mean, _ = network(noise, torch.randn(1, 64, 8))
    assert 0.3 < float(mean.detach().std()) < 5
    assert float(made.detach().std()) < 1


def test_tensors_have_the_checkpoints_names_and_come_back(
    micro_checkpoint: Path, micro_autoencoder: AutoencoderConfig
) -> None:
    stored = load_file(micro_checkpoint / "model.safetensors")
    parts = {name: value for name, value in stored.items() if name.startswith(PREFIX)}
    assert {name: tuple(value.shape) for name, value in parts.items()} == expected_shapes(
        micro_autoencoder
    )
    written = TrainableAutoencoder(micro_autoencoder, parts).checkpoint_tensors()
    assert written.keys() == parts.keys()
    for name, value in parts.items():
        assert torch.equal(written[name], value), name


def test_every_tensor_is_trained(micro_autoencoder: AutoencoderConfig) -> None:
    network = TrainableAutoencoder(micro_autoencoder, initial_tensors(micro_autoencoder, 0))
    made, mean, stdev = network(torch.randn(1, 2, 64), torch.randn(1, 8, 8))
    (made.square().mean() + mean.square().mean() + stdev.mean()).backward()
    gradients = {name: value.grad for name, value in network.named_tensors().items()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    assert len(gradients) == len(list(network.parameters()))


def test_wrong_tensors_are_named(micro_autoencoder: AutoencoderConfig) -> None:
    tensors = initial_tensors(micro_autoencoder, 0)
    name = f"{PREFIX}.decoder.layers.0.bias"
    with pytest.raises(ValueError, match=name):
        TrainableAutoencoder(micro_autoencoder, {**tensors, name: torch.zeros(3)})


# --- crops ---------------------------------------------------------------------------------------


def test_crops_depend_on_seed_and_step_and_avoid_silence() -> None:
    first = crop_batch(0, 3, 2, SAMPLES, tone)
    assert first.shape == (2, 2, SAMPLES)
    assert np.array_equal(first, crop_batch(0, 3, 2, SAMPLES, tone))
    assert not np.array_equal(first, crop_batch(0, 4, 2, SAMPLES, tone))
    click = np.zeros((2, 60_000), np.float32)
    click[:, 30_000] = 1
    hits = [crop_of(click, 20_000, np.random.default_rng(seed)).any() for seed in range(40)]
    assert np.mean(hits) > 0.5  # a single start would hit a third of the time
    assert crop_of(click[:, :100], SAMPLES, np.random.default_rng(0)).shape == (2, SAMPLES)


# --- training ------------------------------------------------------------------------------------


def test_a_few_steps_lower_the_loss(micro_autoencoder: AutoencoderConfig) -> None:
    chosen = settings(steps=60, adversarial_from=1.0)
    trainer = AutoencoderTrainer(micro_autoencoder, chosen)
    batches = [crop_batch(0, step, 2, SAMPLES, tone) for step in range(60)]
    losses = [trainer.train_step(batch)["loss"] for batch in batches]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_one_channel_is_judged_by_the_discriminator_too() -> None:
    chosen = settings(steps=1, adversarial_from=0.0, samples=8192, finest_units=False)
    trainer = AutoencoderTrainer(one_channel_autoencoder(), chosen)
    losses = trainer.train_step(crop_batch(0, 0, 2, 8192, tone))
    assert all(np.isfinite(losses[name]) for name in ("adversarial", "features", "discriminator"))


def test_learning_rate_warms_up_and_decays() -> None:
    chosen = AutoencoderSettings(steps=1000, warmup=100, last_rate=0.1)
    assert chosen.rate_at(0) == pytest.approx(0.01)
    assert chosen.rate_at(100) == pytest.approx(1)
    assert chosen.rate_at(550) == pytest.approx(0.55)
    assert chosen.rate_at(1000) == pytest.approx(0.1)


def resumed(config: AutoencoderConfig, out: Path) -> AutoencoderTrainer:
    return resume.resumed(
        out, AutoencoderSettings, {}, lambda settings: AutoencoderTrainer(config, settings)
    )


def save(trainer: AutoencoderTrainer, out: Path) -> None:
    training_state.write_tensors(out / training_loop.STATE, *trainer.state())


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(
    tmp_path: Path, micro_autoencoder: AutoencoderConfig
) -> None:
    whole = AutoencoderTrainer(micro_autoencoder, settings())
    train(whole, tmp_path / "whole", seconds=60, **QUICK, make_sound=tone)

    halves = tmp_path / "halves"
    first = AutoencoderTrainer(micro_autoencoder, settings())
    for step in range(5):  # into the adversarial part; the state is that of step 4
        first.train_step(crop_batch(0, step, 2, SAMPLES, tone))
        if step == 3:
            save(first, halves)
    append_metrics(halves / METRICS, {"step": 5, "loss": 1.0})
    second = resumed(micro_autoencoder, halves)
    assert second.step == 4
    train(second, halves, seconds=60, **QUICK, make_sound=tone)

    ends = [load_file(folder / training_loop.STATE) for folder in (tmp_path / "whole", halves)]
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name]), name
    steps = [row["step"] for row in read_metrics(halves / METRICS)]
    assert steps == [6, 6]  # losses and figures; the row after the state is gone


def test_stop_file_and_what_a_training_leaves(
    tmp_path: Path, micro_checkpoint: Path, micro_autoencoder: AutoencoderConfig
) -> None:
    trainer = AutoencoderTrainer(micro_autoencoder, settings(steps=50))

    def draw_and_stop(seed: int) -> Audio:
        if trainer.step == 3:
            (tmp_path / training_loop.STOP).touch()
        return tone(seed)

    train(trainer, tmp_path, seconds=60, **QUICK, make_sound=draw_and_stop)
    assert trainer.step < 10
    found = {path.name for path in tmp_path.iterdir()}
    assert {"state.safetensors", "metrics.jsonl", "losses.png", "examples"} <= found
    assert (tmp_path / "examples" / "spectrograms.png").stat().st_size > 1000

    summary = json.loads((tmp_path / train_autoencoder.SUMMARY).read_text())
    assert len(summary["latents"]["channel_std"]) == 8
    assert summary["step"] == trainer.step

    # The written tensors make a sound checkpoint whose networks give the same outputs.
    folder = tmp_path / "checkpoint"
    shutil.copytree(micro_checkpoint, folder)
    tensors = load_file(folder / "model.safetensors")
    trained = load_file(tmp_path / train_autoencoder.TENSORS)
    save_file({**tensors, **trained}, folder / "model.safetensors")
    checkpoint = CheckpointFolder.open(folder)
    require_sound(checkpoint)
    network = TrainableAutoencoder(micro_autoencoder, trainer.averaged_tensors())
    audio = torch.from_numpy(tone(0)[None, :, :512])
    with torch.no_grad():
        mean, stdev = network.encode(audio)
        for ours, theirs in zip((mean, stdev), checkpoint.build("encoder")(audio), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
        made = checkpoint.build("decoder")(mean)
        torch.testing.assert_close(network.decode(mean), made, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 9])  # the last step's weights are used by no other step
def test_a_training_that_diverges_leaves_nothing(
    tmp_path: Path, micro_autoencoder: AutoencoderConfig, steps: int
) -> None:
    trainer = AutoencoderTrainer(micro_autoencoder, settings(steps=steps, learning_rate=1e25))
    with pytest.raises(TrainingError, match="autoencoder diverged at step"):
        train(trainer, tmp_path, seconds=60, **QUICK, make_sound=tone)
    assert {path.name for path in tmp_path.iterdir()} <= {"metrics.jsonl"}


def test_an_interrupted_write_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_autoencoder: AutoencoderConfig
) -> None:
    trainer = AutoencoderTrainer(micro_autoencoder, settings())
    save(trainer, tmp_path)
    before = (tmp_path / training_loop.STATE).read_bytes()
    trainer.step = 7

    def torn(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half a file")
        raise OSError("no space left on device")

    monkeypatch.setattr(training_state, "save_file", torn)
    with pytest.raises(OutputError, match="no space"):
        save(trainer, tmp_path)
    assert (tmp_path / training_loop.STATE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [training_loop.STATE]


def test_faulty_states_and_folders_are_refused(
    tmp_path: Path, micro_autoencoder: AutoencoderConfig
) -> None:
    with pytest.raises(InputError, match="--resume"):
        resumed(micro_autoencoder, tmp_path)
    save(AutoencoderTrainer(micro_autoencoder, settings()), tmp_path)
    with pytest.raises(CheckpointError, match="another model"):
        resumed(embedded_config().autoencoder, tmp_path)
    (tmp_path / training_loop.STATE).write_bytes(b"\x08" * 40)
    with pytest.raises(CheckpointError, match="not a file of a training"):
        resumed(micro_autoencoder, tmp_path)
    result = CliRunner().invoke(app, ["posttrain", "autoencoder", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds a training" in result.output


def test_latent_figures_by_hand() -> None:
    means = [np.array([[1.0, -1.0], [5.0, 5.0]]), np.array([[1.0, -1.0], [5.0, 5.0]])]
    noises = [np.full((2, 2), 0.5), np.full((2, 2), 0.5)]
    found = latent_figures(means, noises)
    assert found["channel_std"] == [pytest.approx(math.sqrt(1.25), abs=1e-4), 0.5]
    assert found["channel_mean"] == [0, 5]
    assert found["scale"] == pytest.approx(math.sqrt(0.75))
