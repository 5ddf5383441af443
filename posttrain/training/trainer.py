"""What all trainers share: a step count, saved tensors, one step down a loss, a moving average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from arcmobile.posttrain.training.optimizers import step_down
from arcmobile.posttrain.training.state import scoped, unscoped

Parameters = Mapping[str, nn.Parameter]

_MOMENTS = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")
_SEED_STRIDE = 1_000_003  # more than the steps of most trainings: seeds do not share noise


class StatefulTrainer:
    """Base of the trainers; a subclass declares in its constructor what its state consists of.

    Attributes:
        settings: a dataclass of :mod:`.settings`.
        step: batches seen.
        device: where the networks are.
    """

    settings: Any

    def __init__(self, settings: Any, device: str = "cpu"):
        self.settings, self.step = settings, 0
        self.device = torch.device(device)
        self._saved: dict[str, Mapping[str, Tensor]] = {}
        self._optimizers: dict[str, tuple[Optimizer, Parameters]] = {}

    def _keep(
        self,
        tensors: Mapping[str, Mapping[str, Tensor]],
        optimizers: Mapping[str, tuple[Optimizer, Parameters]],
    ) -> None:
        """Declare the state: tensors and optimizers by the scope they have in its file."""
        self._saved.update(tensors)
        self._optimizers.update(optimizers)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return (tensors, JSON header) from which :meth:`restore` goes on exactly."""
        tensors: dict[str, Tensor] = {}
        for scope, values in self._saved.items():
            tensors |= scoped(scope, {name: value.detach() for name, value in values.items()})
        for scope, (optimizer, parameters) in self._optimizers.items():
            tensors |= scoped(scope, _moments(optimizer, parameters))
        return tensors, {"step": self.step, "settings": asdict(self.settings)}

    def restore(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            KeyError: a tensor is missing.
            RuntimeError: a tensor is of another shape.
        """
        with torch.no_grad():
            for scope, places in self._saved.items():
                found = unscoped(scope, tensors)
                for name, place in places.items():
                    place.copy_(found[name])
        for scope, (optimizer, parameters) in self._optimizers.items():
            _restore_moments(optimizer, parameters, unscoped(scope, tensors))
        self.step = int(header["step"])

    def _random(self, device: torch.device | None = None) -> torch.Generator:
        """The generator of this step's noise, on the trainer's device by default."""
        seed = self.settings.seed * _SEED_STRIDE + self.step
        return torch.Generator(device or self.device).manual_seed(seed)

    def _precision(self) -> torch.autocast:
        """Mixed precision, where the settings ask for it."""
        # Not cached: weights cast without gradients would be used again where these are needed.
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.settings.bfloat16, cache_enabled=False
        )

    def _descend(
        self, optimizers: Sequence[Optimizer], parameters: Parameters, rate: float, loss: Tensor
    ) -> Tensor:
        """One step down a loss at a learning rate; returns the gradient's norm before clipping.

        A group of an optimizer may take a ``share`` of the rate.
        """
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("share", 1.0)
        loss.backward()
        moved = [parameter for parameter in parameters.values() if parameter.grad is not None]
        return step_down(optimizers, moved, self.settings.clip)


def _moments(optimizer: Optimizer, parameters: Parameters) -> dict[str, Tensor]:
    """Moments and step counts under ``moment/parameter``; empty before a first step."""
    return {
        f"{moment}/{name}": value
        for name, parameter in parameters.items()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }


def _restore_moments(
    optimizer: Optimizer, parameters: Parameters, tensors: Mapping[str, Tensor]
) -> None:
    """Set what :func:`_moments` gave, each moment in its parameter's memory layout."""
    for name, parameter in parameters.items():
        found = {
            moment: tensors[f"{moment}/{name}"]
            for moment in _MOMENTS
            if f"{moment}/{name}" in tensors
        }
        if found:
            optimizer.state[parameter] = {
                moment: value.clone()
                if moment == "step"
                else torch.empty_like(parameter, requires_grad=False).copy_(value)
                for moment, value in found.items()
            }


def averaged_copy(parameters: Parameters) -> dict[str, Tensor]:
    """Return copies of parameters, from which a moving average starts."""
    return {name: value.detach().clone() for name, value in parameters.items()}


def update_average(
    averaged: Mapping[str, Tensor], parameters: Parameters, decay: float, steps: int
) -> None:
    """Move an average towards the parameters after ``steps`` updates before this one.

    A young average follows quickly, or it would remember for long where training began.
    """
    decay = min(decay, (1 + steps) / (10 + steps))
    current = [parameter.detach() for parameter in parameters.values()]
    torch._foreach_lerp_(list(averaged.values()), current, 1 - decay)
