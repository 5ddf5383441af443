"""One optimizer step with clipped gradients, and Muon over all matrices of one shape at once.

A GPU is kept busy by a host that runs ahead of it. So nothing here reads a value back from the
device, and many small kernels are merged into few large ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Muon, Optimizer

Schedule = Callable[[int], float]
"""Steps done -> fraction of the full learning rate."""


def step_down(
    optimizers: Sequence[Optimizer], parameters: Sequence[nn.Parameter], clip: float
) -> Tensor:
    """Clip the gradients and move the parameters; return the norm before, a 0-d tensor.

    On a CPU, a norm that is not finite moves nothing. On a GPU, where one would have to wait for
    the norm, such gradients are set to zero: moments decay and weights shrink by their decay.
    """
    norm = nn.utils.clip_grad_norm_(parameters, clip)
    if norm.device.type == "cpu":
        if not bool(torch.isfinite(norm)):
            return norm
    else:
        bad = ~torch.isfinite(norm)
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(bad, 0)
    for optimizer in optimizers:
        optimizer.step()
    return norm


class GroupedMuon(Muon):
    """Muon (Jordan et al. 2024) that orthogonalizes matrices of one shape together.

    PyTorch goes through them one by one, some thirty kernels each; for a small transformer that
    takes a GPU as long as its gradients. The update is the same up to rounding. Rates are those of
    Adam (``match_rms_adamw``).
    """

    def __init__(self, parameters: Sequence[nn.Parameter], weight_decay: float):
        super().__init__(parameters, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step; see :class:`torch.optim.Muon`."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(tuple(parameter.shape), []).append(parameter)
            for shape, parameters in by_shape.items():
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                updates = self._updates(parameters, group["momentum"], group["nesterov"])
                orthogonal = _orthogonalized(
                    updates, group["ns_coefficients"], group["ns_steps"], group["eps"]
                )
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(parameters, list(orthogonal.unbind()), alpha=-rate)

    def _updates(self, parameters: Sequence[Tensor], momentum: float, nesterov: bool) -> Tensor:
        """(matrices, rows, columns): gradients with momentum."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        buffers = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffers.append(state["momentum_buffer"])
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        if nesterov:
            return torch.stack(torch._foreach_lerp(gradients, buffers, momentum))
        return torch.stack(buffers)


def _orthogonalized(
    matrices: Tensor, coefficients: tuple[float, float, float], steps: int, least: float
) -> Tensor:
    """Each of (matrices, rows, columns) with singular values near 1 (Newton-Schulz iteration)."""
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(least)
    for _ in range(steps):
        gram = x @ x.mT
        update = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, update, x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)
