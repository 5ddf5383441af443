"""Room on the disk for checkpoint folders."""

from __future__ import annotations

import shutil
from pathlib import Path

from arcmobile.runtime.errors import OutputError


def require_space(out: Path, needed: int) -> None:
    """Check that the disk of ``out`` has ``needed`` bytes free.

    Raises:
        OutputError: it has fewer.
    """
    existing = next(
        parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists()
    )
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise OutputError(
            f"--out {out}: needs {readable_size(needed)} and the disk has {readable_size(free)} "
            "free; free some space or choose another place"
        )


def readable_size(count: int) -> str:
    """Return bytes in words: ``7.5 MB``, ``2.43 GB``."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
