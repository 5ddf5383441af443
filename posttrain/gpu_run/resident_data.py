"""Synthesized sounds on the GPU, all of them, taken in while their shards appear.

A batch is drawn, gathered and worded on the device: no step waits for the host, and nothing is
copied to the device but new shards.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from arcmobile.posttrain.arc.trainer import ArcBatch
from arcmobile.posttrain.training.state import read_tensors


class ResidentLatents:
    """Latents, token ids and seconds of at most ``capacity`` sounds, on a device.

    Attributes:
        count: sounds that are there.
    """

    def __init__(self, folder: Path, capacity: int, device: torch.device):
        self._folder, self._capacity, self._device = folder, capacity, device
        self._seen: set[str] = set()
        self._tensors: dict[str, Tensor] = {}
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def take_in(self) -> int:
        """Copies shards that are new; returns how many sounds are there now.

        Raises CheckpointError for a shard that cannot be read.
        """
        for path in sorted(self._folder.glob("shard-*.safetensors")):
            if path.name not in self._seen:
                self._seen.add(path.name)
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

    def batch(self, size: int, random: torch.Generator) -> ArcBatch:
        """``size`` sounds drawn with replacement, each with one of its captions.

        ``random`` is a generator of the device.
        """
        rows = torch.randint(self.count, (size,), generator=random, device=self._device)
        ids, lengths = self._tensors["ids"], self._tensors["lengths"]
        wording = torch.randint(ids.shape[1], (size,), generator=random, device=self._device)
        places = torch.arange(ids.shape[2], device=self._device)
        return ArcBatch(
            self._tensors["latents"][rows].float(),
            ids[rows, wording].long(),
            (places < lengths[rows, wording].long()[:, None]).float(),
            self._tensors["seconds"][rows],
        )
