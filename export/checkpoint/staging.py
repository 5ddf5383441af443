"""Checkpoint and report folders that appear whole or not at all, and room on the disk for them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from arcmobile.runtime.errors import OutputError
from arcmobile.runtime.whole_output import whole_folder

_CHECKPOINT_MARK: Final = "model_config.json"


@contextmanager
def staged_folder(
    out: Path, *, replaceable: str | None = None, keep_partial: bool = False
) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` when the block ends without an exception.

    See :func:`arcmobile.runtime.whole_output.whole_folder`, which does the work.

    Args:
        out: the folder to make; its parents are created.
        replaceable: an existing `out` may go if it holds a file of this name; it goes only when
            the new folder is complete. None: nothing is replaced.
        keep_partial: leave (and next time reuse) what was written when the block fails, for
            downloads that resume.

    Raises:
        OutputError: `out` exists and may not be replaced, it cannot be written, or another process
            is writing it.
    """
    with whole_folder(
        out,
        replaceable=replaceable or _CHECKPOINT_MARK,
        overwrite=replaceable is not None,
        keep_partial=keep_partial,
        option="--out",
    ) as folder:
        yield folder


def require_space(out: Path, needed: int) -> None:
    """Raise OutputError when the disk of `out` has fewer than `needed` bytes free."""
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
    """Bytes in words: 7.5 MB, 2.43 GB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
