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
    """Another process holds the unfinished output, or moves the destination just now."""


def sibling(destination: Path, suffix: str) -> Path:
    """The hidden name beside ``destination``; a digest stands in for a name that is too long."""
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
        self._identity = (found.st_dev, found.st_ino)
        self.mode = stat.S_IMODE(found.st_mode)

    @property
    def in_place(self) -> bool:
        """Whether what stands at ``path`` is what was claimed."""
        return _identity(self.path) == self._identity

    def is_at(self, path: Path) -> bool:
        """Whether what was claimed stands at ``path`` now."""
        return _identity(path) == self._identity

    def remove(self, path: Path | None = None) -> None:
        """Removes what was claimed, wherever it was moved to; nothing that is another's."""
        path = path or self.path
        if self.is_at(path):
            remove_tree(path)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def claim_file(path: Path) -> Claim:
    """Makes the empty file ``path`` and holds it; :class:`Busy` where another process does."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    return _claim(path, lambda: os.open(path, flags, 0o666))


def claim_folder(path: Path, *, adopt: bool = False) -> Claim:
    """Makes the empty folder ``path`` and holds it; :class:`Busy` where another process does.

    With ``adopt``, a folder that a dead run left is taken over with what is in it.
    """

    def make() -> int | None:
        path.mkdir()
        return _open_folder(path)

    return _claim(path, make, adopt=adopt)


def claim_existing(path: Path) -> Claim:
    """Holds a folder that stands at ``path``; :class:`Busy` where another process does."""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        if claim := _held(path, _open_folder(path)):
            return claim
    raise Busy


def _claim(path: Path, make: Any, *, adopt: bool = False) -> Claim:
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        with suppress(FileNotFoundError):  # swept between two calls: again
            try:
                made = make()
            except FileExistsError:
                if not (adopt and stat.S_ISDIR(os.lstat(path).st_mode)):
                    if not remove_dead(path):
                        continue
                    made = make()
                else:
                    made = _open_folder(path)
            if claim := _held(path, made):
                return claim
    raise Busy


def _held(path: Path, descriptor: int | None) -> Claim | None:
    """A claim once the lock is ours and ``path`` still is what was opened."""
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


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def remove_dead(path: Path) -> bool:
    """Removes what a dead run left at ``path``; False if its writer lives."""
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
        found = os.fstat(descriptor)
        if _identity(path) == (found.st_dev, found.st_ino):
            remove_tree(path)
        return True
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Removes a file or a folder; folders in it that deny it are made writable first."""

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
    """Puts back a folder that a killed run had moved aside, or removes it if no longer needed.

    The caller holds the claim of ``destination``. Raises :class:`Busy` where the run that moved it
    is alive and removing it.
    """
    old = sibling(destination, OLD)
    if not os.path.lexists(old):
        return
    if not os.path.lexists(destination):
        old.rename(destination)
    elif not remove_dead(old):
        raise Busy


def exchange(one: Path, other: Path) -> bool:
    """Swaps two names in one step; False where kernel, C library or disk cannot."""
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
    function.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )
    return function


_swept: set[Path] = set()
_swept_lock = threading.Lock()


def sweep(folder: Path) -> None:
    """Removes what dead runs left in ``folder``, once per process; what resists stays.

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
        return  # what it was called is only known to the next run that writes it
    destination = path.with_name(name)
    claim = claim_folder(sibling(destination, PARTIAL))
    try:
        restore(destination)
    finally:
        claim.remove()
        claim.close()


def _sweep_legacy(path: Path) -> None:
    """Leftovers of releases that took no locks: files that no process has open.

    Their folders are kept open by nobody even while they are written, so those must be a day old.
    """
    found = os.lstat(path)
    if stat.S_ISREG(found.st_mode):
        if not _is_open_somewhere((found.st_dev, found.st_ino)):
            path.unlink()
    elif stat.S_ISDIR(found.st_mode) and time.time() - found.st_mtime > 24 * 3600:
        remove_tree(path)


def _is_open_somewhere(identity: tuple[int, int]) -> bool:
    """Whether a process has the file open; True where that cannot be known."""
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
                found = descriptor.stat()
                if (found.st_dev, found.st_ino) == identity:
                    return True
    return False
