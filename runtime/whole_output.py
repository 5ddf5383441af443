"""Files and folders that appear whole or not at all: the one way in which anything is written.

The content grows under a hidden name beside the destination and is renamed into place. Whenever a
process is killed, the destination holds the old content or the new, or the next run that writes
there puts the old one back; that run also removes what dead ones left in the folder. A second
writer of one destination is refused. Devices, FIFOs and ``/dev/stdout`` are written into and never
replaced. See :mod:`arcmobile.runtime.output_claims` for the names and locks.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from arcmobile.runtime.errors import OutputError
from arcmobile.runtime.output_claims import (
    KEPT,
    OLD,
    PARTIAL,
    Busy,
    Claim,
    claim_existing,
    claim_file,
    claim_folder,
    exchange,
    remove_tree,
    restore,
    sibling,
    sweep,
)

AnyPath = str | os.PathLike[str]

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_TOO_LARGE: Final = (errno.EFBIG,)
_NO_HARD_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_DESCRIPTORS: Final = re.compile(r"/proc/(\d+)/(?:task/\d+/)?fd")


@contextmanager
def whole_file(path: AnyPath, *, overwrite: bool, option: str = "") -> Iterator[Path]:
    """Give a path to write to, whose file becomes ``path`` when the block ends well.

    The path given has no suffix of its own: name the format to libraries that guess it. The file
    may be opened by name any number of times, or replaced by another under that name.

    Args:
        path: the file to make; its folders are made too. A symbolic link is followed.
        overwrite: whether a file that is there, now or at the end, may be replaced.
        option: the command-line option that named ``path``, for messages.

    Raises:
        OutputError: the file cannot be written, is there already, or is being written by another
            process.
    """
    named = _named(path, option)
    # Absolute, so that a change of working directory inside the block does no harm.
    given = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() follows links)
    check_file(path, overwrite=overwrite, option=option)
    if is_written_into(given):
        with _as_output_error(named, given), tempfile.TemporaryDirectory() as scratch:
            unfinished = Path(scratch) / "output"
            unfinished.touch()
            yield unfinished
            _copy_into(unfinished, given)
        return
    target = Path(os.path.realpath(given))
    with _as_output_error(named, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        claim = claim_file(sibling(target, PARTIAL))
        try:
            sweep(target.parent)
            yield claim.path
            _put_file(claim, target, overwrite=overwrite)
        finally:
            claim.remove()
            claim.close()


def write_whole_bytes(path: AnyPath, data: bytes, *, overwrite: bool, option: str = "") -> None:
    """Write ``data`` to a file, see :func:`whole_file`.

    Raises:
        OutputError: as :func:`whole_file`.
    """
    with whole_file(path, overwrite=overwrite, option=option) as unfinished:
        unfinished.write_bytes(data)


def write_whole_text(path: AnyPath, text: str, *, overwrite: bool, option: str = "") -> None:
    """Write ``text`` as UTF-8 with the line ends it has, see :func:`whole_file`.

    Characters that UTF-8 has no form for (halves of surrogate pairs) are written as escapes.

    Raises:
        OutputError: as :func:`whole_file`.
    """
    data = text.encode("utf-8", "backslashreplace")
    write_whole_bytes(path, data, overwrite=overwrite, option=option)


@contextmanager
def whole_folder(
    path: AnyPath,
    *,
    replaceable: str,
    overwrite: bool,
    keep_partial: bool = False,
    option: str = "",
) -> Iterator[Path]:
    """Give an empty folder that becomes ``path`` when the block ends well.

    Args:
        path: the folder to make; its parents are made too. An empty folder there is no obstacle.
        replaceable: name of a file that marks a folder as one of ours: no other folder is ever
            replaced, so that a typing error does no harm.
        overwrite: whether such a folder may be replaced, once the new one is complete.
        keep_partial: leave what was written when the block fails, and give it to the next run: for
            downloads that resume.
        option: the command-line option that named ``path``, for messages.

    Raises:
        OutputError: the folder cannot be written, is there and may not be replaced, or is being
            written by another process.
    """
    named = _named(path, option)
    target = Path(os.path.realpath(path))
    check_folder(path, replaceable=replaceable, overwrite=overwrite, option=option)
    with _as_output_error(named, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        claim = claim_folder(unfinished_folder(target, keep_partial), adopt=keep_partial)
        complete = False
        try:
            sweep(target.parent)
            restore(target)
            check_folder(path, replaceable=replaceable, overwrite=overwrite, option=option)
            yield claim.path
            _put_folder(claim, target, overwrite=overwrite, named=named)
            complete = True
        finally:
            if complete or not keep_partial or not _holds_a_file(claim.path):
                claim.remove()
            claim.close()


def _named(path: AnyPath, option: str) -> str:
    return f"{option} {os.fspath(path)}".strip()


def unfinished_folder(path: AnyPath, keep_partial: bool = False) -> Path:
    """Return where the content of the folder ``path`` grows, beside it."""
    return sibling(Path(os.path.realpath(path)), KEPT if keep_partial else PARTIAL)


def check_file(path: AnyPath, *, overwrite: bool, option: str = "") -> None:
    """Check that a file can be made at ``path``; worth it before minutes of computing.

    Folders that do not exist yet are no obstacle.

    Raises:
        OutputError: ``path`` is taken, or its folder cannot be written.
    """
    named = _named(path, option)
    given = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() follows links)
    with _as_output_error(named, given):
        if given.is_dir():
            raise OutputError(f"{named}: is a folder; name a file")
        if is_written_into(given):
            return
        target = Path(os.path.realpath(given))
        if os.path.lexists(target) and not overwrite:
            raise OutputError(f"{named}: exists already; choose another name or add --overwrite")
        _check_parent(target, named)


def check_folder(path: AnyPath, *, replaceable: str, overwrite: bool, option: str = "") -> None:
    """Check that :func:`whole_folder` can make ``path``, before minutes of computing.

    Raises:
        OutputError: ``path`` is taken, cannot be replaced, or its parent cannot be written.
    """
    named = _named(path, option)
    target = Path(os.path.realpath(path))
    with _as_output_error(named, target):
        if target.is_dir():
            # Replacing it would leave the shell in a folder that is gone.
            if Path(os.path.realpath(os.curdir)).is_relative_to(target):
                raise OutputError(f"{named}: is the working folder; choose a folder inside it")
            if target.is_mount():
                raise OutputError(f"{named}: is a mount point; choose a folder inside it")
            _check_replaceable(target, named, replaceable=replaceable, overwrite=overwrite)
        elif os.path.lexists(target):
            raise OutputError(f"{named}: is a file; choose another folder")
        _check_parent(target, named)


def _check_replaceable(target: Path, named: str, *, replaceable: str, overwrite: bool) -> None:
    if not any(target.iterdir()):
        return
    if not (target / replaceable).is_file():
        raise OutputError(
            f"{named}: holds other files (no {replaceable}); choose a new or empty folder"
        )
    if not overwrite:
        raise OutputError(f"{named}: already exists; choose another folder or add --overwrite")


def _check_parent(target: Path, named: str) -> None:
    folder = next(parent for parent in target.parents if os.path.lexists(parent))
    if not folder.is_dir():
        raise OutputError(f"{named}: {folder} is a file, not a folder; choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{named}: {folder} is not writable; choose another place")


def is_written_into(path: Path) -> bool:
    """Return whether ``path`` is a device, a FIFO, a socket, or the name of a descriptor."""
    if _descriptor_of(path) is not None:
        return True
    try:
        kind = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def _descriptor_of(path: Path) -> tuple[int, int] | None:
    """Return process and number of the entry under ``/proc/PID/fd`` that ``path`` leads to."""
    for _ in range(40):  # as many links as Linux follows
        match = _DESCRIPTORS.fullmatch(os.path.realpath(path.parent))
        if match and path.name.isdigit():
            return int(match[1]), int(path.name)
        try:
            path = path.parent / path.readlink()
        except OSError:
            return None
    return None


def _copy_into(source: Path, device: Path) -> None:
    process, number = _descriptor_of(device) or (0, 0)
    if process == os.getpid():
        descriptor = os.dup(number)  # continues where the shell's redirection stands
    else:
        descriptor = os.open(device, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    with source.open("rb") as data, os.fdopen(descriptor, "wb", buffering=0) as file:
        while block := data.read(1 << 16):
            while block:
                block = block[file.write(block) :]


def _put_file(claim: Claim, target: Path, *, overwrite: bool) -> None:
    if not claim.in_place:
        # A library has put a file of its own there, often one that only the owner may read.
        claim.path.chmod(claim.mode)
    if os.name == "nt":
        claim.close()  # an open file cannot be renamed there
    if overwrite:
        claim.path.replace(target)
        return
    try:
        target.hardlink_to(claim.path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        claim.path.rename(target)
    else:
        claim.path.unlink()


def _put_folder(claim: Claim, target: Path, *, overwrite: bool, named: str) -> None:
    """Rename the new folder into place, in exchange for an old one where the system can.

    Raises:
        OutputError: a folder has appeared that may not be replaced.
    """
    if not target.is_dir() or not any(target.iterdir()):
        if os.name == "nt" and target.is_dir():
            target.rmdir()
        claim.path.rename(target)
        return
    if not overwrite:
        raise OutputError(f"{named}: has appeared meanwhile; choose another folder")
    # Held, so that no other run takes it for a leftover while it is being removed.
    replaced = claim_existing(target)
    try:
        if exchange(claim.path, target):
            replaced.remove(claim.path)
            return
        old = sibling(target, OLD)
        target.rename(old)
        try:
            claim.path.rename(target)
        finally:
            if not os.path.lexists(target):
                old.rename(target)
        replaced.remove(old)
    finally:
        replaced.remove(claim.path)
        replaced.close()


def _holds_a_file(folder: Path) -> bool:
    return any(path.is_file() for path in folder.rglob("*"))


@contextmanager
def _as_output_error(named: str, target: Path) -> Iterator[None]:
    # Errors about other files than `target` pass.
    try:
        yield
    except Busy:
        raise OutputError(
            f"{named}: another process is writing it; wait, or choose another place"
        ) from None
    except OSError as error:
        if not _is_about(error, target):
            raise
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in _FULL:
            reason, way_out = "the disk is full", "free some space or choose another place"
        elif error.errno in _TOO_LARGE:
            way_out = "raise the limit on file sizes (ulimit -f) or choose another disk"
        elif isinstance(error, FileExistsError):
            reason, way_out = "it has appeared meanwhile", "choose another name or add --overwrite"
        else:
            way_out = "choose another place"
        raise OutputError(f"{named}: cannot be written ({reason}); {way_out}") from error


def _is_about(error: OSError, target: Path) -> bool:
    if error.errno in (*_FULL, *_TOO_LARGE):
        return True
    names = [
        name for name in (error.filename, error.filename2) if isinstance(name, str | os.PathLike)
    ]
    unfinished = [sibling(target, suffix) for suffix in (PARTIAL, KEPT, OLD)]
    return any(
        Path(name).is_relative_to(place) or place.is_relative_to(Path(name))
        for name in names
        for place in (target, *unfinished)
    )


__all__ = [
    "check_file",
    "check_folder",
    "is_written_into",
    "remove_tree",
    "unfinished_folder",
    "whole_file",
    "whole_folder",
    "write_whole_bytes",
    "write_whole_text",
]
