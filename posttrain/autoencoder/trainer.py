"""One step of the autoencoder's training, and everything that a next step depends on.

Loss of the autoencoder (Evans et al. 2024, "Long-form music generation with latent diffusion",
section 3.1, plus log-mel and waveform terms that help short trainings): spectral distances, small
KL divergence from the unit normal, and, after a first part, a discriminator's opinion and features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
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
from arcmobile.posttrain.training.state import adam_tensors, restore_adam, scoped, unscoped
from arcmobile.runtime.errors import InputError

_BETAS = (0.8, 0.99)
_GRAPHS = 64  # compiled forms of one function: FFT sizes, with and without gradients


def kl_divergence(mean: Tensor, stdev: Tensor) -> Tensor:
    """Nats per latent frame from N(mean, stdev) to N(0, 1), both (B, channels, frames)."""
    nats = 0.5 * (mean.square() + stdev.square() - 1) - stdev.log()
    return nats.sum(1).mean()


def waveform_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over the mean absolute sample of the batch."""
    return (estimate - target).abs().mean() / target.abs().mean().clamp_min(1e-3)


class AutoencoderTrainer:
    """Networks, optimisers and step count.

    Attributes:
        step: batches seen.
        averaged: moving average of the autoencoder's tensors, by checkpoint name.
    """

    def __init__(
        self,
        config: AutoencoderConfig,
        settings: AutoencoderSettings,
        *,
        code: SpectralCode | None = None,
        device: str = "cpu",
        compiled: bool = False,
    ):
        """With a ``code``, its latents are those to decode, and the encoder learns to give them."""
        self.config, self.settings, self.device = config, settings, torch.device(device)
        self.step, self.code = 0, code
        started = initial_tensors(config, settings.seed, code)
        self.autoencoder = TrainableAutoencoder(config, started)
        self.autoencoder.to(self.device)
        self._named = self.autoencoder.named_tensors()
        if settings.part == Part.ENCODER:
            if code is None:
                raise InputError("--part encoder: this autoencoder has no spectral code to imitate")
            self.autoencoder.decoder.requires_grad_(False)
        elif settings.part == Part.DECODER:
            self.autoencoder.encoder.requires_grad_(False)
        if not settings.finest_units:
            self.autoencoder.bypass_finest_units()
        self.averaged = {name: value.detach().clone() for name, value in self._named.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.discriminator = WaveformDiscriminator(
                settings.discriminator_width, config.io_channels
            )
        self.discriminator.to(self.device)
        self._optimizer = torch.optim.AdamW(
            list(self._named.values()),
            settings.learning_rate,
            betas=_BETAS,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self._judged = dict(self.discriminator.named_parameters())
        self._discriminator_optimizer = torch.optim.AdamW(
            list(self._judged.values()),
            settings.discriminator_rate,
            betas=_BETAS,
            weight_decay=settings.weight_decay,
        )
        self._mel = LogMel(floor=settings.floor).to(self.device)
        self._reconstruct, self._encode = self.autoencoder.forward, self.autoencoder.encode
        self._stft = StftLoss(floor=settings.floor, logarithm=settings.logarithm)
        if compiled:
            torch._dynamo.config.recompile_limit = _GRAPHS
            self._reconstruct = torch.compile(self._reconstruct)
            self._encode = torch.compile(self._encode)
            distance = torch.compile(stereo_distance)
            self._stft = StftLoss(
                floor=settings.floor, logarithm=settings.logarithm, distance=distance
            )
            self.discriminator.compile_judges()

    def train_step(self, batch: Audio) -> dict[str, float]:
        """One step on crops (batch, 2, samples); returns the losses, not weighted."""
        settings, step = self.settings, self.step
        # One of one channel sees one of each crop's, which are in random order.
        target = torch.from_numpy(batch[:, : self.config.io_channels]).to(self.device)
        if settings.part == Part.ENCODER:
            return self._imitate(target)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        frames = target.shape[-1] // self.config.downsampling_ratio
        noise = torch.randn(len(batch), self.config.latent_dim, frames, generator=generator)
        order = torch.randperm(len(FFT_SIZES), generator=generator)[: settings.resolutions]
        sizes = [FFT_SIZES[index] for index in order.tolist()]

        shake = settings.latent_noise * torch.randn(noise.shape, generator=generator)
        given = None if self.code is None else self.code.encode(target)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.bfloat16):
            outputs = self._reconstruct(target, noise.to(self.device), shake.to(self.device), given)
        made, mean, stdev = (output.float() for output in outputs)
        terms = {
            "stft": self._stft(made, target, sizes),
            "mel": self._mel.distance(made, target),
            "waveform": waveform_distance(made, target),
        }
        loss = terms["stft"] + settings.mel * terms["mel"]
        loss = loss + settings.waveform * terms["waveform"]
        if given is None:
            terms["kl"] = kl_divergence(mean, stdev)
            loss = loss + settings.kl * terms["kl"]
        else:
            terms["imitation"] = (mean - given).square().mean()
            loss = loss + settings.imitation * terms["imitation"]
        against = step >= settings.first_adversarial_step
        if against:
            self.discriminator.requires_grad_(False)
            with torch.no_grad():
                real = self.discriminator(target)
            judged = self.discriminator(made)
            terms["adversarial"] = adversarial_loss(judged)
            terms["features"] = feature_distance(real, judged)
            loss = loss + settings.adversarial * terms["adversarial"]
            loss = loss + settings.features * terms["features"]
        terms["loss"] = loss
        terms["gradient"] = self._descend(
            self._optimizer, self._named, settings.learning_rate, loss
        )
        if against and step % settings.discriminator_every == 0:
            self.discriminator.requires_grad_(True)
            both = self.discriminator(torch.cat((target, made.detach())))
            halves = [part.halves() for part in both]
            terms["discriminator"] = discriminator_loss(
                [first for first, _ in halves], [second for _, second in halves]
            )
            terms["discriminator_gradient"] = self._descend(
                self._discriminator_optimizer,
                self._judged,
                settings.discriminator_rate,
                terms["discriminator"],
            )
        self._update_average()
        self.step += 1
        terms["stdev"] = stdev.mean()
        return {name: float(value.detach()) for name, value in terms.items()}

    @torch.no_grad()
    def probe(self, batch: Audio) -> dict[str, Tensor]:
        """How far what the present weights give is from crops; changes nothing."""
        target = torch.from_numpy(batch[:, : self.config.io_channels]).to(self.device)
        given = None if self.code is None else self.code.encode(target)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bfloat16):
            mean, stdev = self.autoencoder.encode(target)
            losses = {"latents": mean.float().square().mean() + stdev.float().square().mean()}
            if self.settings.part != Part.ENCODER:
                made = self.autoencoder.decode(mean if given is None else given)
                losses["waveform"] = waveform_distance(made.float(), target)
                judged = self.discriminator(made.float())
                losses["features"] = feature_distance(judged, self.discriminator(target))
        return losses

    def _imitate(self, target: Tensor) -> dict[str, float]:
        assert self.code is not None
        given = self.code.encode(target)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bfloat16):
            mean, _ = self._encode(target)
        loss = (mean.float() - given).square().mean()
        norm = self._descend(self._optimizer, self._named, self.settings.learning_rate, loss)
        terms = {"imitation": loss, "loss": loss, "gradient": norm}
        self._update_average()
        self.step += 1
        return {name: float(value.detach()) for name, value in terms.items()}

    def _descend(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: Mapping[str, torch.nn.Parameter],
        rate: float,
        loss: Tensor,
    ) -> Tensor:
        """One step down, unless the gradient is not finite; returns the gradient's norm."""
        for group in optimizer.param_groups:
            group["lr"] = rate * self.settings.rate_at(self.step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        moved = [parameter for parameter in parameters.values() if parameter.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(moved, self.settings.clip)
        if bool(torch.isfinite(norm)):
            optimizer.step()
        return norm

    def _update_average(self) -> None:
        # A young average follows quickly, or it would remember where training began.
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
        current = [parameter.detach() for parameter in self._named.values()]
        torch._foreach_lerp_(list(self.averaged.values()), current, 1 - decay)

    def averaged_tensors(self) -> dict[str, Tensor]:
        """The moving average under a checkpoint's names and in its shapes."""
        shapes = self.autoencoder.checkpoint_tensors()
        return {
            name: value.cpu().reshape(shapes[name].shape).contiguous()
            for name, value in self.averaged.items()
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, JSON header) from which :meth:`restore` goes on exactly."""
        tensors = {
            **scoped("weights", self._named),
            **scoped("average", self.averaged),
            **scoped("adam", adam_tensors(self._optimizer, self._named)),
            **scoped("discriminator", self._judged),
            **scoped("critic-adam", adam_tensors(self._discriminator_optimizer, self._judged)),
        }
        return tensors, {"step": self.step, "settings": asdict(self.settings)}

    def restore(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Sets what :meth:`state` gave; KeyError where a tensor is missing."""
        with torch.no_grad():
            for prefix, places in (
                ("weights", self._named),
                ("average", self.averaged),
                ("discriminator", self._judged),
            ):
                found = unscoped(prefix, tensors)
                for name, place in places.items():
                    place.copy_(found[name])
        restore_adam(self._optimizer, self._named, unscoped("adam", tensors))
        restore_adam(self._discriminator_optimizer, self._judged, unscoped("critic-adam", tensors))
        self.step = int(header["step"])
        if self.settings.part != Part.BOTH:
            self._keep_averaged_part()

    def _keep_averaged_part(self) -> None:
        """What is written is averaged: the part that stays as it is becomes that."""
        with torch.no_grad():
            for name, parameter in self._named.items():
                if not parameter.requires_grad:
                    parameter.copy_(self.averaged[name])


def latent_figures(means: list[np.ndarray], stdevs: list[np.ndarray]) -> dict[str, Any]:
    """Of posteriors (channels, frames), one per sound: what the DiT will see.

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
