"""Weight files, read tensor by tensor: ``.safetensors``, and ``.ckpt`` or ``.bin`` of PyTorch.

Files are untrusted. Sizes are checked against the file before anything is allocated, pickles are
scanned for what they would call before PyTorch's weights-only loader sees them, and every tensor
must be a plain one: dense, with a byte behind every value.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Final, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from arcmobile.export.checkpoint.foreign import what_file_is
from arcmobile.export.messages import first_line, shown_name, shown_names
from arcmobile.runtime.errors import CheckpointError

_TYPE_NAMES: Final = {
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64",
    "BOOL": "bool", "C64": "complex64",
}  # fmt: skip

_LARGEST_HEADER: Final = 16 << 20
_LARGEST_PICKLE: Final = 16 << 20
_MOST_ENTRIES: Final = 100_000
# What a pickle of plain weights calls: PyTorch's own list is longer, with sparse, quantized and
# nested tensors, and with bytearray, which allocates whatever size the file says.
_CALLED: Final = frozenset(
    {
        "collections OrderedDict",
        "torch Size",
        "torch device",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor_v2",
        "torch.nn.parameter Parameter",
        "torch.storage TypedStorage",
        "torch.storage UntypedStorage",
    }
)
_LIGHTNING_KEY: Final = "pytorch-lightning_version"
_DOWNLOAD: Final = "download it again"
_BLOCK: Final = 1 << 20


class Digest(Protocol):
    """A hash of :mod:`hashlib`."""

    def update(self, data: bytes, /) -> None:
        """Take in some bytes."""


class SafetensorsSource:
    """Tensors of a safetensors file, memory-mapped and read one at a time.

    Raises:
        CheckpointError: the file is another kind of file, truncated or damaged.
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            _check_header(path)
            self._file = safe_open(path, framework="pt")
            slices = {name: self._file.get_slice(name) for name in self._file.keys()}  # noqa: SIM118 (not a mapping)
            self._shapes = {name: tuple(found.get_shape()) for name, found in slices.items()}
            self._types = {
                name: _TYPE_NAMES.get(found.get_dtype(), found.get_dtype())
                for name, found in slices.items()
            }
        except (SafetensorError, OSError, OverflowError) as error:
            raise CheckpointError(
                f"{path}: truncated or not a safetensors file ({first_line(error)}); {_DOWNLOAD}"
            ) from None

    def names(self) -> Iterable[str]:
        """Return the names of all tensors."""
        return self._shapes

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a tensor, or None if there is none of that name."""
        return self._shapes.get(name)

    def type_name(self, name: str) -> str:
        """Return its type as PyTorch names it, such as ``float16``."""
        return self._types[name]

    def read(self, name: str) -> Tensor:
        """Return a tensor.

        Raises:
            CheckpointError: it cannot be read.
        """
        try:
            return self._file.get_tensor(name)
        except (SafetensorError, OSError, RuntimeError) as error:
            reason = first_line(error)
            raise CheckpointError(
                f"{self._path}: {shown_name(name)} cannot be read ({reason}); {_DOWNLOAD}"
            ) from None

    def scan(self, digest: Digest | None = None) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor in the order of the file, whose bytes go into ``digest`` on the way.

        Each stretch of the file is read once: what was just hashed is in the system's cache when
        its tensor is looked at.

        Raises:
            CheckpointError: a part of the file cannot be read.
        """
        with self._path.open("rb") as file:
            end = 8 + struct.unpack("<Q", file.read(8))[0]
            file.seek(0)
            for name in self._file.offset_keys():
                tensor = self.read(name)
                end += tensor.nbytes
                if digest is not None:
                    _hash_until(file, end, digest)
                yield name, tensor
            if digest is not None:
                _hash_until(file, None, digest)


def _hash_until(file: IO[bytes], end: int | None, digest: Digest) -> None:
    """Hash a file from where it is to ``end``, or all that is left."""
    while wanted := _BLOCK if end is None else min(_BLOCK, end - file.tell()):
        if not (block := file.read(wanted)):
            return
        digest.update(block)


def _check_header(path: Path) -> None:
    """Refuse a header that does not fit the file, before it is parsed.

    Raises:
        CheckpointError: it does not, or the file is of another kind.
    """
    with path.open("rb") as file:
        head = file.read(8)
    if kind := what_file_is(path):
        raise CheckpointError(f"{path}: is {kind}")
    if len(head) == 8 and struct.unpack("<Q", head)[0] > _LARGEST_HEADER:
        raise CheckpointError(
            f"{path}: truncated or not a safetensors file (its header has "
            f"{struct.unpack('<Q', head)[0]} bytes); {_DOWNLOAD}"
        )


class TorchSource:
    """Tensors of a ``.ckpt`` or ``.bin`` file, read with ``weights_only=True``.

    Raises:
        CheckpointError: the file is another kind of file, truncated or damaged, or holds anything
            but weights.
    """

    def __init__(self, path: Path):
        self._path = path
        archive = _is_archive(path)
        with path.open("rb") as file:  # before PyTorch 1.6, a bare pickle that cannot be mapped
            head = file.read(2)
        if head != b"PK" and (kind := what_file_is(path)):
            raise CheckpointError(f"{path}: is {kind}")
        if not archive and head[:1] != pickle.PROTO:
            raise CheckpointError(f"{path}: truncated or not a PyTorch checkpoint; {_DOWNLOAD}")
        _check_pickles(path, archive)
        state = _weights_in(path, _load(path, archive))
        faults = [(name, _fault(tensor)) for name, tensor in state.items()]
        if odd := [f"{name} ({fault})" for name, fault in faults if fault]:
            raise CheckpointError(
                f"{path}: not plain tensors: {shown_names(odd)}; save its dense float weights"
            )
        self._tensors = state

    def names(self) -> Iterable[str]:
        """Return the names of all tensors."""
        return self._tensors

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a tensor, or None if there is none of that name."""
        tensor = self._tensors.get(name)
        return None if tensor is None else tuple(tensor.shape)

    def type_name(self, name: str) -> str:
        """Return its type as PyTorch names it, such as ``float16``."""
        return str(self._tensors[name].dtype).removeprefix("torch.")

    def read(self, name: str) -> Tensor:
        """Return a tensor."""
        return self._tensors[name]

    def scan(self, digest: Digest | None = None) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor; the bytes of the file go into ``digest`` first."""
        if digest is not None:
            with self._path.open("rb") as file:
                _hash_until(file, None, digest)
        yield from self._tensors.items()


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: BaseException) -> CheckpointError:
    return CheckpointError(
        f"{path}: truncated or not a PyTorch checkpoint ({first_line(error)}); {_DOWNLOAD}"
    )


def _load(path: Path, archive: bool) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd pickle protocols, which are refused anyway
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError:
        raise _objects(path, "") from None
    except MemoryError:
        raise CheckpointError(f"{path}: does not fit into memory; {_DOWNLOAD}") from None
    except Exception as error:
        # The loader trusts the order of a pickle's opcodes: damaged ones end in IndexError,
        # KeyError, AssertionError, TypeError, struct.error, BadZipFile and others.
        raise _damaged(path, error) from error


def _weights_in(path: Path, content: object) -> dict[str, Tensor]:
    """Return the state_dict of what a file holds: the file itself, or its entry of that name.

    Raises:
        CheckpointError: there is none, or it holds anything but tensors.
    """
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{path}: holds no state_dict; save the model's state_dict")
    odd = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if odd:
        raise CheckpointError(
            f"{path}: state_dict entries that are not tensors: {shown_names(odd)}; remove them"
        )
    return {str(name): tensor.detach() for name, tensor in state.items()}


def _fault(tensor: Tensor) -> str:
    """Return why a tensor is not a plain one; empty if it is."""
    if tensor.layout is not torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    if tensor.is_quantized or tensor.is_nested or tensor.device.type != "cpu":
        return "quantized" if tensor.is_quantized else tensor.device.type
    # A stride of 0 stands for any number of elements without a byte behind them.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "fewer bytes than values"
    return ""


def _objects(path: Path, names: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: holds objects other than tensors{names}; "
        "only plain weights are read, save its state_dict as model.safetensors"
    )


def _check_pickles(path: Path, archive: bool) -> None:
    """Refuse pickles that call anything but what rebuilds plain tensors, and compressed archives.

    PyTorch stores without compression; an archive that is compressed is not its own, and 3 MB of
    it can become gigabytes.

    Raises:
        CheckpointError: it is one of those, or damaged.
    """
    try:
        if not archive:
            # Mapped, because a read of a file makes room for as many bytes as it is asked for.
            with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
                _scan(path, mapped, pickles=5)  # magic, version, system, content, storage keys
            return
        size = path.stat().st_size
        with zipfile.ZipFile(path) as contents:
            entries = contents.infolist()
            whole = sum(entry.file_size for entry in entries)
            packed = [e.filename for e in entries if e.compress_type != zipfile.ZIP_STORED]
            if packed or whole > size or len(entries) > _MOST_ENTRIES:
                raise CheckpointError(
                    f"{path}: compressed or damaged, as PyTorch writes none; "
                    "unpack it, or save its state_dict as model.safetensors"
                )
            for entry in entries:
                if entry.filename.endswith(".pkl"):
                    if entry.file_size > _LARGEST_PICKLE:
                        refusal = _objects(path, f" ({entry.file_size} bytes of them)")
                        raise refusal
                    with contents.open(entry) as pickled:
                        _scan(path, pickled, pickles=1)
    except (
        zipfile.BadZipFile,
        struct.error,
        NotImplementedError,
        RuntimeError,
        LookupError,
        ValueError,
        OSError,
        EOFError,
    ) as error:
        damage = _damaged(path, error)
        raise damage from None


def _scan(path: Path, file: IO[bytes] | mmap, pickles: int) -> None:
    """Refuse pickles in a row that call anything but what rebuilds plain weights.

    Raises:
        CheckpointError: they do; the message names the calls.
    """
    unknown: dict[str, None] = {}
    trained = False
    for _ in range(pickles):
        for opcode, argument, _ in pickletools.genops(file):  # type: ignore[arg-type]
            if opcode.name in ("GLOBAL", "INST") and not _is_plain(str(argument)):
                unknown[str(argument).replace(" ", ".")] = None
            elif opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
                unknown[f"named by {opcode.name}"] = None
            trained |= argument == _LIGHTNING_KEY
    if unknown:
        where = " of a Lightning training" if trained else ""
        refusal = _objects(path, f"{where} ({shown_names(list(unknown))})")
        raise refusal


def _is_plain(call: str) -> bool:
    module, _, name = call.partition(" ")
    if module == "torch" and (
        name.endswith("Storage") or isinstance(getattr(torch, name, None), torch.dtype)
    ):
        return True
    return call in _CALLED
