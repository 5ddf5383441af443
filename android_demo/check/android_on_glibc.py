"""Makes libraries for Android on x86-64 load on Linux: ``android_on_glibc.py OUT LIBRARY...``.

The build of ExecuTorch that an APK carries is not the one that Python has. Its x86-64 build runs on
a computer if it finds Android's C library: this takes the versions off the symbols that it wants,
gives a name of ours to the functions that differ, and compiles ``bionic.c`` as the rest. The
libraries come out in ``OUT``, ready for ``LD_LIBRARY_PATH`` and ``java.library.path``.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

_SHIM: Final = Path(__file__).with_name("bionic.c")
_SYSTEM_LIBRARIES: Final = ("libc.so", "libm.so", "libdl.so", "liblog.so", "libandroid.so")
# Of equal length, for they are written over each other.
_RENAMED: Final = {
    b"sysconf": b"bysconf",
    b"sigfillset": b"bigfillset",
    b"fprintf": b"bprintf",
    b"vfprintf": b"bvprintf",
    b"fflush": b"bflush",
    b"fwrite": b"bwrite",
    b"fputs": b"bputs",
    b"fputc": b"bputc",
}
_ELF_X86_64: Final = b"\x7fELF\x02\x01"
_LOAD, _DYNAMIC = 1, 2  # types of segments
_STRINGS, _STRINGS_SIZE = 5, 10  # tags of the dynamic section
_VERSIONS: Final = (0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF)
_DEBUG: Final = 21  # a tag that the loader passes over


def for_glibc(library: bytes) -> bytes:
    """The library without versions, and with the names of ``bionic.c``.

    Raises:
        ValueError: If it is not a 64-bit ELF library.
    """
    if not library.startswith(_ELF_X86_64):
        raise ValueError("not a 64-bit little-endian ELF library")
    image = bytearray(library)
    segments = list(_segments(library))
    tags: dict[int, int] = {}
    start, size = next((at, size) for kind, at, _, size in segments if kind == _DYNAMIC)
    for position in range(start, start + size, 16):
        tag, value = struct.unpack_from("<QQ", library, position)
        if tag == 0:
            break
        tags.setdefault(tag, value)
        if tag in _VERSIONS:
            struct.pack_into("<Q", image, position, _DEBUG)
    names = next(
        at + tags[_STRINGS] - address
        for kind, at, address, size in segments
        if kind == _LOAD and address <= tags[_STRINGS] < address + size
    )
    table = bytes(image[names : names + tags[_STRINGS_SIZE]])
    for theirs, ours in _RENAMED.items():
        table = table.replace(b"\0%b\0" % theirs, b"\0%b\0" % ours)
    image[names : names + len(table)] = table
    return bytes(image)


def _segments(library: bytes) -> list[tuple[int, int, int, int]]:
    """Type, offset, address and size in the file of each segment."""
    (table,) = struct.unpack_from("<Q", library, 32)
    (count,) = struct.unpack_from("<H", library, 56)
    segments = []
    for index in range(count):
        kind, _, offset, address, _, size = struct.unpack_from(
            "<IIQQQQ", library, table + 56 * index
        )
        segments.append((kind, offset, address, size))
    return segments


def main(arguments: list[str]) -> int:
    """Exit code 2, and one line, for a wrong call or a library that cannot be used."""
    if len(arguments) < 2:
        print("usage: android_on_glibc.py OUT LIBRARY...", file=sys.stderr)
        return 2
    out, *libraries = map(Path, arguments)
    out.mkdir(parents=True, exist_ok=True)
    for library in libraries:
        try:
            (out / library.name).write_bytes(for_glibc(library.read_bytes()))
        except (OSError, ValueError) as error:
            print(f"error: {library}: {error}; give a library for x86_64", file=sys.stderr)
            return 2
    for name in _SYSTEM_LIBRARIES:
        # Each brings all of it, so that the order in which they are loaded does not matter.
        command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", f"-Wl,-soname,{name}"]
        linked = ["-Wl,--no-as-needed", "-lm", "-ldl"]
        subprocess.run([*command, "-o", out / name, _SHIM, *linked], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
