"""A program that is wrong with the weight cache on: what shows that it is on.

Run as a program with a path, it writes the program: two linear layers, the second's weights four
times the first's, lowered by ExecuTorch alone. The cache takes them for one layer, for their int8
weights have the same bytes (export/backends/xnnpack.py keeps that from our programs).
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

WIDTH = 64


class _Twins(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH, bias=False)
        self.second = nn.Linear(WIDTH, WIDTH, bias=False)
        with torch.no_grad():
            self.second.weight.copy_(self.first.weight * 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + self.second(x)


def write(path: Path) -> None:
    """Lower the network to ``path``."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization import Int8DynamicActivationIntxWeightConfig, quantize_
    from torchao.quantization.granularity import PerAxis

    torch.manual_seed(0)
    network = _Twins().eval()
    quantize_(
        network,
        Int8DynamicActivationIntxWeightConfig(
            weight_dtype=torch.int8, weight_granularity=PerAxis(0)
        ),
    )
    exported = torch.export.export(network, (torch.randn(1, 4, WIDTH),))
    edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    with path.open("wb") as file:
        edge.to_executorch().write_to_file(file)


def run(path: Path) -> Tensor:
    """What the program makes of a fixed input, in this process."""
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")
    assert method is not None
    given = torch.linspace(-1, 1, 4 * WIDTH).reshape(1, 4, WIDTH)
    (output,) = method.execute([given])
    return output.clone()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
