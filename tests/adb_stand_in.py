"""Stands in for `adb` in tests: a folder is the phone, and only the commands we mean to send work.

`install` makes the phone and puts this file first on the PATH, as `adb`. Run as a program, it
takes exactly these command lines, notes them, and answers as adb does:

    adb devices -l
    adb -s SERIAL shell SCRIPT
    adb -s SERIAL push FILE... FOLDER/
    adb kill-server                  (only if there was no server before)

Scripts run in this machine's shell with the phone's paths mapped into the folder and the phone's
own programs (getprop, dumpsys, df, uname) first on its PATH. A phone that is unplugged breaks off
whatever is under way; what runs on it sees its input end, as under adbd.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

SERIAL = "R3CX20ABCDE"
SCRATCH = "data/local/tmp"
_MAPPED = re.compile(r"(?<![\w/])/(data/local/tmp|sys/|proc/cpuinfo|proc/meminfo|proc/device-tree)")
CPUINFO = """processor : 0
Features  : fp asimd asimddp i8mm
CPU implementer : 0x41
CPU part  : 0xd80

processor : 1
Features  : fp asimd asimddp i8mm sve
CPU implementer : 0x41
CPU part  : 0xd82
"""
_PROPERTIES = {
    "ro.product.manufacturer": "Stand",
    "ro.product.model": "In 24",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.soc.model": "SM8650",
    "ro.build.version.release": "15",
}
# Each look at the thermal service takes a line (status, degrees), the last one stays.
_PROGRAMS = {
    "getprop": 'cat "{phone}/props/$1" 2>/dev/null',
    "uname": "echo Linux 6.1.75-android14 aarch64",
    "df": 'echo "Filesystem 1024-blocks Used Available Capacity Mounted on"; '
    'echo "/dev/block/dm-50 9999999 1 $(cat {phone}/free) 1% /data"',
    "dumpsys": "read s t <{phone}/thermal; [ $(wc -l <{phone}/thermal) -gt 1 ] && "
    'sed -i 1d {phone}/thermal; echo "Thermal Status: $s"; echo "Current temperatures from HAL:"; '
    'echo "	Temperature{{mValue=$t, mType=0, mName=CPU0, mStatus=$s}}"; '
    'echo "	Temperature{{mValue=99.0, mType=2, mName=battery, mStatus=0}}"',
}


@dataclass(frozen=True)
class Phone:
    """The stand-in's folder, as a test sees it."""

    folder: Path

    @property
    def scratch(self) -> list[Path]:
        """What lies where the shell user may write."""
        return sorted((self.folder / "root" / SCRATCH).iterdir())

    @property
    def commands(self) -> list[list[str]]:
        """Every command line so far."""
        log = self.folder / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def set(self, name: str, text: str) -> None:
        """Changes the phone: ``devices``, ``thermal``, ``free``, ``props/NAME``, ``sys/...``.

        ``unplug_on``: it is unplugged 0.3 s into a script that holds this text. ``push_fault``:
        what a push complains of.
        """
        path = self.folder / ("root" if name.startswith("sys/") else "") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def install(folder: Path) -> tuple[Phone, Path]:
    """A healthy phone in ``folder``, and the folder to put first on the PATH."""
    phone = Phone(folder)
    (folder / "root" / SCRATCH).mkdir(parents=True)
    (folder / "root/proc").mkdir()
    (folder / "root/proc/cpuinfo").write_text(CPUINFO)
    (folder / "root/proc/meminfo").write_text("MemTotal:       12000000 kB\n")
    phone.set("devices", f"{SERIAL}\tdevice usb:1-1 product:s model:In_24 transport_id:1\n")
    phone.set("thermal", "0 31.5\n")
    phone.set("free", "50000000")
    for name, text in _PROPERTIES.items():
        phone.set(f"props/{name}", text)
    for name, script in _PROGRAMS.items():
        _write_program(folder / "bin" / name, "#!/bin/sh\n" + script.format(phone=folder) + "\n")
    program = f'#!/bin/sh\nexec {sys.executable} {__file__} {folder} "$@"\n'
    _write_program(folder / "path" / "adb", program)
    return phone, folder / "path"


def _write_program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def main(phone: Path, words: list[str]) -> int:
    with (phone / "log").open("a") as log:
        log.write(json.dumps(words) + "\n")
    if words == ["devices", "-l"]:
        if (phone / "no_server").exists():
            print("* daemon started successfully", file=sys.stderr)
        print("List of devices attached\n" + (phone / "devices").read_text())
        return 0
    if words == ["kill-server"] and (phone / "no_server").exists():
        return 0
    if words[:1] != ["-s"] or len(words) < 4:
        return _fail(f"stand-in: not a command we send: {words}")
    serial, command, rest = words[1], words[2], words[3:]
    if f"{serial}\tdevice" not in (phone / "devices").read_text() or _unplugged(phone).exists():
        return _fail(f"adb: device '{serial}' not found")
    if command == "shell" and len(rest) == 1:
        return _shell(phone, rest[0])
    if command == "push" and len(rest) >= 2 and rest[-1].endswith("/"):
        return _push(phone, rest[:-1], rest[-1])
    return _fail(f"stand-in: not a command we send: {words}")


def _push(phone: Path, files: list[str], folder: str) -> int:
    fault = phone / "push_fault"
    for file in files:
        if fault.exists():
            return _fail(f"adb: error: failed to copy '{file}' to '{folder}': {fault.read_text()}")
        shutil.copy(file, _local(phone, folder))
    print(f"{len(files)} files pushed")
    return 0


def _shell(phone: Path, script: str) -> int:
    environment = os.environ | {"PATH": f"{phone / 'bin'}:{os.environ['PATH']}"}
    child = subprocess.Popen(
        ["sh", "-c", _MAPPED.sub(rf"{phone}/root/\1", script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    threading.Thread(target=_pass_input, args=(child,), daemon=True).start()
    unplug_on = phone / "unplug_on"
    if unplug_on.exists() and unplug_on.read_text() in script:
        threading.Timer(0.3, _unplugged(phone).touch).start()
    threading.Thread(target=_watch_cable, args=(phone, child), daemon=True).start()
    assert child.stdout is not None
    for line in child.stdout:
        sys.stdout.buffer.write(line.replace(f"{phone}/root".encode(), b""))
        sys.stdout.buffer.flush()
    return child.wait()


def _pass_input(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    while piece := os.read(0, 4096):
        child.stdin.write(piece)
        child.stdin.flush()
    child.stdin.close()


def _watch_cable(phone: Path, child: subprocess.Popen[bytes]) -> None:
    while child.poll() is None:
        if _unplugged(phone).exists():
            os.kill(child.pid, signal.SIGHUP)  # as adbd does when its connection is gone
            os._exit(_fail("error: device offline"))
        time.sleep(0.02)


def _unplugged(phone: Path) -> Path:
    return phone / "unplugged"


def _local(phone: Path, path: str) -> Path:
    return phone / "root" / path.lstrip("/")


def _fail(line: str) -> int:
    print(line, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
