"""One step of ARC post-training, and everything that a next step depends on.

Novack et al. 2025 (arXiv 2505.08175). One noisy latent per sound goes through the
generator; the discriminator learns from guess and real latent (and from real latents under other
prompts), then the generator learns from the discriminator. Both learn from the same guess, so a
step runs the generator once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from arcmobile.export.gpu.engine import compile_blocks
from arcmobile.posttrain.arc.latent_discriminator import LatentDiscriminator
from arcmobile.posttrain.arc.losses import (
    contrastive_loss,
    generator_times,
    logit_normal_times,
    mismatched_prompts,
    noised,
    one_step_estimate,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
    smoothness_penalty,
)
from arcmobile.posttrain.training.descent import Schedule, step_down
from arcmobile.posttrain.training.networks import TrainableGenerator
from arcmobile.posttrain.training.settings import ArcSettings
from arcmobile.posttrain.training.state import adam_tensors, restore_adam, scoped, unscoped

# Without momentum, as R3GAN (Huang et al. 2024) trains its relativistic pair.
_BETAS = (0.0, 0.99)


class ArcBatch(NamedTuple):
    """Sounds to learn from.

    ``latents`` (B, channels, frames) float32 of about unit variance, ``ids`` (B, L) int64 and
    ``mask`` (B, L) float32 of their prompts, ``seconds`` (B,) float32.
    """

    latents: Tensor
    ids: Tensor
    mask: Tensor
    seconds: Tensor

    def to(self, device: torch.device) -> ArcBatch:
        return ArcBatch(*(tensor.to(device) for tensor in self))


class ArcTrainer:
    """Networks, optimisers and step count; the generator is trained in place.

    ``schedule`` gives a factor of both learning rates at a step, on top of the settings' warm-up.

    Attributes:
        base: names the base model in the state.
        step: batches seen.
        averaged: moving average of the generator's trained parameters, by parameter name.
    """

    def __init__(
        self,
        generator: TrainableGenerator,
        settings: ArcSettings,
        *,
        device: str = "cpu",
        base: str = "",
        compiled: bool = False,
        schedule: Schedule = lambda step: 1.0,
    ):
        self.settings, self.device, self.base = settings, torch.device(device), base
        self.schedule = schedule
        self.step = 0
        self.discriminator = LatentDiscriminator(
            generator,
            depth=settings.depth,
            head_layers=settings.head_layers,
            seed=settings.seed,
        ).to(self.device)
        self.generator = generator.to(self.device)
        if not settings.train_text:
            self.generator.conditioner.text.requires_grad_(False)
            self.discriminator.backbone.conditioner.text.requires_grad_(False)
        self._made = _trained(self.generator)
        self._judged = _trained(self.discriminator)
        self._generator_adam = torch.optim.Adam(self._made.values(), betas=_BETAS)
        self._discriminator_adam = torch.optim.Adam(self._judged.values(), betas=_BETAS)
        self.averaged = {name: value.detach().clone() for name, value in self._made.items()}
        self._velocity, self._scores = self._guessed_velocity, self._discriminator_scores
        if compiled and self.device.type == "cuda":
            compile_blocks(self.generator.dit)
            compile_blocks(self.discriminator.backbone.dit)
        elif compiled:  # each batch size is a graph of its own
            self._velocity = torch.compile(self._guessed_velocity, dynamic=False)
            self._scores = torch.compile(self._discriminator_scores, dynamic=False)

    def train_step(self, batch: ArcBatch) -> dict[str, Tensor]:
        """One step of each network; returns losses, not weighted, and how far the scores part.

        They stay on the device: reading one would make every step wait for it.

        ``gap`` is the mean of D(real) - D(fake), ``told_apart`` the share of pairs in which real
        scores higher, ``prompts_told_apart`` that of right prompts above wrong ones.
        """
        settings, step = self.settings, self.step
        batch = batch.to(self.device)
        random = torch.Generator(self.device).manual_seed(settings.seed * 1_000_003 + step)
        moves = step >= settings.generator_from
        noise = self._noise(batch.latents, random)
        time = generator_times(len(noise), random)
        told = batch.ids, batch.mask, batch.seconds
        # Guess and discriminator's inputs: the graph of the guess is kept for the generator.
        with torch.set_grad_enabled(moves), self._precision():
            latent = noised(batch.latents, noise, time)
            velocity = self._velocity(latent, time, *told)
        guess = one_step_estimate(latent, velocity.float(), time)
        report: dict[str, Tensor] = {}
        if not moves or step % settings.discriminator_every == 0:
            report |= self._teach_discriminator(batch, guess.detach(), random)
        flow = (velocity.float() - (noise - batch.latents)).square().mean()
        report["flow"] = flow
        if moves:
            adversarial = self._against_discriminator(batch, guess, random)
            loss = adversarial + settings.flow * flow
            report["generator"] = adversarial
            report["generator_gradient"] = self._descend(
                self._generator_adam,
                self._made,
                settings.generator_rate
                * settings.rate_at(step - settings.generator_from)
                * self.schedule(step),
                loss,
            )
            self._update_average(step - settings.generator_from)
        self.step += 1
        return {name: value.detach() for name, value in report.items()}

    @torch.no_grad()
    def probe(self, batch: ArcBatch) -> dict[str, Tensor]:
        """The size of velocities and scores that the present weights give; changes nothing."""
        batch = batch.to(self.device)
        random = torch.Generator(self.device).manual_seed(self.step)
        noise = self._noise(batch.latents, random)
        time = generator_times(len(batch.seconds), random)
        told = batch.ids, batch.mask, batch.seconds
        with self._precision():
            velocity = self._guessed_velocity(noised(batch.latents, noise, time), time, *told)
            rows = torch.arange(len(time), device=self.device)
            scores = self._discriminator_scores(batch.latents, time, *told, rows)
        flow = (velocity.float() - (noise - batch.latents)).square().mean()
        return {"flow": flow, "score": scores.float().abs().mean()}

    def _guessed_velocity(
        self, latent: Tensor, time: Tensor, ids: Tensor, mask: Tensor, seconds: Tensor
    ) -> Tensor:
        told = self.generator.condition(ids, mask, seconds)
        return self.generator.velocity(latent, time, told)

    def _discriminator_scores(
        self,
        latent: Tensor,
        time: Tensor,
        ids: Tensor,
        mask: Tensor,
        seconds: Tensor,
        rows: Tensor,
    ) -> Tensor:
        """Of latents (N, C, T) at times (N,), each with the prompt that ``rows`` (N,) names."""
        told = self.discriminator.condition(ids, mask, seconds)
        scores: Tensor = self.discriminator(latent, time, told.rows(rows))
        return scores

    def _teach_discriminator(
        self, batch: ArcBatch, guess: Tensor, random: torch.Generator
    ) -> dict[str, Tensor]:
        settings, count = self.settings, len(guess)
        self.discriminator.requires_grad_(False)
        for parameter in self._judged.values():
            parameter.requires_grad_(True)
        real, fake, time = self._renoised(batch.latents, guess, random)
        order, differs = mismatched_prompts(batch.ids, random)
        every = settings.penalty_every * settings.discriminator_every
        penalised = settings.penalty > 0 and self.step % every == 0
        inputs = [real, fake, real]
        if penalised:
            shake = settings.penalty_noise * self._noise(real, random)
            inputs += [real + shake, fake + shake]
        # Prompts of the inputs, among the right ones and then the wrong ones. A wrong prompt comes
        # with the right duration, or the duration would give it away.
        own, other = torch.arange(2 * count, device=self.device).split(count)
        rows = torch.cat([own, own, other, own, own][: len(inputs)])
        with self._precision():
            scores = self._scores(
                torch.cat(inputs),
                time.repeat(len(inputs)),
                torch.cat((batch.ids, batch.ids[order])),
                torch.cat((batch.mask, batch.mask[order])),
                batch.seconds.repeat(2),
                rows,
            )
        of_real, of_fake, of_wrong, *shaken = scores.split(count)
        report = {
            "discriminator": relativistic_discriminator_loss(of_real, of_fake),
            "contrastive": contrastive_loss(of_real, of_wrong, differs),
            "gap": (of_real - of_fake).mean(),
            "told_apart": (of_real > of_fake).float().mean(),
        }
        apart = (of_real.mean(1) > of_wrong.mean(1)) & differs
        report["prompts_told_apart"] = apart.sum() / differs.sum().clamp_min(1)
        loss = report["discriminator"] + settings.contrastive * report["contrastive"]
        if penalised:
            report["penalty"] = smoothness_penalty(
                torch.cat((of_real, of_fake)), torch.cat(shaken), settings.penalty_noise
            )
            loss = loss + settings.penalty * settings.penalty_every * report["penalty"]
        report["discriminator_gradient"] = self._descend(
            self._discriminator_adam,
            self._judged,
            settings.discriminator_rate * settings.rate_at(self.step) * self.schedule(self.step),
            loss,
        )
        return report

    def _against_discriminator(
        self, batch: ArcBatch, guess: Tensor, random: torch.Generator
    ) -> Tensor:
        self.discriminator.requires_grad_(False)
        real, fake, time = self._renoised(batch.latents, guess, random)
        rows = torch.arange(len(time), device=self.device)
        told = time, batch.ids, batch.mask, batch.seconds, rows
        with self._precision():
            with torch.no_grad():
                of_real = self._scores(real, *told)
            of_fake = self._scores(fake, *told)
        return relativistic_generator_loss(of_real, of_fake)

    def _renoised(
        self, real: Tensor, guess: Tensor, random: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Both under the same noise at the same times, and the times."""
        settings = self.settings
        time = logit_normal_times(len(real), settings.renoise_mean, settings.renoise_std, random)
        noise = self._noise(real, random)
        return noised(real, noise, time), noised(guess, noise, time), time

    def _noise(self, like: Tensor, random: torch.Generator) -> Tensor:
        # On the device: drawn on the CPU, noise of a large batch takes longer than its step.
        return torch.randn(like.shape, generator=random, device=self.device)

    def _precision(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.settings.bfloat16, cache_enabled=False
        )

    def _descend(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: Mapping[str, nn.Parameter],
        rate: float,
        loss: Tensor,
    ) -> Tensor:
        """One step down, unless loss or gradient is not finite; returns the gradient's norm."""
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return step_down((optimizer,), list(parameters.values()), self.settings.clip)

    def _update_average(self, steps_done: int) -> None:
        # A young average follows quickly, or it would remember the base model for long.
        decay = min(self.settings.average, (1 + steps_done) / (10 + steps_done))
        current = [parameter.detach() for parameter in self._made.values()]
        torch._foreach_lerp_(list(self.averaged.values()), current, 1 - decay)

    def averaged_tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The averaged generator under a checkpoint's names: model, text encoder."""
        return self.generator.checkpoint_tensors(self.averaged)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, JSON header) from which :meth:`restore` goes on exactly.

        What is not trained is not in it: the trainer has to be built on the same base model.
        """
        tensors = {
            **scoped("generator", self._made),
            **scoped("average", self.averaged),
            **scoped("adam", adam_tensors(self._generator_adam, self._made)),
            **scoped("discriminator", self._judged),
            **scoped("critic-adam", adam_tensors(self._discriminator_adam, self._judged)),
        }
        header = {"step": self.step, "base": self.base, "settings": asdict(self.settings)}
        return tensors, header

    def restore(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Sets what :meth:`state` gave; KeyError where a tensor is missing."""
        with torch.no_grad():
            for prefix, places in (
                ("generator", self._made),
                ("average", self.averaged),
                ("discriminator", self._judged),
            ):
                found = unscoped(prefix, tensors)
                for name, place in places.items():
                    place.copy_(found[name])
        restore_adam(self._generator_adam, self._made, unscoped("adam", tensors))
        restore_adam(self._discriminator_adam, self._judged, unscoped("critic-adam", tensors))
        self.step = int(header["step"])


def _trained(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: value for name, value in network.named_parameters() if value.requires_grad}
