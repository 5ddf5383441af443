"""Bundles on several releases of ExecuTorch, with XNNPACK's weight cache off and on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

BUILD: Final = Path(__file__).parents[2] / "build" / "older-runtimes"


def environment(release: str | None) -> dict[str, str]:
    """Variables under which Python imports a release of ExecuTorch; None: the installed one.

    Raises:
        FileNotFoundError: the release is not there.
    """
    if release is None:
        return dict(os.environ)
    if not (BUILD / release / "executorch").is_dir():
        raise FileNotFoundError(f"{BUILD / release}: no ExecuTorch there; run make older-runtimes")
    return {**os.environ, "PYTHONPATH": str(BUILD / release)}
