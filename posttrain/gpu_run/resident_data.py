"""All synthesized sounds on the GPU, loaded while their shards appear.

A batch is drawn and gathered, caption included, on the device: no step waits for the host, and
nothing but new shards is copied to the device.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from arcmobile.posttrain.flow.batches import GeneratorBatch
from arcmobile.posttrain.training.state import read_tensors


class ResidentLatents:
    """Latents, token ids and seconds of at most ``capacity`` sounds, on a device.

    Attributes:
        count: sounds loaded.
    """

    def __init__(self, folder: Path, capacity: int, device: torch.device):
        self._folder, self._capacity, self._device = folder, capacity, device
        self._loaded: set[str] = set()
        self._tensors: dict[str, Tensor] = {}
        self.count = 0

    def load_new(self) -> int:
        """Copy new shards to the device; return how many sounds are loaded.

        Raises:
            CheckpointError: a shard cannot be read.
        """
        for path in sorted(self._folder.glob("shard-*.safetensors")):
            if path.name not in self._loaded:
                self._loaded.add(path.name)
                self._append(read_tensors(path)[0])
        return self.count

    def _append(self, shard: dict[str, Tensor]) -> None:
        if not self._tensors:
            self._tensors = {
                name: torch.zeros(
                    (self._capacity, *tensor.shape[1:]), dtype=tensor.dtype, device=self._device
                )
                for name, tensor in shard.items()
            }
        new = min(len(shard["seconds"]), self._capacity - self.count)
        for name, tensor in shard.items():
            self._tensors[name][self.count : self.count + new].copy_(tensor[:new])
        self.count += new

    def batch(self, size: int, random: torch.Generator) -> GeneratorBatch:
        """Draw ``size`` sounds with replacement, each with one of its captions.

        ``random`` is a generator of the device.
        """
        rows = torch.randint(self.count, (size,), generator=random, device=self._device)
        ids, lengths = self._tensors["ids"], self._tensors["lengths"]
        wording = torch.randint(ids.shape[1], (size,), generator=random, device=self._device)
        places = torch.arange(ids.shape[2], device=self._device)
        return GeneratorBatch(
            self._tensors["latents"][rows].float(),
            ids[rows, wording].long(),
            (places < lengths[rows, wording].long()[:, None]).float(),
            self._tensors["seconds"][rows],
        )
