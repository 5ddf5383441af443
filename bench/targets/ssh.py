"""A board on the network, through the system's ssh with the user's own keys and configuration."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

from arcmobile.bench.targets.base import DEFAULT_TIMEOUT, TargetOptions
from arcmobile.bench.targets.process import Completed, run_process
from arcmobile.bench.targets.remote import RemoteTarget
from arcmobile.bench.targets.runner_dist import RunnerDist, open_dist
from arcmobile.runtime.errors import InputError, TargetError

# One connection for everything, no questions (there may be nobody to answer), and a dead connection
# is noticed within half a minute.
_SETTINGS: Final = (
    *("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=10", "ServerAliveCountMax=3"),
    *("LogLevel=ERROR", "ControlMaster=auto", "ControlPersist=no", "ClearAllForwardings=yes"),
    *("ForwardAgent=no", "ForwardX11=no", "PermitLocalCommand=no", "RequestTTY=no"),
)
_PRESETS: Final = {"aarch64": "linux-arm64", "x86_64": "host"}
_HINTS: Final = {
    "Host key verification failed": "connect once by hand to accept its key: ssh {host}",
    "Permission denied": "give the key with --identity, or copy yours there: ssh-copy-id {host}",
    "Could not resolve hostname": "check --host",
    "Connection refused": "is sshd running there? check --port",
}


class SshTarget(RemoteTarget):
    """Any Linux machine with an ssh server, a POSIX shell, tar and sha256sum."""

    kind = "ssh"
    takes = frozenset(
        {"native", "host", "port", "identity", "ssh_config", "exec_prefix", "device_folder"}
        | {"timeout"}
    )
    # /tmp often lies in memory, which the bundle would take from the runner.
    scratch_parents = ("/var/tmp", "/tmp")

    def __init__(self, options: TargetOptions) -> None:
        super().__init__(options)
        if not options.host or options.host.startswith("-"):
            raise InputError("--target ssh needs --host, e.g. --host pi@raspberrypi.local")
        self.host = options.host
        self._sockets: str | None = None

    @property
    def name(self) -> str:
        """The host as the user wrote it."""
        return self.host

    def open(self) -> None:
        """Connect and make the scratch folder.

        Raises:
            TargetError: ssh is not installed, or the board does not answer.
        """
        if shutil.which("ssh") is None:
            raise TargetError("ssh is not installed: sudo apt-get install openssh-client")
        self._sockets = tempfile.mkdtemp(prefix="arcmobile-ssh-")
        super().open()

    def close(self) -> None:
        """Remove every file and close the connection."""
        super().close()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None

    def _start_words(self, command: str) -> list[str]:
        words = ["ssh"]
        if self.options.ssh_config:
            words += ["-F", str(self.options.ssh_config)]
        if self.options.port is not None:
            words += ["-p", str(self.options.port)]
        if self.options.identity:
            words += ["-i", str(self.options.identity)]
        for setting in (*_SETTINGS, f"ControlPath={self._sockets}/c"):
            words += ["-o", setting]
        return [*words, "--", self.host, command]

    def _execute(self, script: str, timeout: float) -> Completed:
        # As input of a shell, not as its argument: the login shell there may be any.
        text = script.encode("utf-8", "surrogateescape")
        return run_process(
            self._start_words("exec sh"), feed=lambda pipe: _write(pipe, text), timeout=timeout
        )

    def _push(self, files: Mapping[str, Path]) -> Completed:
        def write_archive(pipe: BinaryIO) -> None:
            with tarfile.open(fileobj=pipe, mode="w|", dereference=True) as archive:
                for name, path in files.items():
                    archive.add(path, arcname=name, recursive=False)

        command = f"tar -xf - -C {shlex.quote(self.scratch)}"
        try:
            return run_process(
                self._start_words(command), feed=write_archive, timeout=DEFAULT_TIMEOUT
            )
        except subprocess.TimeoutExpired:
            raise TargetError(f"{self.name}: copying the bundle took too long") from None

    def _dist_for_device(self) -> RunnerDist:
        machine = self.emulates or self.facts.machine
        if machine not in _PRESETS:
            raise TargetError(
                f"{self.name}: is {machine}; there are runners for {', '.join(_PRESETS)} "
                "(a 64-bit system)"
            )
        dist = open_dist(self.options.native, _PRESETS[machine])
        dist.expect(machine, android=False, device=self.name)
        return dist

    def _lost(self, completed: Completed) -> TargetError:
        words = completed.last_words
        for said, hint in _HINTS.items():
            if said in completed.stderr:
                return TargetError(f"{self.name}: {words}; {hint.format(host=self.host)}")
        if completed.code == 255:
            return TargetError(f"{self.name}: the connection is gone: {words}; run it again")
        return super()._lost(completed)


def _write(pipe: BinaryIO, text: bytes) -> None:
    pipe.write(text)
