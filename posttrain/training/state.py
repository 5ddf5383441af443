"""The state of a training in one safetensors file: tensors by name, and JSON in its header.

One file, renamed into place, so a reader finds the old state or the new one, and a training that is
killed while it writes goes on from the old one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from arcmobile.runtime.errors import CheckpointError, OutputError, one_line
from arcmobile.runtime.strict_json import parse_json
from arcmobile.runtime.whole_output import whole_file

STATE: Final = "state.safetensors"

_HEADER: Final = "state"
_DIGEST: Final = "sha256"
_MOST_HEADER: Final = 100_000_000  # bytes; the limit of safetensors
_MOST_LEVELS: Final = 32
_START_ANEW: Final = "start without --resume"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write contiguous copies of ``tensors``, ``header`` (JSON) and a digest of both.

    Raises:
        OutputError: the file cannot be written; the old one is then still there.
    """
    copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(header, allow_nan=False)
    metadata = {"format": "pt", _HEADER: text, _DIGEST: _digest(copies, text)}
    with whole_file(path, overwrite=True) as unfinished:
        try:
            save_file(copies, unfinished, metadata=metadata)
        except (OSError, SafetensorError) as error:
            reason = one_line(error)
            raise OutputError(
                f"{path}: cannot be written ({reason}); choose another folder"
            ) from error


def read_tensors(
    path: Path, *, digest: bool = False, way_out: str = _START_ANEW
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote.

    Args:
        path: the file.
        digest: refuse files without one, which older releases wrote.
        way_out: last part of an error message: what the user can do.

    Raises:
        CheckpointError: the file is another one, or its content has changed since.
    """
    try:
        tensors, metadata, header = _content(path)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = one_line(error)
        raise CheckpointError(f"{path}: not a file of a training ({reason}); {way_out}") from None
    stated = metadata.get(_DIGEST)
    if stated is None and digest:
        raise CheckpointError(f"{path}: has no digest, it is of an older release; {way_out}")
    if stated is not None and stated != _digest(tensors, metadata[_HEADER]):
        raise CheckpointError(f"{path}: has changed since it was written; {way_out}")
    return tensors, header


def _content(path: Path) -> tuple[dict[str, Tensor], dict[str, str], dict[str, Any]]:
    """Tensors, metadata and header of a file.

    Raises:
        ValueError: there is no such file, or its header is not a JSON object.
    """
    if not path.is_file():
        raise ValueError("no such file")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        header = parse_json(metadata[_HEADER], most_bytes=_MOST_HEADER, most_levels=_MOST_LEVELS)
        if not isinstance(header, dict):
            raise ValueError("its header is not a JSON object")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return tensors, metadata, header


def _digest(tensors: Mapping[str, Tensor], header: str) -> str:
    """sha256 of names, dtypes, shapes and bytes of contiguous tensors, and of the header."""
    digest = hashlib.sha256(header.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def scoped(scope: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under ``scope/name``."""
    return {f"{scope}/{name}": tensor for name, tensor in tensors.items()}


def unscoped(scope: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors found under ``scope/``, by the rest of their names."""
    start = f"{scope}/"
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }
