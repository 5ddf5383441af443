"""What the tests of every backend do alike: plan, lower a copy, compare."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from arcmobile.export.backends.base import Backend, LoweringEntry, LoweringSummary
from arcmobile.quant.plan import quantizable_layers
from arcmobile.quant.precision import Precision


def snr(reference: Tensor, other: npt.NDArray[np.float32]) -> float:
    """Signal to noise ratio in dB."""
    wanted = reference.detach().double().numpy()
    noise = np.square(wanted - other).sum()
    return float(10 * np.log10(np.square(wanted).sum() / max(noise, 1e-30)))


def plan_of(backend: Backend, module: nn.Module, precision: Precision) -> dict[str, Precision]:
    """What a backend makes of one precision everywhere."""
    return {name: backend.effective(layer, precision) for name, layer in quantizable_layers(module)}


def lower(
    backend: Backend,
    module: nn.Module,
    plan: dict[str, Precision],
    entries: Sequence[LoweringEntry],
    path: Path,
) -> LoweringSummary:
    """Lowers a copy: backends change the module they are given."""
    return backend.lower(copy.deepcopy(module), plan, tuple(entries), path)
