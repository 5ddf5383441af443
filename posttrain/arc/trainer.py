"""One step of ARC post-training (arXiv 2505.08175), and everything that a next step depends on.

One noisy latent per sound goes through the generator; the discriminator learns from guess and real
latent (and from real latents under other prompts), then the generator learns from the
discriminator. Both learn from the same guess, so a step runs the generator once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from arcmobile.export.gpu.engine import compile_blocks
from arcmobile.posttrain.arc.discriminator import LatentDiscriminator
from arcmobile.posttrain.arc.losses import (
    contrastive_loss,
    mismatched_prompts,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
    smoothness_penalty,
)
from arcmobile.posttrain.arc.noise_levels import discriminator_times, generator_times
from arcmobile.posttrain.flow.batches import GeneratorBatch
from arcmobile.posttrain.flow.generator import TrainableGenerator
from arcmobile.posttrain.flow.interpolation import noised, one_step_estimate
from arcmobile.posttrain.training.optimizers import Schedule
from arcmobile.posttrain.training.settings import ArcSettings
from arcmobile.posttrain.training.trainer import StatefulTrainer, averaged_copy, update_average
from arcmobile.runtime.errors import InputError

# Without momentum, as R3GAN (Huang et al. 2024) trains its relativistic pair.
_BETAS = (0.0, 0.99)


class ArcTrainer(StatefulTrainer):
    """Networks, optimizers and step count; the generator is trained in place.

    What is not trained is not in the state: the trainer has to be built on the same base model.

    Args:
        generator: the flow model to post-train.
        settings: of the training.
        device: where to train.
        base: digest of the base model, kept in the state.
        compiled: compile the networks.
        schedule: factor of both learning rates at a step, on top of the settings' warm-up.

    Attributes:
        averaged: moving average of the generator's trained parameters, by parameter name.
    """

    settings: ArcSettings

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
        super().__init__(settings, device)
        self.base, self.schedule = base, schedule
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
        self._generator_parameters = _trained(self.generator)
        self._discriminator_parameters = _trained(self.discriminator)
        self._generator_adam = torch.optim.Adam(self._generator_parameters.values(), betas=_BETAS)
        self._discriminator_adam = torch.optim.Adam(
            self._discriminator_parameters.values(), betas=_BETAS
        )
        self.averaged = averaged_copy(self._generator_parameters)
        self._keep(
            {
                "generator": self._generator_parameters,
                "average": self.averaged,
                "discriminator": self._discriminator_parameters,
            },
            {
                "adam": (self._generator_adam, self._generator_parameters),
                "critic-adam": (self._discriminator_adam, self._discriminator_parameters),
            },
        )
        self._velocity, self._scores = self._generator_velocity, self._discriminator_scores
        if compiled and self.device.type == "cuda":
            compile_blocks(self.generator.dit)
            compile_blocks(self.discriminator.backbone.dit)
        elif compiled:  # each batch size is a graph of its own
            self._velocity = torch.compile(self._generator_velocity, dynamic=False)
            self._scores = torch.compile(self._discriminator_scores, dynamic=False)

    def train_step(self, batch: GeneratorBatch) -> dict[str, Tensor]:
        """Take one step of each network; return losses, not weighted, and how far scores differ.

        ``gap`` is the mean of D(real) - D(fake), ``discriminator_accuracy`` the share of pairs in
        which real scores higher, ``prompt_accuracy`` that of right prompts above wrong ones. All
        stay on the device: reading one would make every step wait for it.
        """
        settings, step = self.settings, self.step
        batch, random = batch.to(self.device), self._random()
        moves = step >= settings.generator_from
        noise = self._noise(batch.latents, random)
        time = generator_times(len(noise), random)
        prompts = batch.ids, batch.mask, batch.seconds
        # Guess and discriminator's inputs: the graph of the guess is kept for the generator.
        with torch.set_grad_enabled(moves), self._precision():
            latent = noised(batch.latents, noise, time)
            velocity = self._velocity(latent, time, *prompts)
        guess = one_step_estimate(latent, velocity.float(), time)
        report: dict[str, Tensor] = {}
        if not moves or step % settings.discriminator_every == 0:
            report |= self._train_discriminator(batch, guess.detach(), random)
        flow = (velocity.float() - (noise - batch.latents)).square().mean()
        report["flow"] = flow
        if moves:
            adversarial = self._adversarial_loss(batch, guess, random)
            own_step = step - settings.generator_from
            rate = settings.generator_rate * settings.rate_at(own_step) * self.schedule(step)
            report["generator"] = adversarial
            report["generator_gradient"] = self._descend(
                (self._generator_adam,),
                self._generator_parameters,
                rate,
                adversarial + settings.flow * flow,
            )
            update_average(self.averaged, self._generator_parameters, settings.average, own_step)
        self.step += 1
        return {name: value.detach() for name, value in report.items()}

    @torch.no_grad()
    def probe(self, batch: GeneratorBatch) -> dict[str, Tensor]:
        """Return the size of velocities and scores of the present weights; change nothing."""
        batch = batch.to(self.device)
        random = torch.Generator(self.device).manual_seed(self.step)
        noise = self._noise(batch.latents, random)
        time = generator_times(len(batch.seconds), random)
        prompts = batch.ids, batch.mask, batch.seconds
        with self._precision():
            latent = noised(batch.latents, noise, time)
            velocity = self._generator_velocity(latent, time, *prompts)
            rows = torch.arange(len(time), device=self.device)
            scores = self._discriminator_scores(batch.latents, time, *prompts, rows)
        flow = (velocity.float() - (noise - batch.latents)).square().mean()
        return {"flow": flow, "score": scores.float().abs().mean()}

    def _generator_velocity(
        self, latent: Tensor, time: Tensor, ids: Tensor, mask: Tensor, seconds: Tensor
    ) -> Tensor:
        return self.generator.velocity(latent, time, self.generator.condition(ids, mask, seconds))

    def _discriminator_scores(
        self,
        latent: Tensor,
        time: Tensor,
        ids: Tensor,
        mask: Tensor,
        seconds: Tensor,
        rows: Tensor,
    ) -> Tensor:
        """Scores of latents (N, C, T) at times (N,), with the prompts that ``rows`` (N,) names."""
        conditioning = self.discriminator.condition(ids, mask, seconds)
        scores: Tensor = self.discriminator(latent, time, conditioning.rows(rows))
        return scores

    def _train_discriminator(
        self, batch: GeneratorBatch, guess: Tensor, random: torch.Generator
    ) -> dict[str, Tensor]:
        settings, count = self.settings, len(guess)
        self.discriminator.requires_grad_(False)
        for parameter in self._discriminator_parameters.values():
            parameter.requires_grad_(True)
        real, fake, time = self._renoised(batch.latents, guess, random)
        order, differs = mismatched_prompts(batch.ids, random)
        every = settings.penalty_every * settings.discriminator_every
        penalised = settings.penalty > 0 and self.step % every == 0
        inputs = [real, fake, real]
        if penalised:
            offset = settings.penalty_noise * self._noise(real, random)
            inputs += [real + offset, fake + offset]
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
        of_real, of_fake, of_wrong, *perturbed = scores.split(count)
        report = {
            "discriminator": relativistic_discriminator_loss(of_real, of_fake),
            "contrastive": contrastive_loss(of_real, of_wrong, differs),
            "gap": (of_real - of_fake).mean(),
            "discriminator_accuracy": (of_real > of_fake).float().mean(),
        }
        preferred = (of_real.mean(1) > of_wrong.mean(1)) & differs
        report["prompt_accuracy"] = preferred.sum() / differs.sum().clamp_min(1)
        loss = report["discriminator"] + settings.contrastive * report["contrastive"]
        if penalised:
            report["penalty"] = smoothness_penalty(
                torch.cat((of_real, of_fake)), torch.cat(perturbed), settings.penalty_noise
            )
            loss = loss + settings.penalty * settings.penalty_every * report["penalty"]
        rate = settings.discriminator_rate * settings.rate_at(self.step) * self.schedule(self.step)
        report["discriminator_gradient"] = self._descend(
            (self._discriminator_adam,), self._discriminator_parameters, rate, loss
        )
        return report

    def _adversarial_loss(
        self, batch: GeneratorBatch, guess: Tensor, random: torch.Generator
    ) -> Tensor:
        self.discriminator.requires_grad_(False)
        real, fake, time = self._renoised(batch.latents, guess, random)
        rows = torch.arange(len(time), device=self.device)
        inputs = time, batch.ids, batch.mask, batch.seconds, rows
        with self._precision():
            with torch.no_grad():
                of_real = self._scores(real, *inputs)
            of_fake = self._scores(fake, *inputs)
        return relativistic_generator_loss(of_real, of_fake)

    def _renoised(
        self, real: Tensor, guess: Tensor, random: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Both under the same noise at the same times, and the times."""
        time = discriminator_times(len(real), self.settings, random)
        noise = self._noise(real, random)
        return noised(real, noise, time), noised(guess, noise, time), time

    def _noise(self, like: Tensor, random: torch.Generator) -> Tensor:
        # On the device: drawn on the CPU, noise of a large batch takes longer than its step.
        return torch.randn(like.shape, generator=random, device=self.device)

    def averaged_tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the averaged generator under a checkpoint's names: model, text encoder."""
        return self.generator.checkpoint_tensors(self.averaged)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return (tensors, JSON header) from which :meth:`restore` goes on exactly."""
        tensors, header = super().state()
        return tensors, {**header, "base": self.base}

    def restore(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            InputError: the state is of a training from another base model.
            KeyError: a tensor is missing.
            RuntimeError: a tensor is of another shape.
        """
        if header.get("base") != self.base:
            raise InputError("--base: the state is of a training from another checkpoint")
        super().restore(tensors, header)


def _trained(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: value for name, value in network.named_parameters() if value.requires_grad}
