"""The work of a program: multiply-accumulates by arithmetic, bytes, and the full-size model's."""

from __future__ import annotations

from importlib import resources

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arcmobile.bench.workload import load_model
from arcmobile.export.model.counts import PresetCounts, count_preset, counts_file
from arcmobile.export.model.primitives import attention
from arcmobile.export.work import WorkCounter
from arcmobile.quant.precision import Precision
from arcmobile.runtime.bundle import Work
from arcmobile.runtime.tensors import DIT

FLOAT = 4


def count(network: nn.Module, *inputs: Tensor, precision: Precision = Precision.FP32) -> Work:
    """Work of one call, the module named ``""`` or ``layer`` planned at the precision."""
    plan = {name: precision for name, _ in network.named_modules()}
    with torch.no_grad(), WorkCounter(network, plan) as counter:
        network(*inputs)
    return counter.work()


def test_linear_layer() -> None:
    work = count(nn.Linear(8, 4), torch.zeros(1, 3, 8))
    assert work.linear_macs == {"fp32": 3 * 8 * 4}
    assert work.convolution_macs == {}
    assert work.product_bytes == FLOAT * (3 * 8 + 3 * 4)  # its weights are not activations
    assert work.elementwise_bytes == 0


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        # 10 positions out, 5 channels of 3 * 7 products each
        (nn.Conv1d(3, 5, 7, padding=3), (1, 3, 10), 10 * 5 * 3 * 7),
        (nn.Conv2d(3, 5, (1, 7), padding=(0, 9), dilation=(1, 3)), (1, 3, 1, 10), 10 * 5 * 3 * 7),
        (nn.Conv2d(3, 5, (1, 4), stride=(1, 2)), (1, 3, 1, 10), 4 * 5 * 3 * 4),
        # every input position meets the whole kernel
        (nn.ConvTranspose1d(3, 5, 4, stride=2), (1, 3, 10), 10 * 3 * 5 * 4),
        (nn.ConvTranspose2d(3, 5, (1, 4), stride=(1, 2)), (1, 3, 1, 10), 10 * 3 * 5 * 4),
    ],
)
def test_convolutions(layer: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    assert count(layer, torch.zeros(shape)).convolution_macs == {"fp32": macs}


def test_pointwise_convolution_is_a_linear_layer() -> None:
    work = count(nn.Conv2d(3, 5, 1), torch.zeros(1, 3, 1, 10))
    assert (work.linear_macs, work.convolution_macs) == ({"fp32": 10 * 3 * 5}, {})


def test_embedding_computes_nothing() -> None:
    work = count(nn.Embedding(50, 6), torch.zeros(1, 4, dtype=torch.int64))
    assert work.macs == {}
    assert work.elementwise_bytes == 4 * 8 + 4 * 6 * FLOAT  # 64-bit ids in, rows out


@pytest.mark.parametrize(
    ("precision", "arithmetic"),
    [
        (Precision.FP32, "fp32"),
        (Precision.FP16, "fp32"),
        (Precision.INT8_WEIGHT_ONLY, "fp32"),
        (Precision.INT8_DYNAMIC, "int8"),
    ],
)
def test_arithmetic_follows_the_activations(precision: Precision, arithmetic: str) -> None:
    work = count(nn.Linear(8, 4), torch.zeros(1, 8), precision=precision)
    assert work.macs == {arithmetic: 32}


class Mixed(nn.Module):
    """A layer, attention, and operators around them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6, bias=False)
        self.gain = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (2, 5, 6)."""
        y = self.layer(x)
        mixed = attention(y, y.transpose(1, 2), y)
        return F.relu(mixed * self.gain)


def test_attention_is_float_and_operators_are_counted_by_their_tensors() -> None:
    work = count(Mixed(), torch.zeros(2, 5, 6), precision=Precision.INT8_DYNAMIC)
    rows, scores = 2 * 5 * 6, 2 * 5 * 5
    assert work.linear_macs == {"int8": rows * 6, "fp32": 2 * rows * 5}
    assert work.product_bytes == FLOAT * (2 * rows + (2 * rows + scores) * 2)
    assert work.elementwise_bytes == FLOAT * (2 * scores + 2 * rows + 2 * rows)
    assert work.largest_bytes == FLOAT * rows


def test_hooks_are_gone_afterwards() -> None:
    layer = nn.Linear(2, 2)
    count(layer, torch.zeros(1, 2))
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks


@pytest.fixture(scope="module")
def full_size() -> PresetCounts:
    return count_preset()


def test_full_size_model_takes_what_was_measured(full_size: PresetCounts) -> None:
    components = full_size.counts["fp32"]
    step, _ = components[DIT]
    assert 2 * sum(step.macs.values()) == pytest.approx(159e9, rel=0.02)
    per_frame = 0.0
    for part in full_size.frames.decoder:
        work, _ = components[part.component]
        per_frame += 2 * sum(work.macs.values()) * part.frames_per_latent / part.window
    assert per_frame == pytest.approx(5e9, rel=0.02)


def test_stored_counts_are_those_of_the_networks(full_size: PresetCounts) -> None:
    """If not: ``make counts``."""
    stored = resources.files("arcmobile.bench") / "models" / "sao-small.toml"
    written = counts_file(load_model("sao-small").title, full_size)
    assert stored.read_text(encoding="utf-8") == written
