"""The state of a training in one safetensors file: tensors by name, and JSON in its header.

One file, renamed into place, so a reader finds the old state or the new one, and a training that is
killed while it writes goes on from the old one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from arcmobile.runtime.errors import CheckpointError, OutputError
from arcmobile.runtime.strict_json import parse_json
from arcmobile.runtime.whole_output import whole_file, write_whole_text

_HEADER: Final = "state"
_DIGEST: Final = "sha256"
_MOST_METRICS: Final = 1 << 26  # bytes
_MOST_HEADER: Final = 100_000_000  # bytes; as safetensors has it
_MOST_LEVELS: Final = 32
_MOST_STEPS: Final = 1 << 60
_START_ANEW: Final = "start without --resume"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Writes contiguous copies of ``tensors``, ``header`` (JSON) and a digest of both.

    Raises OutputError where the file cannot be written; the old one is then still there.
    """
    copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(header, allow_nan=False)
    metadata = {"format": "pt", _HEADER: text, _DIGEST: _digest(copies, text)}
    with whole_file(path, overwrite=True) as unfinished:
        try:
            save_file(copies, unfinished, metadata=metadata)
        except (OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise OutputError(
                f"{path}: cannot be written ({reason}); choose another folder"
            ) from error


def read_tensors(
    path: Path, *, digest: bool = False, way_out: str = _START_ANEW
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What :func:`write_tensors` wrote.

    Args:
        digest: refuse files without one, which older releases wrote.
        way_out: of an error, for its message.

    Raises CheckpointError for any other file, and for one whose content has changed since.
    """
    try:
        if not path.is_file():
            raise ValueError("no such file")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            header = parse_json(
                metadata[_HEADER], most_bytes=_MOST_HEADER, most_levels=_MOST_LEVELS
            )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if not isinstance(header, dict):
            raise TypeError("its header is no JSON object")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: not a file of a training ({reason}); {way_out}") from None
    stated = metadata.get(_DIGEST)
    if stated is None and digest:
        raise CheckpointError(f"{path}: has no digest, it is of an older release; {way_out}")
    if stated is not None and stated != _digest(tensors, metadata[_HEADER]):
        raise CheckpointError(f"{path}: has changed since it was written; {way_out}")
    return tensors, header


def _digest(tensors: Mapping[str, Tensor], header: str) -> str:
    """sha256 of names, dtypes, shapes and bytes of contiguous tensors, and of the header."""
    digest = hashlib.sha256(header.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def scoped(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under ``prefix/name``."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def unscoped(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors found under ``prefix/``, by the rest of their names."""
    start = f"{prefix}/"
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def adam_tensors(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """The moments and step counts of Adam under ``moment/parameter``; empty before a first step."""
    return {
        f"{moment}/{name}": value
        for name, parameter in parameters.items()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }


def restore_adam(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
) -> None:
    """Sets what :func:`adam_tensors` gave, each moment in its parameter's memory layout."""
    for name, parameter in parameters.items():
        found = {
            moment: tensors[f"{moment}/{name}"]
            for moment in ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")
            if f"{moment}/{name}" in tensors
        }
        if found:
            optimizer.state[parameter] = {
                moment: value.clone() if moment == "step" else _like(value, parameter)
                for moment, value in found.items()
            }


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def append_metrics(path: Path, row: Mapping[str, Any]) -> None:
    """Adds one line of JSON, in which a figure that is not finite is null."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(_line(row))
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); free some space and go on with --resume"
        ) from error


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(finite_or_none(row), allow_nan=False) + "\n"


def finite_or_none(value: Any) -> Any:
    """JSON content with None in the place of every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file; none if there is no file.

    Lines that are no rows (cut short, damaged) are left out. Raises CheckpointError for a file
    that cannot be read.
    """
    if not path.is_file():
        return []
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_METRICS + 1)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check it") from error
    if len(data) > _MOST_METRICS:
        raise CheckpointError(f"{path}: over {_MOST_METRICS >> 20} MB; move it away")
    rows = (_row(line) for line in data.decode("utf-8", "replace").split("\n") if line.strip())
    return [row for row in rows if row is not None]


def _row(line: str) -> dict[str, Any] | None:
    """A step and the figures of a line that are numbers; None if it is no row."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    if not 0 <= row["step"] < _MOST_STEPS:
        return None
    return {key: value for key, value in row.items() if _is_figure(value)}


def _is_figure(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300  # NaN compares false


def keep_metrics_until(path: Path, step: int) -> None:
    """Drops the rows of steps behind the state that a training goes on from."""
    kept = [row for row in read_metrics(path) if row["step"] <= step]
    write_whole_text(path, "".join(map(_line, kept)), overwrite=True)
