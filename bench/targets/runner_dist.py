"""The native runner's folder: `arcmobile-run` and its libraries, built here to run elsewhere."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arcmobile.runtime.errors import TargetError
from arcmobile.runtime.installation import build_command

RUNNER_NAME: Final = "arcmobile-run"
_BUILD: Final = Path(__file__).resolve().parents[2] / "build" / "native"
_BUILD_TARGETS: Final = {
    "host": "native",
    "linux-arm64": "native-arm64",
    "android-arm64": "native-android",
}
_MACHINES: Final = {3: "x86", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
_ANDROID_LOADER: Final = "/system/bin/linker64"
_PT_INTERP: Final = 3
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class RunnerDist:
    """A built runner. ``machine`` as `uname -m` names it; ``android`` by its program loader."""

    folder: Path
    machine: str
    android: bool

    @property
    def program(self) -> Path:
        """The executable."""
        return self.folder / RUNNER_NAME

    @property
    def abi(self) -> str:
        """For messages: ``Linux aarch64``."""
        return f"{'Android' if self.android else 'Linux'} {self.machine}"

    def files(self) -> dict[str, Path]:
        """Return every file by its name within the folder.

        Raises:
            TargetError: a name is not one of a runner's files.
        """
        found = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if not all(_PLAIN_NAME.fullmatch(part) for part in name.split("/")):
                raise TargetError(f"{path}: not a file of a runner; give another folder (--native)")
            if path.is_file():
                found[name] = path
        return found

    def expect(self, machine: str, *, android: bool, device: str) -> None:
        """Check that the device can run this build.

        Raises:
            TargetError: it cannot.
        """
        if (self.machine, self.android) != (machine, android):
            wanted = f"{'Android' if android else 'Linux'} {machine}"
            raise TargetError(
                f"{self.program}: is for {self.abi}, {device} needs {wanted}; "
                "give the folder of the right build (--native)"
            )


def open_dist(folder: Path | None, preset: str) -> RunnerDist:
    """Open the runner in ``folder``; ``None``: where the CMake preset puts it.

    Raises:
        TargetError: there is none; the message names the file and the command that builds it.
    """
    program = (folder or _BUILD / preset / "dist") / RUNNER_NAME
    if not program.is_file():
        build = f"build it: {build_command(_BUILD_TARGETS[preset])}"
        raise TargetError(f"{program}: no such file; {'check --native' if folder else build}")
    machine, loader = _read_elf(program)
    return RunnerDist(program.parent, machine, android=loader == _ANDROID_LOADER)


def is_built(preset: str) -> bool:
    """Tell whether the runner of a CMake preset has been built."""
    return (_BUILD / preset / "dist" / RUNNER_NAME).is_file()


def _read_elf(path: Path) -> tuple[str, str]:
    """Machine and program loader of an ELF file (System V ABI, chapters 4 and 5)."""
    broken = TargetError(f"{path}: is not a program for Linux or Android; build it again")
    try:
        with path.open("rb") as file:
            header = file.read(64)
            if header[:4] != b"\x7fELF" or len(header) < 64:
                raise broken
            (machine,) = struct.unpack_from("<H", header, 18)
            name = _MACHINES.get(machine, f"ELF machine {machine}")
            if header[4] != 2:  # 32 bit; its tables are laid out in another way
                return name, ""
            table, size, count = struct.unpack_from("<32xQ14xHH", header)
            for index in range(count):
                file.seek(table + index * size)
                kind, offset, length = struct.unpack("<I4xQ16xQ", file.read(40))
                if kind == _PT_INTERP:
                    file.seek(offset)
                    return name, file.read(min(length, 4096)).rstrip(b"\0").decode(errors="replace")
    except (OSError, struct.error) as error:
        raise broken from error
    return name, ""
