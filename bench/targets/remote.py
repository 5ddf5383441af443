"""Targets that are another machine: files are copied there, and all are removed again.

A guard process on the device holds the scratch folder for as long as the connection lives; see
:func:`~arcmobile.bench.targets.scripts.guard_command`. So the device is clean again after an
error, a Ctrl-C, a lost connection or a pulled cable alike.
"""

from __future__ import annotations

import hashlib
import os
import re
import selectors
import shlex
import subprocess
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arcmobile.bench.targets.base import TargetOptions, check_native_backend
from arcmobile.bench.targets.process import Completed, TooMuchOutput, kill_session, said_until_end
from arcmobile.bench.targets.runner_dist import RUNNER_NAME, RunnerDist
from arcmobile.bench.targets.scripts import (
    REMOVED_REPLY,
    SCRATCH_REPLY,
    cleanup_script,
    guard_command,
    quoted,
)
from arcmobile.bench.targets.shell import HELPER_SECONDS, ShellTarget
from arcmobile.runtime.bundle import MANIFEST_NAME, Bundle
from arcmobile.runtime.errors import InputError, TargetError

_REACH_SECONDS: Final = 30.0
_CLEANUP_SECONDS: Final = 30.0
_LONGEST_REPLY: Final = 1 << 16  # bytes of a shell that is greeted
_SPARE_BYTES: Final = 16_000_000  # for the sound and the file system's own use
_FULL: Final = "No space left"
_FREE_BLOCKS: Final = re.compile(r"\s\d+\s+\d+\s+([0-9]{1,18})\s+\d+%")
_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9._+/-]*")
_RUNNER_FOLDER, _BUNDLE_FOLDER = "runner", "bundle"


@dataclass(frozen=True)
class LocalFile:
    """A file for the device, and its sha256."""

    path: Path
    sha256: str


class RemoteTarget(ShellTarget):
    """A device behind a program such as ssh or adb."""

    scratch_parents: tuple[str, ...]  # where the scratch folder may go, best first

    def __init__(self, options: TargetOptions) -> None:
        super().__init__(options)
        if options.device_folder is not None:
            if not _PLAIN_PATH.fullmatch(options.device_folder):
                raise InputError(
                    f"--device-folder {options.device_folder}: give a path from the root without "
                    "blanks, e.g. /var/tmp"
                )
            self.scratch_parents = (options.device_folder,)
        self._guard: subprocess.Popen[bytes] | None = None
        self._scratch = ""

    @abstractmethod
    def _start_words(self, command: str) -> list[str]:
        """Return the local command that runs a command line on the device, joined to its input."""

    @abstractmethod
    def _push(self, files: Mapping[str, Path]) -> Completed:
        """Copy files into the scratch folder, by their names there; the folders exist."""

    @abstractmethod
    def _dist_for_device(self) -> RunnerDist:
        """Return the runner that fits the device; :class:`TargetError` if none does."""

    @property
    def scratch(self) -> str:
        """The folder that the guard made."""
        return self._scratch

    def open(self) -> None:
        """Start the guard, which makes the scratch folder.

        Raises:
            TargetError: the device does not answer.
        """
        command = guard_command(self.scratch_parents)
        self._guard = subprocess.Popen(
            self._start_words(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._scratch = self._await_scratch(self._guard)

    def _await_scratch(self, guard: subprocess.Popen[bytes]) -> str:
        assert guard.stdout is not None
        assert guard.stderr is not None
        reply = re.compile(rf"^{SCRATCH_REPLY}(/\S+)$", re.MULTILINE)
        heard = b""
        deadline = time.monotonic() + _REACH_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(guard.stdout, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                if not selector.select(left):
                    break
                piece = os.read(guard.stdout.fileno(), 4096)
                heard += piece
                if found := reply.search(heard.decode(errors="replace").replace("\r", "")):
                    return found[1]
                if len(heard) > _LONGEST_REPLY:
                    raise TooMuchOutput(self.name)
                if not piece:
                    code = guard.wait(_REACH_SECONDS)
                    complaint = guard.stderr.read(_LONGEST_REPLY).decode(errors="replace")
                    raise self._lost(Completed(code, heard.decode(errors="replace"), complaint))
        raise TargetError(f"{self.name}: no answer within {_REACH_SECONDS:g} s; is it awake?")

    def close(self) -> None:
        """End the guard, which removes the scratch folder."""
        guard, self._guard = self._guard, None
        if guard is None:
            return
        try:
            said, _ = said_until_end(guard, _CLEANUP_SECONDS)  # closes its input
            removed = REMOVED_REPLY in said.decode(errors="replace").split()
        except (subprocess.TimeoutExpired, TooMuchOutput):
            removed = False
        finally:
            kill_session(guard)
        if self._scratch and not removed:
            self._remove_otherwise()
        self._scratch = ""

    def _remove_otherwise(self) -> None:
        try:
            removed = self.shell(cleanup_script(self._scratch), timeout=_CLEANUP_SECONDS).code == 0
        except TargetError:
            removed = False
        if not removed:
            self.options.warn(
                f"{self.name} went away; it removes {self._scratch} itself when it sees that"
            )

    def shell(
        self, script: str, *, timeout: float = HELPER_SECONDS, doing: str = "a command"
    ) -> Completed:
        """Run a script on the device.

        Raises:
            TargetError: the connection is gone.
        """
        if self._guard is not None and self._guard.poll() is not None:
            raise TargetError(f"{self.name}: the connection is gone; run it again")
        return super().shell(script, timeout=timeout, doing=doing)

    def prepare(self, bundle: Bundle) -> None:
        """Copy runner and bundle to the device and compare their sha256 there.

        Raises:
            TargetError: no runner fits the device, or space is short.
            InputError: the native runner does not run the bundle.
        """
        check_native_backend(bundle)
        dist = self._dist_for_device()
        files = {
            f"{_RUNNER_FOLDER}/{name}": LocalFile(path, _sha256(path))
            for name, path in dist.files().items()
        }
        manifest = bundle.folder / MANIFEST_NAME
        files[f"{_BUNDLE_FOLDER}/{MANIFEST_NAME}"] = LocalFile(manifest, _sha256(manifest))
        for record in bundle.manifest.files():
            file = LocalFile(bundle.file(record), record.sha256)
            files[f"{_BUNDLE_FOLDER}/{record.file}"] = file
        self._check_space(sum(file.path.stat().st_size for file in files.values()))
        self._bring(files)

    def _bring(self, files: Mapping[str, LocalFile]) -> None:
        """Copy what is not there yet, then check that every file arrived whole.

        Raises:
            TargetError: there is no space, or a file did not arrive whole.
        """
        folders = {name.rpartition("/")[0] for name in files}
        missing = self._differing(files, first=f"mkdir -p {quoted(sorted(folders))}")
        if not missing:
            return
        completed = self._push({name: files[name].path for name in missing})
        if _FULL in completed.stderr + completed.stdout:
            raise TargetError(
                f"{self.name}: no space left in {self._scratch}; free some space, or choose "
                "another place with --device-folder"
            )
        if completed.code:
            raise self._lost(completed)
        executable = f"chmod 755 {_RUNNER_FOLDER}/{RUNNER_NAME}"
        if broken := self._differing({name: files[name] for name in missing}, first=executable):
            path = files[broken[0]].path
            raise TargetError(
                f"{path}: arrived on {self.name} with another sha256; run it again, and check the "
                "file (arcmobile inspect --verify) if that repeats"
            )

    def _differing(self, files: Mapping[str, LocalFile], *, first: str) -> list[str]:
        """Return the names of files that are not on the device, or not with their sha256.

        Raises:
            TargetError: the device cannot look.
        """
        folder = shlex.quote(self._scratch)
        looked = self.shell(
            f"command -v sha256sum >/dev/null || {{ echo sha256sum is missing >&2; exit 2; }}; "
            f"cd {folder} && {first} || exit 2; sha256sum {quoted([*files])} 2>/dev/null"
        )
        if looked.code == 2:
            raise TargetError(f"{self.name}: {self._scratch}: {looked.last_words}")
        lines = (line.split(None, 1) for line in looked.stdout.splitlines())
        there = {words[1].lstrip("*"): words[0] for words in lines if len(words) == 2}
        return [name for name, file in files.items() if there.get(name) != file.sha256]

    def _check_space(self, needed: int) -> None:
        answer = self.shell(f"df -P -k {shlex.quote(self._scratch)}").stdout
        found = _FREE_BLOCKS.search(answer)
        free = int(found[1]) * 1024 if found else None
        if free is not None and free < needed + _SPARE_BYTES:
            raise TargetError(
                f"{self.name}: {free / 1e6:.0f} MB free in {self._scratch.rpartition('/')[0]}, "
                f"{(needed + _SPARE_BYTES) / 1e6:.0f} MB needed; free some space, or choose "
                "another place with --device-folder"
            )

    def _bundle_folder(self) -> str:
        return f"{self._scratch}/{_BUNDLE_FOLDER}"

    def _program(self) -> str:
        return f"{self._scratch}/{_RUNNER_FOLDER}/{RUNNER_NAME}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
