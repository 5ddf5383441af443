"""A phone on the desk, through Android's adb."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arcmobile.bench.device_facts import ANDROID_FACTS_SCRIPT
from arcmobile.bench.device_state import ANDROID_STATE_SCRIPT
from arcmobile.bench.targets.base import DEFAULT_TIMEOUT, TargetOptions
from arcmobile.bench.targets.process import Completed, run_process
from arcmobile.bench.targets.remote import RemoteTarget
from arcmobile.bench.targets.runner_dist import RunnerDist, open_dist
from arcmobile.runtime.errors import TargetError

_ADB_SECONDS: Final = 30.0  # the first call starts adb's server
_READY: Final = "device"
# What the user does about a state; the words are those of adb's connection_state_name().
_WAYS_OUT: Final = {
    "unauthorized": "unlock it and allow USB debugging",
    "authorizing": "unlock it and allow USB debugging",
    "connecting": "wait a moment and run it again",
    "offline": "pull the cable and plug it in again",
    "detached": "attach it again: adb attach",
    "no permissions": "install udev rules: sudo apt-get install android-sdk-platform-tools-common",
}
_START_ANDROID: Final = "start Android on it"
_OTHER_STATES: Final = ("bootloader", "host", "recovery", "rescue", "sideload", "unknown")
_STATE: Final = "|".join((_READY, *_WAYS_OUT, *_OTHER_STATES))
# Serials may hold spaces (a phone found by mDNS, "(no serial number)"), so a line is read from its
# end: fields such as model:Pixel_8, then a known state. A reason may follow "no permissions".
_FIELDS: Final = r"(?P<fields>(?:\s+(?:\w+:\S*|\d[\w.-]*))*)\s*"
_LINES: Final = (
    re.compile(rf"(?P<serial>\S.*?)\s+(?P<state>{_STATE}){_FIELDS}"),
    re.compile(rf"(?P<serial>\S.*?)\s+(?P<state>no permissions)\b.*?{_FIELDS}"),
    re.compile(rf"(?P<serial>\S.*?)\s+(?P<state>{_STATE})\s(?P<fields>.*)"),
    re.compile(r"(?P<serial>\S+)\s+(?P<state>\S+)(?P<fields>.*)"),
)
_LONGEST_LINE: Final = 1000
_MOST_NAMED: Final = 8
_SERVER_STARTED: Final = "daemon started"
_ABI: Final = "arm64-v8a"
_GONE: Final = re.compile(r"device (?:'[^']*' )?(?:not found|offline)|no devices|closed")


@dataclass(frozen=True)
class Attached:
    """A line of `adb devices -l`."""

    serial: str
    state: str
    model: str


class AdbTarget(RemoteTarget):
    """A 64-bit Android device; needs USB debugging, not root."""

    kind = "adb"
    takes = frozenset({"native", "serial", "exec_prefix", "device_folder", "timeout"})
    is_phone = True
    facts_script = ANDROID_FACTS_SCRIPT
    state_script = ANDROID_STATE_SCRIPT
    # The one place where the shell user may write and start programs.
    scratch_parents = ("/data/local/tmp",)

    def __init__(self, options: TargetOptions) -> None:
        super().__init__(options)
        self._serial = ""
        self._started_server = False

    @property
    def name(self) -> str:
        """The phone, by its serial number."""
        return f"device {self._serial}" if self._serial else "adb"

    def open(self) -> None:
        """Choose the phone and make the scratch folder on it.

        Raises:
            TargetError: adb is not installed, or the choice is not clear.
        """
        if shutil.which("adb") is None:
            raise TargetError("adb is not installed: sudo apt-get install adb")
        wanted = self.options.serial or os.environ.get("ANDROID_SERIAL")
        listed = _list_devices()
        self._started_server = _SERVER_STARTED in listed.stderr + listed.stdout
        self._serial = choose_device(parse_devices(listed.stdout), wanted).serial
        super().open()

    def close(self) -> None:
        """Remove every file, and end adb's server if it was started here."""
        super().close()
        if self._started_server:  # it would run on for ever
            run_process(["adb", "kill-server"], timeout=_ADB_SECONDS)
            self._started_server = False

    def _start_words(self, command: str) -> list[str]:
        return ["adb", "-s", self._serial, "shell", command]

    def _execute(self, script: str, timeout: float) -> Completed:
        return run_process(self._start_words(script), timeout=timeout)

    def _push(self, files: Mapping[str, Path]) -> Completed:
        by_folder: dict[str, list[str]] = {}
        for name, path in files.items():
            by_folder.setdefault(name.rpartition("/")[0], []).append(str(path))
        completed = Completed(0, "", "")
        for folder, paths in by_folder.items():
            words = ["adb", "-s", self._serial, "push", *paths, f"{self.scratch}/{folder}/"]
            try:
                completed = run_process(words, timeout=DEFAULT_TIMEOUT)
            except subprocess.TimeoutExpired:
                raise TargetError(f"{self.name}: copying the bundle took too long") from None
            if completed.code:
                break
        return completed

    def _dist_for_device(self) -> RunnerDist:
        if (abi := self.facts.android_abi) != _ABI and self.emulates is None:
            raise TargetError(f"{self.name}: is {abi or 'of unknown ABI'}; the runner needs {_ABI}")
        dist = open_dist(self.options.native, "android-arm64")
        dist.expect("aarch64", android=True, device=self.name)
        return dist

    def _lost(self, completed: Completed) -> TargetError:
        if _GONE.search(completed.stderr):
            return TargetError(
                f"{self.name}: went away ({completed.last_words}); plug it in and run it again"
            )
        return super()._lost(completed)


def choose_device(attached: list[Attached], serial: str | None) -> Attached:
    """Return the device to use.

    Raises:
        TargetError: it is not ready, or the choice is not clear.
    """
    if serial is not None:
        attached = [one for one in attached if one.serial == serial]
        if not attached:
            raise TargetError(f"--serial {serial}: no such device; see: adb devices -l")
        if len(attached) > 1:
            raise TargetError(
                f"--serial {serial}: {len(attached)} devices have it; unplug all but one"
            )
    if not attached:
        raise TargetError("no device; plug one in with USB debugging on, see: adb devices -l")
    if len(attached) > 1:
        names = [f"{one.serial} ({one.model or one.state})" for one in attached[:_MOST_NAMED]]
        if more := len(attached) - len(names):
            names.append(f"{more} more")
        raise TargetError(f"several devices: {', '.join(names)}; choose one with --serial")
    (chosen,) = attached
    if chosen.state != _READY:
        way_out = _WAYS_OUT.get(chosen.state, _START_ANDROID)
        raise TargetError(f"device {chosen.serial}: is {chosen.state}; {way_out}")
    return chosen


def _list_devices() -> Completed:
    try:
        completed = run_process(["adb", "devices", "-l"], timeout=_ADB_SECONDS)
    except subprocess.TimeoutExpired:
        raise TargetError("adb does not answer; try: adb kill-server") from None
    if completed.code:
        raise TargetError(f"adb devices: {completed.last_words}")
    return completed


def parse_devices(text: str) -> list[Attached]:
    """Parse the devices that `adb devices -l` lists; skip what adb says of its server."""
    devices = []
    for raw in text.split("\n"):
        # What cannot be printed does not belong in an error message.
        line = "".join(c if c.isprintable() else " " for c in raw[:_LONGEST_LINE]).strip()
        if line.startswith(("List of devices", "*", "adb server")):
            continue
        for pattern in _LINES:
            if match := pattern.fullmatch(line):
                model = re.search(r"\bmodel:(\S+)", match["fields"])
                devices.append(Attached(match["serial"], match["state"], model[1] if model else ""))
                break
    return devices
