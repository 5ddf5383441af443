"""A model on a device without its files in the way: of a checkpoint, or random of a preset's size.

Random weights of the full size are made on the device in a second; writing, hashing and reading its
checkpoint of 2.1 GB would take a large part of the minutes that a lent GPU may be there for.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from arcmobile.export.checkpoint.folder import CheckpointFolder, construct_network, require_sound
from arcmobile.export.checkpoint.presets import find_preset, write_preset_tokenizer
from arcmobile.export.checkpoint.random_weights import TensorPlan
from arcmobile.export.manifest import folder_tokenizer
from arcmobile.export.model.config import ModelConfig, T5Config
from arcmobile.export.model.forms import NetworkForm
from arcmobile.export.model.weights import Weights
from arcmobile.runtime.errors import EngineError
from arcmobile.runtime.tokenizer import PromptTokenizer

Build = Callable[[str, NetworkForm], nn.Module]
"""Component (conditioner, dit, decoder) and form -> its float32 network on the device."""


@dataclass(frozen=True)
class GpuModel:
    """What a generation needs of a model. ``digest`` (sha256) names its weights."""

    name: str
    digest: str
    config: ModelConfig
    tokenizer: PromptTokenizer
    device: torch.device
    build: Build

    @property
    def tokens(self) -> int:
        """Length of a prompt in tokens."""
        return self.config.conditioning.text.config.max_length

    @property
    def latent_shape(self) -> tuple[int, int]:
        """(channels, frames) of the longest latent."""
        return self.config.dit.io_channels, self.config.max_frames

    @property
    def seconds(self) -> float:
        """Length of the longest sound."""
        return self.config.max_frames * self.config.samples_per_frame / self.config.sample_rate


def find_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises:
        EngineError: there is none.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise EngineError(f"--device {name}: not a device; use cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EngineError(f"--device {name}: PyTorch sees no CUDA device; use --device cpu")
    if device.type not in ("cuda", "cpu"):
        raise EngineError(f"--device {name}: not supported; use cpu or cuda")
    return device


def checkpoint_model(path: Path, device: torch.device) -> GpuModel:
    """Return the model of a checkpoint folder.

    Raises:
        CheckpointError: it is not sound.
    """
    folder = CheckpointFolder.open(path)
    require_sound(folder, digest=True)

    def build(component: str, form: NetworkForm) -> nn.Module:
        return folder.build(component, form).to(device)

    name = path.resolve().name
    return GpuModel(name, folder.digest(), folder.config, folder_tokenizer(folder), device, build)


class _RandomTensors:
    """A tensor source of random values, made on a device when they are read."""

    def __init__(self, plans: Iterable[TensorPlan], seed: int, device: torch.device):
        self._plans = {plan.name: plan for plan in plans}
        self._seed, self._device = seed, device

    def names(self) -> list[str]:
        return list(self._plans)

    def shape(self, name: str) -> tuple[int, ...] | None:
        return self._plans[name].shape if name in self._plans else None

    def type_name(self, name: str) -> str:
        return "float32"

    def read(self, name: str) -> Tensor:
        plan = self._plans[name]
        if plan.values is not None:
            return torch.tensor(plan.values, device=self._device).view(plan.shape)
        digest = hashlib.sha256(f"{self._seed} {name}".encode()).digest()
        random = torch.Generator(self._device).manual_seed(int.from_bytes(digest[:4], "little"))
        values = torch.randn(plan.shape, generator=random, device=self._device)
        return values.mul_(plan.std).add_(plan.mean)


def random_model(preset: str, seed: int, device: torch.device) -> GpuModel:
    """Return a model of a preset's size with random weights.

    Signals keep their size through it as through a random checkpoint; its values are others, and
    differ between kinds of devices.

    Raises:
        InputError: the preset is unknown.
    """
    chosen = find_preset(preset)
    with tempfile.TemporaryDirectory(prefix="arcmobile-") as scratch:
        folder = Path(scratch)
        pieces = write_preset_tokenizer(folder)
        tokenizer_text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    config = ModelConfig.model_validate(chosen.model_config())
    text_config = T5Config.model_validate(chosen.text_config(pieces))
    tokenizer = PromptTokenizer(
        tokenizer_text,
        max_length=config.conditioning.text.config.max_length,
        pad_id=text_config.pad_token_id,
        eos_id=text_config.eos_token_id,
    )
    plans, text_plans = chosen.tensors(pieces)
    source = _RandomTensors(plans, seed, device)
    text_source = _RandomTensors(text_plans, seed, device)

    def build(component: str, form: NetworkForm) -> nn.Module:
        with device:  # tables that a network derives from its weights are made there, too
            network = construct_network(
                component, config, text_config, Weights(source), Weights(text_source), form
            )
        return network.to(device).eval().requires_grad_(False)

    described = json.dumps([chosen.model_config(), seed, device.type], sort_keys=True)
    digest = hashlib.sha256(described.encode()).hexdigest()
    return GpuModel(f"random {preset}", digest, config, tokenizer, device, build)
