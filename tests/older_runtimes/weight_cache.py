"""Switches XNNPACK's weight cache in this process, as Android builds of ExecuTorch have it.

The Python package has no call for it. Its XNNPACK backend is one C++ object with a virtual method
for options, so that object is looked for in the library's data, by the address of its class, and
the method called. The layouts below are those of 1.3 to 1.5 (runtime/backend/options.h).
"""

from __future__ import annotations

import ctypes
import re
import struct
from pathlib import Path
from typing import Final

_LIBRARY: Final = re.compile(r"/(_portable_lib\.\S+|libexecutorch_backend_xnnpack)\.so$")
_CLASS: Final = "_ZTVN10executorch8backends14XnnpackBackendE"
_SET_OPTION: Final = (
    "_ZN10executorch8backends14XnnpackBackend10set_option"
    "ERNS_7runtime20BackendOptionContextERKNS2_4SpanINS2_13BackendOptionEEE"
)
_PT_LOAD: Final = 1
_PF_W: Final = 2
_FIRST_METHOD: Final = 16  # bytes from the start of a class's table to where its objects point


class _Option(ctypes.Structure):
    _fields_ = (
        ("key", ctypes.c_char * 64),
        ("value", ctypes.c_char * 256),  # std::variant<bool, int, std::array<char, 256>>
        ("type", ctypes.c_uint8),  # 0: the bool
        ("padding", ctypes.c_uint8 * 3),
    )


class _Options(ctypes.Structure):
    _fields_ = (("first", ctypes.POINTER(_Option)), ("count", ctypes.c_size_t))


def switch_weight_cache(on: bool) -> None:
    """Set ``weight_cache_enabled`` for every program that is loaded from now on.

    Raises:
        LookupError: the backend is not where it is in the releases that are known.
    """
    import executorch.extension.pybindings.portable_lib  # noqa: F401  (loads the library)

    path, library = _library()
    backend = _object(path, ctypes.addressof(ctypes.c_char.in_dll(library, _CLASS)))
    option = _Option(b"weight_cache_enabled", bytes([on]), 0)
    options, context = _Options(ctypes.pointer(option), 1), ctypes.c_uint8()
    set_option = getattr(library, _SET_OPTION)
    set_option.argtypes = [ctypes.c_void_p] * 3
    error = set_option(backend, ctypes.addressof(context), ctypes.addressof(options))
    if error:
        raise LookupError(f"{path}: refuses weight_cache_enabled with error {error}")


def _library() -> tuple[str, ctypes.CDLL]:
    """The library with the backend in it, among those that this process has loaded."""
    for path in sorted({path for _, path in _mappings() if _LIBRARY.search(path)}):
        library = ctypes.CDLL(path)
        if hasattr(library, _CLASS):
            return path, library
    raise LookupError("no library of this process has ExecuTorch's XNNPACK backend")


def _mappings() -> list[tuple[int, str]]:
    """Where each piece of a file begins in memory, in order, and the file's path."""
    pieces = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, *_, path = line.split(maxsplit=5)
        if path.startswith("/"):
            pieces.append((int(addresses.partition("-")[0], 16), path))
    return pieces


def _object(library: str, table: int) -> int:
    """Address of the only object of a class, in the library's data."""
    start = next(address for address, path in _mappings() if path == library)
    wanted = (table + _FIRST_METHOD).to_bytes(8, "little")
    found = []
    for offset, size in _data_segments(Path(library)):
        data = ctypes.string_at(start + offset, size)
        found += [start + offset + at for at in range(0, size, 8) if data[at : at + 8] == wanted]
    if len(found) != 1:
        raise LookupError(f"{library}: {len(found)} XNNPACK backends, not one")
    return found[0]


def _data_segments(library: Path) -> list[tuple[int, int]]:
    """Where writable segments of an ELF file lie from its start in memory, and their sizes."""
    segments = []
    with library.open("rb") as file:
        (table,) = struct.unpack_from("<Q", file.read(64), 32)
        file.seek(54)
        size, count = struct.unpack("<HH", file.read(4))
        for index in range(count):
            file.seek(table + index * size)
            kind, flags, _, address, _, _, memory = struct.unpack("<IIQQQQQ", file.read(48))
            if kind == _PT_LOAD and flags & _PF_W:
                first = -(-address // 8) * 8
                segments.append((first, address + memory - first))
    return segments
