"""One step of flow matching: the generator learns velocities from noise to latents.

The path is that of :mod:`.interpolation`. Prompts are left out now and then, so that sampling can
be guided (Ho and Salimans 2022, "Classifier-Free Diffusion Guidance"). Times are logit-normal
(Esser et al. 2024, "Scaling Rectified Flow Transformers", section 3.1), a tenth of them uniform, so
that no time is left out.

Matrices are moved by Muon (Jordan et al. 2024), which takes about half of Adam's steps on
transformers of this size; everything else by AdamW.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from arcmobile.export.gpu.engine import compile_blocks
from arcmobile.posttrain.flow.batches import GeneratorBatch
from arcmobile.posttrain.flow.generator import TrainableGenerator
from arcmobile.posttrain.flow.interpolation import logit_normal_times, noised
from arcmobile.posttrain.training.optimizers import GroupedMuon, Schedule
from arcmobile.posttrain.training.settings import FlowSettings
from arcmobile.posttrain.training.trainer import StatefulTrainer, averaged_copy, update_average

_BETAS = (0.9, 0.95)
_TEXT_ENCODER = "conditioner.text."
_UNIFORM_TIMES = 0.1  # of a batch


class FlowTrainer(StatefulTrainer):
    """Generator, optimizers and step count; the generator is trained in place.

    Args:
        generator: to train.
        settings: of the training.
        device: where to train.
        compiled: compile the network.
        schedule: fraction of the learning rate at a step; that of the settings by default.

    Attributes:
        averaged: moving average of the trained parameters, by parameter name.
    """

    settings: FlowSettings

    def __init__(
        self,
        generator: TrainableGenerator,
        settings: FlowSettings,
        *,
        device: str = "cpu",
        compiled: bool = False,
        schedule: Schedule | None = None,
    ):
        super().__init__(settings, device)
        self.schedule = schedule or settings.rate_at
        self.generator = generator.to(self.device)
        self._parameters = generator.trained_parameters()
        self.averaged = averaged_copy(self._parameters)
        matrices, others, text = _grouped(self._parameters)
        decay = settings.weight_decay
        self._muon = GroupedMuon(list(matrices.values()), decay)
        groups = [
            {"params": list(others.values()), "share": 1.0},
            {"params": list(text.values()), "share": settings.text_rate},
        ]
        self._adam = torch.optim.AdamW(groups, betas=_BETAS, weight_decay=decay)
        self._keep(
            {"weights": self._parameters, "average": self.averaged},
            {"muon": (self._muon, matrices), "adam": (self._adam, {**others, **text})},
        )
        self._loss = self._flow_loss
        if compiled and self.device.type == "cuda":
            compile_blocks(self.generator.dit)
        elif compiled:
            self._loss = torch.compile(self._flow_loss)

    def train_step(self, batch: GeneratorBatch) -> dict[str, Tensor]:
        """Take one step; return the loss, also over the noisy and the clean half of the times.

        Losses stay on the device: reading one would make every step wait for it. The loss of a half
        without a time in it is 0.
        """
        batch, random = batch.to(self.device), self._random()
        count = len(batch.latents)

        def uniform() -> Tensor:
            return torch.rand(count, generator=random, device=self.device)

        time = logit_normal_times(count, 0.0, 1.0, random)
        anywhere, chosen = uniform(), uniform() < _UNIFORM_TIMES
        time = torch.where(chosen, anywhere, time)
        keep = (uniform() >= self.settings.drop).float()
        noise = torch.randn(batch.latents.shape, generator=random, device=self.device)
        with self._precision():
            errors = self._loss(batch, noise, time, keep)
        loss = errors.mean()
        rate = self.settings.learning_rate * self.schedule(self.step)
        norm = self._descend((self._muon, self._adam), self._parameters, rate, loss)
        update_average(self.averaged, self._parameters, self.settings.average, self.step)
        self.step += 1
        report = {"flow": loss.detach(), "gradient": norm}
        for name, part in (("flow_noisy", time >= 0.5), ("flow_clean", time < 0.5)):
            report[name] = (errors.detach() * part).sum() / part.sum().clamp_min(1)
        return report

    @torch.no_grad()
    def probe(self, batch: GeneratorBatch) -> dict[str, Tensor]:
        """Return the loss of the present weights on a batch; change nothing."""
        batch = batch.to(self.device)
        random = torch.Generator(self.device).manual_seed(self.step)
        noise = torch.randn(batch.latents.shape, generator=random, device=self.device)
        count = len(batch.latents)
        time = torch.linspace(0.05, 0.95, count, device=self.device)
        keep = torch.ones(count, device=self.device)
        with self._precision():
            return {"flow": self._flow_loss(batch, noise, time, keep).mean()}

    def _flow_loss(
        self, batch: GeneratorBatch, noise: Tensor, time: Tensor, keep: Tensor
    ) -> Tensor:
        """Mean squared error of the velocity, (B,)."""
        conditioning = self.generator.condition(batch.ids, batch.mask, batch.seconds).dropped(keep)
        latent = noised(batch.latents, noise, time)
        velocity = self.generator.velocity(latent, time, conditioning)
        return (velocity.float() - (noise - batch.latents)).square().mean((1, 2))

    def averaged_tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the moving average under a checkpoint's names: model, text encoder."""
        return self.generator.checkpoint_tensors(self.averaged)


def _grouped(
    named: Mapping[str, nn.Parameter],
) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """(matrices inside the blocks, the rest, the text encoder's)."""
    text = {name: value for name, value in named.items() if name.startswith(_TEXT_ENCODER)}
    matrices = {
        name: value
        for name, value in named.items()
        if name not in text and value.dim() == 2 and "layers." in name
    }
    others = {name: v for name, v in named.items() if name not in text and name not in matrices}
    return matrices, others, text
