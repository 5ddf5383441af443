"""One step of flow matching: the generator learns velocities from noise to latents.

Rectified flow (Liu et al. 2023, "Flow Straight and Fast"; Lipman et al. 2023, "Flow Matching for
Generative Modeling"): x_t = (1 - t) x_0 + t noise, and the velocity is noise - x_0. Prompts are
left out now and then, so that sampling can be guided (Ho and Salimans 2022, "Classifier-Free
Diffusion Guidance"). Times are logit-normal (Esser et al. 2024, "Scaling Rectified Flow
Transformers", section 3.1), a tenth of them uniform, so that no time is left out.

Matrices are moved by Muon (Jordan et al. 2024), which takes about half of Adam's steps on
transformers of this size; everything else by AdamW.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from arcmobile.export.gpu.engine import compile_blocks
from arcmobile.posttrain.arc.losses import logit_normal_times, noised
from arcmobile.posttrain.arc.trainer import ArcBatch
from arcmobile.posttrain.training.descent import GroupedMuon, Schedule, step_down
from arcmobile.posttrain.training.networks import TrainableGenerator
from arcmobile.posttrain.training.settings import FlowSettings
from arcmobile.posttrain.training.state import adam_tensors, restore_adam, scoped, unscoped

_BETAS = (0.9, 0.95)
_TEXT_ENCODER = "conditioner.text."
_UNIFORM_TIMES = 0.1  # of a batch


class FlowTrainer:
    """Generator, optimisers and step count.

    ``schedule`` gives the fraction of the learning rate at a step, in the place of the settings'.

    Attributes:
        step: batches seen.
        averaged: moving average of the trained parameters, by parameter name.
    """

    def __init__(
        self,
        generator: TrainableGenerator,
        settings: FlowSettings,
        *,
        device: str = "cpu",
        compiled: bool = False,
        schedule: Schedule | None = None,
    ):
        self.settings, self.device = settings, torch.device(device)
        self.schedule = schedule or settings.rate_at
        self.step = 0
        self.generator = generator.to(self.device)
        self._named = generator.trained_parameters()
        self.averaged = {name: value.detach().clone() for name, value in self._named.items()}
        self._matrices, self._others, self._text = _grouped(self._named)
        decay = settings.weight_decay
        self._muon = GroupedMuon(list(self._matrices.values()), decay)
        groups = [
            {"params": list(self._others.values()), "share": 1.0},
            {"params": list(self._text.values()), "share": settings.text_rate},
        ]
        self._adam = torch.optim.AdamW(groups, betas=_BETAS, weight_decay=decay)
        self._loss = self._flow_loss
        if compiled and self.device.type == "cuda":
            compile_blocks(self.generator.dit)
        elif compiled:
            self._loss = torch.compile(self._flow_loss)

    def train_step(self, batch: ArcBatch) -> dict[str, Tensor]:
        """One step; returns the loss, also over the noisy and the clean half of the times.

        Losses stay on the device: reading one would make every step wait for it. That of a half
        without a time in it is 0.
        """
        settings, device = self.settings, self.device
        batch = batch.to(device)
        random = torch.Generator(device).manual_seed(settings.seed * 1_000_003 + self.step)
        count = len(batch.latents)

        def uniform() -> Tensor:
            return torch.rand(count, generator=random, device=device)

        time = logit_normal_times(count, 0.0, 1.0, random)
        anywhere, chosen = uniform(), uniform() < _UNIFORM_TIMES
        time = torch.where(chosen, anywhere, time)
        keep = (uniform() >= settings.drop).float()
        noise = torch.randn(batch.latents.shape, generator=random, device=device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.bfloat16):
            errors = self._loss(batch, noise, time, keep)
        loss = errors.mean()
        norm = self._descend(loss)
        self._update_average()
        self.step += 1
        report = {"flow": loss.detach(), "gradient": norm}
        for name, part in (("flow_noisy", time >= 0.5), ("flow_clean", time < 0.5)):
            report[name] = (errors.detach() * part).sum() / part.sum().clamp_min(1)
        return report

    @torch.no_grad()
    def probe(self, batch: ArcBatch) -> dict[str, Tensor]:
        """The loss of the present weights on a batch; changes nothing."""
        batch = batch.to(self.device)
        random = torch.Generator(self.device).manual_seed(self.step)
        noise = torch.randn(batch.latents.shape, generator=random, device=self.device)
        count = len(batch.latents)
        time = torch.linspace(0.05, 0.95, count, device=self.device)
        keep = torch.ones(count, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bfloat16):
            return {"flow": self._flow_loss(batch, noise, time, keep).mean()}

    def _flow_loss(self, batch: ArcBatch, noise: Tensor, time: Tensor, keep: Tensor) -> Tensor:
        """Mean squared error of the velocity, (B,)."""
        told = self.generator.condition(batch.ids, batch.mask, batch.seconds).dropped(keep)
        velocity = self.generator.velocity(noised(batch.latents, noise, time), time, told)
        return (velocity.float() - (noise - batch.latents)).square().mean((1, 2))

    def _descend(self, loss: Tensor) -> Tensor:
        """One step down; a loss or gradient that is not finite moves nothing."""
        rate = self.settings.learning_rate * self.schedule(self.step)
        optimizers = (self._muon, self._adam)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("share", 1.0)
        loss.backward()
        return step_down(optimizers, list(self._named.values()), self.settings.clip)

    def _update_average(self) -> None:
        # A young average follows quickly, or it would remember where training began.
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
        current = [parameter.detach() for parameter in self._named.values()]
        torch._foreach_lerp_(list(self.averaged.values()), current, 1 - decay)

    def averaged_tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The moving average under a checkpoint's names: model, text encoder."""
        return self.generator.checkpoint_tensors(self.averaged)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, JSON header) from which :meth:`restore` goes on exactly."""
        others = {**self._others, **self._text}
        tensors = {
            **scoped("weights", self._named),
            **scoped("average", self.averaged),
            **scoped("muon", adam_tensors(self._muon, self._matrices)),
            **scoped("adam", adam_tensors(self._adam, others)),
        }
        return tensors, {"step": self.step, "settings": asdict(self.settings)}

    def restore(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Sets what :meth:`state` gave; KeyError where a tensor is missing."""
        with torch.no_grad():
            for prefix, places in (("weights", self._named), ("average", self.averaged)):
                found = unscoped(prefix, tensors)
                for name, place in places.items():
                    place.copy_(found[name])
        restore_adam(self._muon, self._matrices, unscoped("muon", tensors))
        restore_adam(self._adam, {**self._others, **self._text}, unscoped("adam", tensors))
        self.step = int(header["step"])


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
