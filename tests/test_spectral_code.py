"""Latents by principal components: what they keep, and networks that start from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from arcmobile.export.model.autoencoder_config import AutoencoderConfig
from arcmobile.posttrain.autoencoder.crops import Audio
from arcmobile.posttrain.autoencoder.filterbanks import tone_multiples
from arcmobile.posttrain.autoencoder.spectral_code import (
    CODE,
    SpectralCode,
    band_magnitudes,
    fit_spectral_code,
    has_spectral_code,
    joined_tones,
)
from arcmobile.posttrain.autoencoder.stereo_from_mono import stereo_config, stereo_tensors
from arcmobile.posttrain.autoencoder.tensors import TrainableAutoencoder, initial_tensors
from arcmobile.posttrain.autoencoder.trainer import AutoencoderTrainer
from arcmobile.posttrain.embedded_model import embedded_config, one_channel_autoencoder
from arcmobile.posttrain.latents.encoders import load_encoder
from arcmobile.posttrain.training.settings import AutoencoderSettings, Part
from arcmobile.runtime.errors import CheckpointError, InputError

HOP, TONES, LATENT = 128, 16, 6
SAMPLES = 32 * 2 * HOP


def micro_config() -> AutoencoderConfig:
    sizes = {"channels": 1, "strides": [HOP, 2], "use_snake": True}
    encoder = {**sizes, "c_mults": [8, 8], "latent_dim": 2 * LATENT, "in_channels": 1}
    decoder = {**sizes, "c_mults": [TONES, 12], "latent_dim": LATENT, "out_channels": 1}
    return AutoencoderConfig.model_validate(
        {
            "encoder": {"type": "oobleck", "config": encoder},
            "decoder": {"type": "oobleck", "config": {**decoder, "final_tanh": False}},
            "bottleneck": {"type": "vae"},
            "latent_dim": LATENT,
            "downsampling_ratio": 2 * HOP,
            "io_channels": 1,
        }
    )


def chord(seed: int) -> Audio:
    """(2, SAMPLES): on the left a tone that fades, on the right another one that swells."""
    random = np.random.default_rng(seed)
    time = np.arange(SAMPLES) / HOP
    place = np.linspace(1, 0, SAMPLES)
    tones = [
        random.uniform(0.1, 0.4) * np.sin(2 * np.pi * multiple * time)
        for multiple in random.choice(tone_multiples(TONES, HOP)[3::4], 2, replace=False)
    ]
    return np.stack((tones[0] * place, tones[1] * place[::-1])).astype(np.float32)


@pytest.fixture(scope="module")
def code() -> SpectralCode:
    return fit_spectral_code(micro_config(), chord, range(60))


def magnitudes(audio: torch.Tensor) -> torch.Tensor:
    """Of (B, 2, samples), without the ends."""
    return band_magnitudes(audio.flatten(0, 1), TONES, HOP)[:, 2:-2]


def test_a_tone_is_seen_in_its_band_at_its_size_and_made_again() -> None:
    multiple = tone_multiples(TONES, HOP)[9]
    tone = 0.5 * torch.cos(2 * torch.pi * multiple * torch.arange(SAMPLES) / HOP)[None]
    seen = band_magnitudes(tone, TONES, HOP)
    assert seen.shape == (1, SAMPLES // HOP, TONES)
    inner = seen[0, 1:-1]
    assert (inner.argmax(1) == 9).all()
    again = joined_tones(seen, HOP)
    assert again.shape == tone.shape
    made = again[0, HOP:-HOP]
    target = tone[0, HOP:-HOP]
    same = torch.fft.rfft(made).abs().argmax() == torch.fft.rfft(target).abs().argmax()
    assert same


def test_latents_are_of_unit_size_and_of_one_channel_after_another(code: SpectralCode) -> None:
    sounds = torch.from_numpy(np.stack([chord(seed) for seed in range(60)]))
    latents = code.encode(sounds)
    assert latents.shape == (60, 2 * LATENT, SAMPLES // (2 * HOP))
    one_channel = torch.cat(latents.split(LATENT, dim=1))
    assert float(one_channel.var(dim=(0, 2)).mean()) == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(code.encode(sounds.flip(1)), latents.roll(LATENT, 1))


def test_the_decoder_starts_as_the_inverse(code: SpectralCode) -> None:
    config = micro_config()
    network = TrainableAutoencoder(
        stereo_config(config), stereo_tensors(config, initial_tensors(config, 0, code))
    )
    sounds = torch.from_numpy(np.stack([chord(100 + seed) for seed in range(8)]))
    with torch.no_grad():
        made = network.decode(code.encode(sounds))
    ours, theirs = magnitudes(made), magnitudes(sounds)
    assert float((ours - theirs).norm() / theirs.norm()) < 0.5
    assert torch.equal(ours.mean(1).argmax(1), theirs.mean(1).argmax(1))


def test_the_encoder_learns_to_imitate_while_the_decoder_gets_better(code: SpectralCode) -> None:
    chosen = AutoencoderSettings(
        steps=40, samples=SAMPLES, warmup=4, adversarial_from=1.0, finest_units=False
    )
    trainer = AutoencoderTrainer(micro_config(), chosen, code=code)
    batch = np.stack([chord(seed) for seed in range(4)])
    losses = [trainer.train_step(batch) for _ in range(40)]
    assert "kl" not in losses[0]
    for name in ("imitation", "stft"):
        assert losses[-1][name] < 0.9 * losses[0][name], name


def test_a_cache_holds_the_codes_own_latents(code: SpectralCode, tmp_path: Path) -> None:
    code.save(tmp_path)
    encode, name = load_encoder(tmp_path)
    sound = torch.from_numpy(chord(3))[None]
    mean, stdev = encode(sound)
    torch.testing.assert_close(mean, code.encode(sound))
    assert not stdev.any()
    assert name == load_encoder(tmp_path)[1]


def test_no_code_a_damaged_one_and_models_that_have_none(tmp_path: Path) -> None:
    assert SpectralCode.load(tmp_path) is None
    (tmp_path / CODE).write_bytes(b"not tensors")
    with pytest.raises(CheckpointError, match=CODE):
        SpectralCode.load(tmp_path)
    assert has_spectral_code(one_channel_autoencoder())
    assert not has_spectral_code(embedded_config().autoencoder)  # it is two, side by side


@pytest.mark.parametrize(("part", "loss"), [(Part.ENCODER, "imitation"), (Part.DECODER, "mel")])
def test_a_part_can_be_trained_alone(code: SpectralCode, part: Part, loss: str) -> None:
    chosen = AutoencoderSettings(steps=40, samples=SAMPLES, warmup=4, part=part)
    trainer = AutoencoderTrainer(micro_config(), chosen, code=code)
    before = {name: value.clone() for name, value in trainer.averaged_tensors().items()}
    batch = np.stack([chord(seed) for seed in range(4)])
    losses = [trainer.train_step(batch)[loss] for _ in range(40)]
    assert losses[-1] < 0.9 * losses[0]
    for name, tensor in trainer.averaged_tensors().items():
        assert torch.equal(tensor, before[name]) == (f".{part}." not in name), name


def test_an_encoder_without_a_code_has_nothing_to_imitate() -> None:
    chosen = AutoencoderSettings(part=Part.ENCODER)
    with pytest.raises(InputError, match="--part encoder"):
        AutoencoderTrainer(micro_config(), chosen)
