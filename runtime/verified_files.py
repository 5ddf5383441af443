"""Digests of files, computed once: a stamp remembers that a file was compared and is unchanged.

The stamps lie under ``${ARCMOBILE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/arcmobile}/verified/``, each
named by the sha256 of its file's real path, and hold one line::

    arcmobile-verified-1 SIZE MTIME_NS CTIME_NS INODE DEVICE SHA256

The native runner reads and writes the same stamps. A stamp is believed while all of its numbers are
those of the file. Whoever can write there can write bundles too: stamps guard against broken
copies, not against an attacker; ``inspect --verify`` ignores them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Final

from arcmobile.runtime.errors import OutputError
from arcmobile.runtime.whole_output import write_whole_text

_FORMAT: Final = "arcmobile-verified-1"
_LONGEST_STAMP: Final = 512  # bytes


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading.

    Raises:
        OSError: it cannot be opened or is not a regular file; a FIFO does not block.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        number = errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL
        reason = os.strerror(number) if stat.S_ISDIR(kind) else "not a file"
        raise OSError(number, reason, os.fspath(path))
    return os.fdopen(descriptor, "rb")


def file_digest(path: Path) -> str:
    """Return the sha256 of a file in hex, read in pieces; OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_digest(file: BufferedReader, path: Path, sha256: str, *, read: bool = False) -> bool:
    """Return whether an open file has this sha256.

    Args:
        file: opened for reading, at its beginning.
        path: where it was opened.
        sha256: in hex.
        read: read the file even if a stamp exists.
    """
    before = _line(file, sha256)
    stamp = _stamp_of(path)
    if not read and stamp is not None and _says(stamp, before):
        return True
    if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
        return False
    # Not if it was changed meanwhile; and a stamp that cannot be written only costs time.
    if stamp is not None and _line(file, sha256) == before:
        with suppress(OutputError, OSError):
            write_whole_text(stamp, before, overwrite=True)
    return True


def _line(file: BufferedReader, sha256: str) -> str:
    found = os.fstat(file.fileno())
    numbers = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
    return f"{_FORMAT} {' '.join(map(str, numbers))} {sha256}\n"


def _says(stamp: Path, line: str) -> bool:
    try:
        with open_regular(stamp) as file:
            return file.read(_LONGEST_STAMP) == line.encode()
    except OSError:
        return False


def _stamp_of(path: Path) -> Path | None:
    """Return where the stamp of a file belongs; None where there is no home folder."""
    folder = os.environ.get("ARCMOBILE_CACHE")
    if not folder:
        base = os.environ.get("XDG_CACHE_HOME")
        try:
            folder = os.path.join(base or Path.home() / ".cache", "arcmobile")  # noqa: PTH118
        except RuntimeError:
            return None
    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()
    return Path(folder) / "verified" / name
