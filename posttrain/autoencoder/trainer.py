"""One step of the autoencoder's training, and everything that a next step depends on.

Loss of the autoencoder (Evans et al. 2024, "Long-form music generation with latent diffusion",
section 3.1, plus log-mel and waveform terms that help short trainings): spectral distances, a small
KL divergence from the unit normal and, after a first part, a discriminator's score and features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arcmobile.export.model.autoencoder_config import AutoencoderConfig
from arcmobile.posttrain.autoencoder.crops import Audio
from arcmobile.posttrain.autoencoder.spectral_code import SpectralCode
from arcmobile.posttrain.autoencoder.spectral_losses import (
    FFT_SIZES,
    LogMel,
    StftLoss,
    stereo_distance,
)
from arcmobile.posttrain.autoencoder.tensors import TrainableAutoencoder, initial_tensors
from arcmobile.posttrain.autoencoder.waveform_discriminator import (
    WaveformDiscriminator,
    adversarial_loss,
    discriminator_loss,
    feature_distance,
)
from arcmobile.posttrain.training.settings import AutoencoderSettings, Part
from arcmobile.posttrain.training.trainer import StatefulTrainer, averaged_copy, update_average
from arcmobile.runtime.errors import InputError

_BETAS = (0.8, 0.99)
_GRAPHS = 64  # compiled forms of one function: FFT sizes, with and without gradients


def kl_divergence(mean: Tensor, stdev: Tensor) -> Tensor:
    """Return nats per latent frame from N(mean, stdev) to N(0, 1), both (B, channels, frames)."""
    nats = 0.5 * (mean.square() + stdev.square() - 1) - stdev.log()
    return nats.sum(1).mean()


def waveform_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute error over the mean absolute sample of the batch."""
    return (estimate - target).abs().mean() / target.abs().mean().clamp_min(1e-3)


class AutoencoderTrainer(StatefulTrainer):
    """Networks, optimizers and step count.

    Args:
        config: sizes of the autoencoder.
        settings: of the training.
        code: if given, its latents are decoded, and the encoder learns to imitate them.
        device: where to train.
        compiled: compile the networks.

    Attributes:
        averaged: moving average of the autoencoder's tensors, by checkpoint name.

    Raises:
        InputError: the encoder alone is to be trained, and there is no code to imitate.
    """

    settings: AutoencoderSettings

    def __init__(
        self,
        config: AutoencoderConfig,
        settings: AutoencoderSettings,
        *,
        code: SpectralCode | None = None,
        device: str = "cpu",
        compiled: bool = False,
    ):
        super().__init__(settings, device)
        self.config, self.code = config, code
        started = initial_tensors(config, settings.seed, code)
        self.autoencoder = TrainableAutoencoder(config, started)
        self.autoencoder.to(self.device)
        self._parameters = self.autoencoder.named_tensors()
        if settings.part == Part.ENCODER:
            if code is None:
                raise InputError("--part encoder: this autoencoder has no spectral code to imitate")
            self.autoencoder.decoder.requires_grad_(False)
        elif settings.part == Part.DECODER:
            self.autoencoder.encoder.requires_grad_(False)
        if not settings.finest_units:
            self.autoencoder.bypass_finest_units()
        self.averaged = averaged_copy(self._parameters)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.discriminator = WaveformDiscriminator(
                settings.discriminator_width, config.io_channels
            )
        self.discriminator.to(self.device)
        self._discriminator_parameters = dict(self.discriminator.named_parameters())
        decay = settings.weight_decay
        self._adam = torch.optim.AdamW(
            list(self._parameters.values()), betas=_BETAS, weight_decay=decay, fused=True
        )
        self._discriminator_adam = torch.optim.AdamW(
            list(self._discriminator_parameters.values()), betas=_BETAS, weight_decay=decay
        )
        self._keep(
            {
                "weights": self._parameters,
                "average": self.averaged,
                "discriminator": self._discriminator_parameters,
            },
            {
                "adam": (self._adam, self._parameters),
                "critic-adam": (self._discriminator_adam, self._discriminator_parameters),
            },
        )
        self._mel = LogMel(floor=settings.floor).to(self.device)
        self._reconstruct, self._encode = self.autoencoder.forward, self.autoencoder.encode
        distance = stereo_distance
        if compiled:
            torch._dynamo.config.recompile_limit = _GRAPHS
            self._reconstruct = torch.compile(self._reconstruct)
            self._encode = torch.compile(self._encode)
            distance = torch.compile(stereo_distance)
            self.discriminator.compile_scores()
        self._stft = StftLoss(floor=settings.floor, logarithm=settings.logarithm, distance=distance)

    def train_step(self, batch: Audio) -> dict[str, float]:
        """Take one step on crops (batch, 2, samples); return the losses, not weighted."""
        # An autoencoder of one channel sees one channel of each crop; their order is random.
        target = torch.from_numpy(batch[:, : self.config.io_channels]).to(self.device)
        if self.settings.part == Part.ENCODER:
            terms = self._imitation_step(target)
        else:
            terms = self._reconstruction_step(target)
        update_average(self.averaged, self._parameters, self.settings.average, self.step)
        self.step += 1
        return {name: float(value.detach()) for name, value in terms.items()}

    def _reconstruction_step(self, target: Tensor) -> dict[str, Tensor]:
        settings = self.settings
        random = self._random(torch.device("cpu"))
        frames = target.shape[-1] // self.config.downsampling_ratio
        noise = torch.randn(len(target), self.config.latent_dim, frames, generator=random)
        order = torch.randperm(len(FFT_SIZES), generator=random)[: settings.resolutions]
        sizes = [FFT_SIZES[index] for index in order.tolist()]

        offset = settings.latent_noise * torch.randn(noise.shape, generator=random)
        coded = None if self.code is None else self.code.encode(target)
        with self._precision():
            outputs = self._reconstruct(
                target, noise.to(self.device), offset.to(self.device), coded
            )
        estimate, mean, stdev = (output.float() for output in outputs)
        terms = {
            "stft": self._stft(estimate, target, sizes),
            "mel": self._mel.distance(estimate, target),
            "waveform": waveform_distance(estimate, target),
        }
        loss = terms["stft"] + settings.mel * terms["mel"]
        loss = loss + settings.waveform * terms["waveform"]
        if coded is None:
            terms["kl"] = kl_divergence(mean, stdev)
            loss = loss + settings.kl * terms["kl"]
        else:
            terms["imitation"] = (mean - coded).square().mean()
            loss = loss + settings.imitation * terms["imitation"]
        is_adversarial = self.step >= settings.first_adversarial_step
        if is_adversarial:
            self.discriminator.requires_grad_(False)
            with torch.no_grad():
                real = self.discriminator(target)
            fake = self.discriminator(estimate)
            terms["adversarial"] = adversarial_loss(fake)
            terms["features"] = feature_distance(real, fake)
            loss = loss + settings.adversarial * terms["adversarial"]
            loss = loss + settings.features * terms["features"]
        terms["loss"] = loss
        terms["gradient"] = self._autoencoder_step(loss)
        if is_adversarial and self.step % settings.discriminator_every == 0:
            terms |= self._discriminator_step(target, estimate.detach())
        terms["stdev"] = stdev.mean()
        return terms

    def _imitation_step(self, target: Tensor) -> dict[str, Tensor]:
        assert self.code is not None
        coded = self.code.encode(target)
        with self._precision():
            mean, _ = self._encode(target)
        loss = (mean.float() - coded).square().mean()
        return {"imitation": loss, "loss": loss, "gradient": self._autoencoder_step(loss)}

    def _autoencoder_step(self, loss: Tensor) -> Tensor:
        rate = self.settings.learning_rate * self.settings.rate_at(self.step)
        return self._descend((self._adam,), self._parameters, rate, loss)

    def _discriminator_step(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        self.discriminator.requires_grad_(True)
        halves = [scores.halves() for scores in self.discriminator(torch.cat((real, fake)))]
        loss = discriminator_loss([first for first, _ in halves], [last for _, last in halves])
        rate = self.settings.discriminator_rate * self.settings.rate_at(self.step)
        norm = self._descend(
            (self._discriminator_adam,), self._discriminator_parameters, rate, loss
        )
        return {"discriminator": loss, "discriminator_gradient": norm}

    @torch.no_grad()
    def probe(self, batch: Audio) -> dict[str, Tensor]:
        """Return distances of the present weights' output from crops; change nothing."""
        target = torch.from_numpy(batch[:, : self.config.io_channels]).to(self.device)
        coded = None if self.code is None else self.code.encode(target)
        with self._precision():
            mean, stdev = self.autoencoder.encode(target)
            losses = {"latents": mean.float().square().mean() + stdev.float().square().mean()}
            if self.settings.part != Part.ENCODER:
                estimate = self.autoencoder.decode(mean if coded is None else coded).float()
                losses["waveform"] = waveform_distance(estimate, target)
                fake = self.discriminator(estimate)
                losses["features"] = feature_distance(fake, self.discriminator(target))
        return losses

    def averaged_tensors(self) -> dict[str, Tensor]:
        """Return the moving average under a checkpoint's names and in its shapes."""
        shapes = self.autoencoder.checkpoint_tensors()
        return {
            name: value.cpu().reshape(shapes[name].shape).contiguous()
            for name, value in self.averaged.items()
        }

    def restore(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Go on from a state; a part that is not trained takes its averaged values.

        Raises:
            KeyError: a tensor is missing.
            RuntimeError: a tensor is of another shape.
        """
        super().restore(tensors, header)
        if self.settings.part != Part.BOTH:
            with torch.no_grad():
                for name, parameter in self._parameters.items():
                    if not parameter.requires_grad:
                        parameter.copy_(self.averaged[name])


def latent_figures(means: list[np.ndarray], stdevs: list[np.ndarray]) -> dict[str, Any]:
    """Describe the latents that a DiT will see, from posteriors (channels, frames) of each sound.

    ``scale`` is the rms of latents about their channel's mean: divided by it they are of unit size.
    """
    mean, stdev = np.concatenate(means, axis=1), np.concatenate(stdevs, axis=1)
    variance = mean.var(axis=1) + (stdev**2).mean(axis=1)
    return {
        "scale": float(np.sqrt(variance.mean())),
        "channel_std": [round(float(value), 4) for value in np.sqrt(variance)],
        "channel_mean": [round(float(value), 4) for value in mean.mean(axis=1)],
        "channel_noise": [round(float(value), 4) for value in stdev.mean(axis=1)],
    }
