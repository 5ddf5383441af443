"""Checkpoint folders to spoil, and the line that opening them ends with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
from arcmobile.runtime.errors import CheckpointError

DATA = Path(__file__).parent / "data"
DIT_CONFIG = ("model", "diffusion", "config")
PRETRANSFORM = ("model", "pretransform")
DECODER_CONFIG = (*PRETRANSFORM, "config", "decoder", "config")
CONDITIONERS = ("model", "conditioning", "configs")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A copy to spoil, weights in safetensors."""
    return Path(shutil.copytree(DATA / "parity_tiny", tmp_path / "tiny"))


@pytest.fixture
def variant(tmp_path: Path) -> Path:
    """A copy to spoil, weights in a .ckpt."""
    return Path(shutil.copytree(DATA / "parity_variant", tmp_path / "variant"))


def fault(folder: Path, text_encoder: Path | None = None) -> str:
    """The line that opening and checking a folder ends with."""
    with pytest.raises(CheckpointError) as raised:
        require_sound(CheckpointFolder.open(folder, text_encoder))
    line = str(raised.value)
    assert "\n" not in line
    return line


def edit_tensors(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def edit_config(folder: Path, place: tuple[str, ...], key: str, value: object) -> None:
    path = folder / "model_config.json"
    config = json.loads(path.read_text())
    section: Any = config
    for part in place:
        section = section[part]
    section[key] = value
    path.write_text(json.dumps(config))
