"""Unfinished outputs: their names, who is writing them, and what dead runs left behind.

The unfinished output of the destination ``NAME`` is ``.NAME.arcmobile-partial`` beside it. Its
writer holds a ``flock`` on it for as long as it lives, so a lock that is free means a dead run. A
folder that is about to be replaced may stand aside as ``.NAME.arcmobile-old`` for a moment.
Where there are no such locks (Windows, some network disks) the last writer wins.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import shutil
import stat
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PARTIAL: Final = ".arcmobile-partial"
KEPT: Final = ".arcmobile-kept"  # a download that can be resumed; no sweep takes it away
OLD: Final = ".arcmobile-old"

_LONGEST_NAME: Final = 255  # bytes, on every file system of today
_SHORTENED: Final = "~"
_LEGACY: Final = re.compile(r"\..+\.(partial|old)-[0-9a-f]{8}")
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
# A sweep of another process holds a lock for an instant; a writer holds it for long.
_ATTEMPTS: Final = 12
_PAUSE_SECONDS: Final = 0.02


class Busy(Exception):
    """Another process holds the unfinished output, or is moving the destination."""


def sibling(destination: Path, suffix: str) -> Path:
    """Return the hidden name beside ``destination``, a digest where the name is too long."""
    name = f".{destination.name}{suffix}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(destination.name)).hexdigest()[:32]
        name = f".{_SHORTENED}{digest}{suffix}"
    return destination.with_name(name)


class Claim:
    """An unfinished file or folder that this process holds; close it when all is done.

    Attributes:
        path: where it stands until it is renamed into place.
        mode: permission bits it was made with, from the umask.
    """

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path = path
        self._descriptor = descriptor
        found = os.lstat(path) if descriptor is None else os.fstat(descriptor)
        self._identity = _identity(found)
        self.mode = stat.S_IMODE(found.st_mode)

    @property
    def in_place(self) -> bool:
        """Whether what stands at ``path`` is what was claimed."""
        return self.is_at(self.path)

    def is_at(self, path: Path) -> bool:
        """Return whether what was claimed stands at ``path`` now."""
        return _identity_at(path) == self._identity

    def remove(self, path: Path | None = None) -> None:
        """Remove what was claimed from ``path`` if it stands there, and nothing else."""
        path = path or self.path
        if self.is_at(path):
            remove_tree(path)

    def close(self) -> None:
        """Give up the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def claim_file(path: Path) -> Claim:
    """Make the empty file ``path`` and hold it.

    Raises:
        Busy: another process holds it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    return _claim(path, lambda: os.open(path, flags, 0o666))


def claim_folder(path: Path, *, adopt: bool = False) -> Claim:
    """Make the empty folder ``path`` and hold it.

    With ``adopt``, a folder that a dead run left is taken over with what is in it.

    Raises:
        Busy: another process holds it.
    """

    def make() -> int | None:
        path.mkdir()
        return _open_folder(path)

    return _claim(path, make, adopt=adopt)


def claim_existing(path: Path) -> Claim:
    """Hold the folder that stands at ``path``.

    Raises:
        Busy: another process holds it.
    """
    return _claim(path, lambda: _open_folder(path))


def _claim(path: Path, make: Callable[[], int | None], *, adopt: bool = False) -> Claim:
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        with suppress(FileNotFoundError):  # swept between two calls: again
            try:
                made = make()
            except FileExistsError:
                if adopt and stat.S_ISDIR(os.lstat(path).st_mode):
                    made = _open_folder(path)
                elif remove_dead(path):
                    made = make()
                else:
                    continue
            if claim := _held(path, made):
                return claim
    raise Busy


def _held(path: Path, descriptor: int | None) -> Claim | None:
    """Return a claim once the lock is ours and ``path`` still is what was opened."""
    try:
        if descriptor is None or _lock(descriptor):
            claim = Claim(path, descriptor)
            if claim.in_place:
                descriptor = None
                return claim
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return None


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _open_folder(path: Path) -> int | None:
    if os.name == "nt":
        return None
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _identity_at(path: Path) -> tuple[int, int] | None:
    try:
        return _identity(os.lstat(path))
    except FileNotFoundError:
        return None


def remove_dead(path: Path) -> bool:
    """Remove what a dead run left at ``path``.

    Returns:
        False where its writer is alive.

    Raises:
        PermissionError: it cannot be opened.
    """
    try:
        kind = os.lstat(path).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            path.unlink()  # a link, say: never followed
            return True
        if os.name == "nt":
            remove_tree(path)  # an open file cannot be removed there
            return True
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return True
    except PermissionError:
        if os.name == "nt":
            return False
        raise
    try:
        if not _lock(descriptor):
            return False
        if _identity_at(path) == _identity(os.fstat(descriptor)):
            remove_tree(path)
        return True
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a file or a folder; folders in it that forbid it are made writable first."""

    def unlock(function: Any, name: str, _: Any) -> None:
        for folder in (Path(name).parent, Path(name)):
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o700)
        function(name) if function in (os.unlink, os.rmdir) else shutil.rmtree(name)

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=unlock)
    else:
        path.unlink(missing_ok=True)


def restore(destination: Path) -> None:
    """Put back a folder that a killed run had moved aside, or remove it if no longer needed.

    The caller holds the claim of ``destination``.

    Raises:
        Busy: the run that moved it is alive and removing it.
    """
    old = sibling(destination, OLD)
    if not os.path.lexists(old):
        return
    if not os.path.lexists(destination):
        old.rename(destination)
    elif not remove_dead(old):
        raise Busy


def exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step.

    Returns:
        False where the kernel, the C library or the file system cannot.

    Raises:
        OSError: they can, and it failed.
    """
    renameat2 = _renameat2()
    if renameat2 is None:
        return False
    sys.audit("os.rename", one, other, -1, -1)
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if renameat2(here, os.fsencode(one), here, os.fsencode(other), swap) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), os.fspath(other))


@cache
def _renameat2() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    name = (ctypes.c_int, ctypes.c_char_p)  # folder, path
    function.argtypes = (*name, *name, ctypes.c_uint)
    return function


_swept: set[Path] = set()
_swept_lock = threading.Lock()


def sweep(folder: Path) -> None:
    """Remove what dead runs left in ``folder``, once per process; what cannot be removed stays.

    Folders that a killed run had moved aside are put back.
    """
    with _swept_lock:
        if folder in _swept:
            return
        _swept.add(folder)
    with suppress(OSError):
        with os.scandir(folder) as entries:
            hidden = [folder / entry.name for entry in entries if entry.name.startswith(".")]
        for path in hidden:
            with suppress(OSError, Busy):
                if path.name.endswith(PARTIAL):
                    _sweep_partial(path)
                elif path.name.endswith(OLD):
                    _sweep_old(path)
                elif _LEGACY.fullmatch(path.name):
                    _sweep_legacy(path)


def _sweep_partial(path: Path) -> None:
    kind = os.lstat(path).st_mode
    if stat.S_ISREG(kind) or stat.S_ISDIR(kind):
        remove_dead(path)


def _sweep_old(path: Path) -> None:
    name = path.name.removesuffix(OLD)[1:]
    if name.startswith(_SHORTENED):
        return  # only the next run that writes it knows its full name
    destination = path.with_name(name)
    claim = claim_folder(sibling(destination, PARTIAL))
    try:
        restore(destination)
    finally:
        claim.remove()
        claim.close()


def _sweep_legacy(path: Path) -> None:
    """Remove what releases without locks left: files that no process has open.

    Nobody keeps their folders open even while they are written, so those must be a day old.
    """
    found = os.lstat(path)
    if stat.S_ISREG(found.st_mode):
        if not _is_open_somewhere(_identity(found)):
            path.unlink()
    elif stat.S_ISDIR(found.st_mode) and time.time() - found.st_mtime > 24 * 3600:
        remove_tree(path)


def _is_open_somewhere(identity: tuple[int, int]) -> bool:
    """Return whether a process has the file open; True where that cannot be known."""
    processes = [path for path in Path("/proc").glob("[0-9]*") if path.is_dir()]
    if not processes:
        return True
    for process in processes:
        try:
            descriptors = list((process / "fd").iterdir())
        except FileNotFoundError:
            continue  # it has ended
        except PermissionError:
            return True
        for descriptor in descriptors:
            with suppress(OSError):
                if _identity(descriptor.stat()) == identity:
                    return True
    return False
