"""Writes a checkpoint folder with some of its tensors replaced.

The result is a complete folder in the base's layout: its config, its text encoder and tokenizer,
its licence, and every tensor that was not trained (above all the autoencoder).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from arcmobile.export.checkpoint.disk_space import require_space
from arcmobile.export.checkpoint.folder import (
    MODEL_CONFIG,
    MODEL_FILES,
    TEXT_ENCODER_FOLDER,
    TEXT_FILES,
    CheckpointFolder,
)
from arcmobile.export.model.weights import TensorSource
from arcmobile.runtime.errors import CheckpointError, InputError
from arcmobile.runtime.whole_output import whole_folder

OBJECTIVE = "rf_denoiser"  # objective of models for ping-pong sampling
_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*")
_READABLE = 0o644


def write_checkpoint(
    base_folder: Path,
    out: Path,
    tensors: Mapping[str, Tensor],
    text_tensors: Mapping[str, Tensor],
    dtype: torch.dtype,
    *,
    objective: str = OBJECTIVE,
) -> None:
    """Write ``out``, which appears when it is complete and may replace an older checkpoint.

    Args:
        base_folder: the checkpoint that the tensors were trained from.
        out: checkpoint folder to write.
        tensors: by name in ``model.safetensors``; of the base's shapes.
        text_tensors: by name in the text encoder's file, or empty.
        dtype: of all floating tensors, float16 or float32.
        objective: ``diffusion_objective`` of the config.

    Raises:
        CheckpointError: the base is not a checkpoint, or a tensor is unknown to it, of another
            shape, not finite or too large for ``dtype``.
        InputError: ``out`` is the base, or the dtype is not one of the two.
        OutputError: ``out`` cannot be written.
    """
    if dtype not in (torch.float16, torch.float32):
        raise InputError(f"{dtype}: checkpoints are written as float16 or float32")
    if out.resolve() == base_folder.resolve():
        raise InputError(f"{out}: is the base checkpoint; choose another folder")
    base = CheckpointFolder.open(base_folder)
    model = _merged(base.source, tensors, base.model_file, dtype)
    text = {}
    if base.text_file != base.model_file:
        text = _merged(base.text_source, text_tensors, base.text_file, dtype)
    elif text_tensors:
        raise CheckpointError(f"{base.model_file}: holds the text encoder; there is no other file")
    config = _config(base_folder / MODEL_CONFIG, objective)
    with whole_folder(out, replaceable=MODEL_CONFIG, overwrite=True) as folder:
        require_space(out, sum(t.nbytes for part in (model, text) for t in part.values()))
        write_parts(folder, config, model, base.text_encoder, text)
        for pattern in _LICENCES:
            for path in sorted(base_folder.glob(pattern)):
                shutil.copyfile(path, folder / path.name)


def write_parts(
    folder: Path,
    config: Mapping[str, Any],
    model: Mapping[str, Tensor],
    text_encoder: Path,
    text: Mapping[str, Tensor],
) -> None:
    """Fill an empty folder: `model_config.json`, the tensors, and the text encoder's own files.

    Config and tokenizer are copied from ``text_encoder``; ``text`` may be empty, where the model's
    file holds the text encoder.
    """
    (folder / MODEL_CONFIG).write_text(json.dumps(config, indent=4) + "\n", encoding="utf-8")
    _save(folder / MODEL_FILES[0], model)
    (folder / TEXT_ENCODER_FOLDER).mkdir()
    for path in sorted(text_encoder.iterdir()):
        if path.is_file() and path.name not in TEXT_FILES:
            shutil.copyfile(path, folder / TEXT_ENCODER_FOLDER / path.name)
    if text:
        _save(folder / TEXT_ENCODER_FOLDER / TEXT_FILES[0], text)


def _merged(
    source: TensorSource, trained: Mapping[str, Tensor], file: Path, dtype: torch.dtype
) -> dict[str, Tensor]:
    """All tensors of a file, with the trained ones replaced, floats as ``dtype``.

    Raises:
        CheckpointError: a trained tensor does not fit.
    """
    for name, tensor in trained.items():
        shape = source.shape(name)
        if shape is None:
            raise CheckpointError(f"{file}: has no tensor {name}; it is another model")
        if shape != tuple(tensor.shape):
            raise CheckpointError(
                f"{file}: {name} is {list(shape)} there, {list(tensor.shape)} in training"
            )
    return {
        name: _stored(name, trained[name] if name in trained else source.read(name), dtype)
        for name in source.names()
    }


def _stored(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    # Cloned: the file must not share memory between names, nor map the base it was read from.
    value = tensor.detach().cpu()
    value = value.to(dtype) if value.is_floating_point() else value
    if not bool(torch.isfinite(value).all()):
        raise CheckpointError(f"{name}: has values that are not finite as {dtype}")
    return value.clone(memory_format=torch.contiguous_format)


def _config(path: Path, objective: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    config["model"]["diffusion"]["diffusion_objective"] = objective
    return config


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})
    path.chmod(_READABLE)  # safetensors leaves it to its owner alone
