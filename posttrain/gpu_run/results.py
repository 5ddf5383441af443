"""What a run leaves in OUT: a few files, each complete whenever the run is cut off.

::

    latency.json, latency-cells.json   of `arcmobile bench gpu`
    run.json             parts and how they ended, data, candidates and their scores
    metrics.jsonl        losses of both trainings
    flow.safetensors     the flow model's generator, float16
    arc.safetensors      the best candidate's generator, float16
    run.log              what was printed

The autoencoder is not trained here: both use that of the embedded checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.posttrain.training.checkpoint_folder import OBJECTIVE, write_checkpoint
from arcmobile.posttrain.training.metrics import METRICS, append_metrics
from arcmobile.posttrain.training.state import (
    read_tensors,
    scoped,
    unscoped,
    write_tensors,
)
from arcmobile.runtime.errors import CheckpointError, InputError
from arcmobile.runtime.whole_output import write_whole_text

RUN = "run.json"
FLOW, ARC = "flow.safetensors", "arc.safetensors"
MOST_FILES, MOST_BYTES = 8, 16_000_000
"""Limits on what can be fetched from a lent machine."""

_MODEL, _TEXT = "model", "text"
_FLOW_OBJECTIVE = "rectified_flow"
Tensors = Mapping[str, Tensor]


class RunRecord:
    """`run.json` as it grows, and the files beside it.

    Attributes:
        out: folder of the run.
        base: checkpoint that the run starts from.
        content: of `run.json`.
    """

    def __init__(self, out: Path, base: CheckpointFolder):
        self.out = out
        self.content: dict[str, Any] = {"base": base.digest(), "notes": []}
        self.base = base

    def set(self, **values: Any) -> None:
        """Set top-level entries and write the file; raise OutputError if that fails."""
        self.content.update(values)
        text = json.dumps(self.content, indent=1) + "\n"
        write_whole_text(self.out / RUN, text, overwrite=True)

    def note(self, line: str) -> None:
        """Print a line and keep it in the file."""
        print(line, flush=True)
        self.set(notes=[*self.content["notes"], line])

    def metrics(self, training: str, row: Mapping[str, Any]) -> None:
        """Append a row of a training's losses."""
        append_metrics(self.out / METRICS, {"training": training, **row})

    def write_generator(self, name: str, tensors: tuple[Tensors, Tensors], **header: Any) -> None:
        """Write :data:`FLOW` or :data:`ARC`.

        Raises:
            CheckpointError: a value is not finite in float16.
            OutputError: the file cannot be written.
        """
        model, text = ({k: v.half() for k, v in part.items()} for part in tensors)
        for key, tensor in (*model.items(), *text.items()):
            if not bool(torch.isfinite(tensor).all()):
                raise CheckpointError(f"{name}: {key} is not finite as float16; it is not written")
        both = {**scoped(_MODEL, model), **scoped(_TEXT, text)}
        write_tensors(self.out / name, both, {"base": self.base.digest(), **header})


def collect(out: Path, folder: Path, base: Path) -> list[Path]:
    """Make checkpoint folders of what a run left: ``folder``/arc and ``folder``/flow.

    Args:
        out: the run's folder.
        folder: of the checkpoints.
        base: the embedded checkpoint, which the run started from.

    Returns:
        The checkpoints, the one of ARC first.

    Raises:
        InputError: there is nothing to collect.
        CheckpointError: a file is damaged, or was trained from another checkpoint.
        OutputError: ``folder`` cannot be written.
    """
    opened = CheckpointFolder.open(base)
    written = []
    for name, target, objective in ((ARC, "arc", OBJECTIVE), (FLOW, "flow", _FLOW_OBJECTIVE)):
        if not (out / name).is_file():
            continue
        tensors, header = read_tensors(out / name)
        if header.get("base") != opened.digest():
            raise CheckpointError(
                f"{out / name}: was trained from another checkpoint than {base}; give --base"
            )
        model, text = unscoped(_MODEL, tensors), unscoped(_TEXT, tensors)
        write_checkpoint(base, folder / target, model, text, torch.float16, objective=objective)
        written.append(folder / target)
    if not written:
        raise InputError(f"{out}: holds neither {ARC} nor {FLOW}; nothing to collect")
    return written


def check_limits(out: Path) -> list[str]:
    """List what keeps the files of ``out`` from being fetched; empty where nothing does."""
    files = sorted(path for path in out.rglob("*") if path.is_file())
    faults = []
    if len(files) > MOST_FILES:
        faults.append(f"{len(files)} files, at most {MOST_FILES} can be fetched")
    for path in files:
        if path.stat().st_size > MOST_BYTES:
            faults.append(f"{path.name}: {path.stat().st_size} bytes, at most {MOST_BYTES}")
        if path.parent != out:
            faults.append(f"{path.relative_to(out)}: in a folder of its own")
    return faults
