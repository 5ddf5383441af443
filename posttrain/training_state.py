"""The state of a training in one safetensors file: tensors by name, and JSON in its header.

One file, renamed into place, so a reader finds the old state or the new one, and a training that is
killed while it writes goes on from the old one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from arcmobile.runtime.errors import CheckpointError, OutputError
from arcmobile.runtime.whole_output import write_whole_text

_HEADER = "state"
_READABLE = 0o644


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Writes contiguous copies of ``tensors`` and ``header`` (JSON) under a temporary name first.

    Raises OutputError where the file cannot be written; the old one is then still there.
    """
    partial = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(copies, partial, metadata={"format": "pt", _HEADER: json.dumps(header)})
            partial.chmod(_READABLE)  # safetensors leaves it to its owner alone
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path}: cannot be written ({error}); choose another folder") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What :func:`write_tensors` wrote; raises CheckpointError for any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a state of a training ({error}); start without --resume"
        ) from None
    return tensors, header


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
    """Adds one line of JSON."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file; none if there is no file. A last line cut short is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def keep_metrics_until(path: Path, step: int) -> None:
    """Drops the rows of steps behind the state that a training goes on from."""
    rows: Iterable[dict[str, Any]] = (row for row in read_metrics(path) if row["step"] <= step)
    write_whole_text(path, "".join(json.dumps(row) + "\n" for row in rows), overwrite=True)
