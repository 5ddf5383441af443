"""Folders that appear whole or not at all: work in a hidden neighbour, rename it into place."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arcmobile.runtime.errors import OutputError


def partial_folder(out: Path) -> Path:
    """Where the content of `out` grows; next to it, so that the rename stays on one disk."""
    return out.parent / f".{out.name}.partial"


@contextmanager
def staged_folder(
    out: Path, *, replaceable: str | None = None, keep_partial: bool = False
) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` when the block ends without an exception.

    Args:
        out: the folder to make; its parents are created.
        replaceable: an existing `out` may go if it holds a file of this name, so that a slip of
            the keyboard never removes anything but what this function made; it goes only when
            the new folder is complete. None: nothing is replaced.
        keep_partial: leave (and next time reuse) what was written when the block fails, for
            downloads that resume.

    Raises:
        OutputError: `out` exists and may not be replaced, or it cannot be written.
    """
    out = out.absolute()
    _require_free(out, replaceable)
    staging = partial_folder(out)
    try:
        if not keep_partial:
            shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True, exist_ok=True)
        yield staging
        if out.is_dir():
            shutil.rmtree(out)
        staging.rename(out)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise OutputError(
            f"{out}: cannot be written ({os.strerror(error.errno)}); choose another --out"
        ) from error
    finally:
        if not keep_partial or not any(path.is_file() for path in staging.rglob("*")):
            shutil.rmtree(staging, ignore_errors=True)


_UNWRITABLE = (
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOTDIR,
    errno.EEXIST,
)


def require_space(out: Path, needed: int) -> None:
    """Raise OutputError when the disk of `out` has fewer than `needed` bytes free."""
    existing = next(
        parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists()
    )
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise OutputError(
            f"{out}: needs {readable_size(needed)} and the disk has {readable_size(free)} free; "
            "free some space or choose another --out"
        )


def readable_size(count: int) -> str:
    """Bytes in words: 7.5 MB, 2.43 GB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _require_free(out: Path, replaceable: str | None) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if replaceable is None:
        raise OutputError(
            f"{out}: already exists; remove it, choose another --out or add --overwrite"
        )
    if not (out / replaceable).is_file():
        raise OutputError(
            f"{out}: exists and holds no {replaceable}, so --overwrite leaves it alone; "
            "choose another --out"
        )
