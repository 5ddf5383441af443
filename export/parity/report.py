"""Parity: the networks against arrays computed by the upstream implementation.

Each comparison is one row: the largest absolute error, against a tolerance of 1e-4 that grows with
tensors larger than unit scale. What is computed for each array is in stages.py, how arrays are
read in arrays.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.model.forms import REFERENCE, NetworkForm
from arcmobile.export.parity.arrays import ParityArrays, catalogue
from arcmobile.export.parity.stages import ParityStages
from arcmobile.runtime.errors import CheckpointError

TOLERANCE = 1e-4


@dataclass(frozen=True)
class ParityRow:
    """One compared array.

    Attributes:
        stage: the step of the data flow it belongs to.
        array: its name in ``expected.npz``.
        error: largest absolute difference; the number of different values for token arrays.
        tolerance: what the error must not exceed.
    """

    stage: str
    array: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; a NaN never is."""
        return self.error <= self.tolerance  # a NaN error is not within any tolerance

    @property
    def severity(self) -> float:
        """Error in units of the tolerance; infinite for NaN."""
        if self.passed:
            return self.error / self.tolerance if self.tolerance else 0.0
        return self.error / self.tolerance if self.tolerance and self.error > 0 else math.inf


class ParityRun:
    """Compares one parity folder.

    Args:
        folder: the checkpoint, opened.
        form: the spelling of the networks to check.

    Raises:
        CheckpointError: the folder holds no readable ``expected.npz``. Iterating :meth:`rows`
            raises it for arrays that do not fit the config, and for unsound weights.
    """

    def __init__(self, folder: CheckpointFolder, form: NetworkForm = REFERENCE):
        self.arrays = ParityArrays(folder.path)
        self.stages = ParityStages(folder, self.arrays, form)
        self.folder = self.stages.folder  # checked through this one, files are opened once

    def rows(self) -> Iterator[ParityRow]:
        """Every comparison, in the order of the data flow."""
        for stage, outputs in self.stages.all().items():
            with torch.no_grad():
                computed = list(outputs())
            for batch in computed:
                for name, actual in batch.items():
                    if name in self.arrays:
                        yield self._row(stage, name, actual)

    def absent(self) -> list[str]:
        """Return the arrays that a folder of this config can hold and this one does not."""
        return [name for name in catalogue(self.folder.config) if name not in self.arrays]

    def unread(self) -> list[str]:
        """Return the arrays that took no part in any comparison made so far."""
        return self.arrays.unread()

    def _row(self, stage: str, name: str, actual: Tensor | NDArray[Any]) -> ParityRow:
        found = np.asarray(actual)
        expected = self.arrays.numbers(name).astype(np.float64)
        if found.shape != expected.shape:
            raise CheckpointError(
                f"{self.arrays.path}: {name} has shape {list(expected.shape)}, "
                f"the config gives {list(found.shape)}"
            )
        if stage == "tokens":
            return ParityRow(stage, name, float(np.sum(found != expected)), 0.0)
        scale = float(np.sqrt(np.mean(expected**2))) if expected.size else 0.0
        error = float(np.max(np.abs(found - expected), initial=0.0))
        return ParityRow(stage, name, error, TOLERANCE * max(1.0, scale))
