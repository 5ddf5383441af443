"""Detects trainings that have diverged: losses or weights not finite, or far too large."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from torch import Tensor

from arcmobile.runtime.errors import TrainingError

Losses = Mapping[str, float | Tensor]
Probe = Callable[[], Losses]
"""Computes losses of the present weights and changes nothing."""

_DIVERGED: Final = 1e6
"""Losses here are of order 1."""
_HUGE: Final = 1e12
"""No weight or moment gets there; behind a norm, larger weights would give finite losses."""


class DivergenceCheck:
    """Checks the losses and weights of a training and ends it with one line when it has diverged.

    Args:
        name: of the training, in messages.
        out: its folder, named in the error.
        main: the loss whose size is checked too.
        advice: how to go on after a divergence, e.g. ``use a lower --rate``.
        probe: run before a state is written: its losses are those of the weights after the last
            step, which no step has used yet.
        saved: step of the state in ``out``, if there is one.
    """

    def __init__(
        self,
        name: str,
        out: Path,
        *,
        main: str,
        advice: str,
        probe: Probe | None = None,
        saved: int | None = None,
    ):
        self._name, self._out, self._main, self._advice = name, out, main, advice
        self._probe = probe
        self.saved = saved

    def losses(self, step: int, losses: Mapping[str, Sequence[float | Tensor]]) -> None:
        """Check losses of several steps.

        Raises:
            TrainingError: a loss is not finite, or the main loss is too large.
        """
        for key, values in losses.items():
            for value in values:
                self._check(step, key, float(value), bounded=key == self._main)

    def new_losses(self, step: int, losses: Losses) -> None:
        """Check the losses of one step, without those on a GPU, which would have to be waited for.

        Raises:
            TrainingError: a loss is not finite, or the main loss is too large.
        """
        at_hand = {
            key: [value]
            for key, value in losses.items()
            if not isinstance(value, Tensor) or value.device.type == "cpu"
        }
        self.losses(step, at_hand)

    def state(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Check tensors and the losses of the probe.

        Raises:
            TrainingError: a value is not finite, or too large.
        """
        for key, tensor in tensors.items():
            if not bool((tensor.abs() <= _HUGE).all()):  # NaN compares false
                raise self._diverged(step, f"{key} has values of {tensor.abs().max():.3g}")
        if self._probe is not None:
            for key, value in self._probe().items():
                self._check(step, key, float(value), bounded=True)

    def _check(self, step: int, key: str, value: float, *, bounded: bool) -> None:
        if not math.isfinite(value) or (bounded and abs(value) > _DIVERGED):
            raise self._diverged(step, f"{key} is {value:.3g}")

    def _diverged(self, step: int, what: str) -> TrainingError:
        kept = (
            "no state was saved: begin again"
            if self.saved is None
            else f"the state of step {self.saved} is kept: go on with --resume"
        )
        return TrainingError(
            f"--out {self._out}: {self._name} diverged at step {step} ({what}); "
            f"{kept}, and {self._advice}"
        )
