"""How far one set of arrays is from another: the figures of every parity gate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from arcmobile.runtime.bundle import Fidelity
from arcmobile.runtime.errors import ExportError

Array = NDArray[np.float32]


def snr_db(reference: Array, actual: Array) -> float | None:
    """Return the signal to noise ratio in dB of ``actual``; None if it equals ``reference``."""
    difference = np.asarray(actual, np.float64) - np.asarray(reference, np.float64)
    noise = float(np.sum(difference**2))
    if noise == 0.0:
        return None
    signal = float(np.sum(np.asarray(reference, np.float64) ** 2))
    return float(10.0 * np.log10(max(signal, np.finfo(np.float64).tiny) / noise))


def cosine(reference: Array, actual: Array) -> float:
    """Return the cosine similarity of the flattened arrays, 1 for two zero arrays."""
    a, b = np.ravel(reference).astype(np.float64), np.ravel(actual).astype(np.float64)
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b / norm) if norm else 1.0


def compare(reference: Mapping[str, Array], actual: Mapping[str, Array]) -> Fidelity:
    """Return the fidelity of a program's outputs; several outputs count by their worst.

    Raises:
        ExportError: an output is NaN or infinite.
        ValueError: there is none.
    """
    worst: Fidelity | None = None
    for name, expected in reference.items():
        found = actual[name]
        if not np.isfinite(found).all():
            raise ExportError(f"{name}: the program gives NaN or infinite values")
        one = Fidelity(
            max_abs_error=float(np.max(np.abs(found - expected), initial=0.0)),
            snr_db=snr_db(expected, found),
            cosine=cosine(expected, found),
        )
        worst = one if worst is None else _worse(worst, one)
    if worst is None:
        raise ValueError("nothing to compare")
    return worst


def _worse(a: Fidelity, b: Fidelity) -> Fidelity:
    ratios = [f.snr_db for f in (a, b) if f.snr_db is not None]
    return Fidelity(
        max_abs_error=max(a.max_abs_error, b.max_abs_error),
        snr_db=min(ratios) if ratios else None,
        cosine=min(a.cosine, b.cosine),
    )
