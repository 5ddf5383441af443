"""The work of a program: multiply-accumulates by arithmetic, bytes, and the full-size model's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arcmobile.bench.workload import STAGES, load_model
from arcmobile.export.backends import get_backend
from arcmobile.export.backends.base import LoweringEntry
from arcmobile.export.checkpoint import CheckpointFolder
from arcmobile.export.model.config import ModelConfig, T5Config
from arcmobile.export.model.primitives import ONNX, NetworkForm, attention
from arcmobile.export.pipeline import component_plan
from arcmobile.export.presets import PRESETS
from arcmobile.export.programs import (
    ExampleInputs,
    component_entries,
    network_outputs,
    plan_frames,
)
from arcmobile.export.work import WorkCounter
from arcmobile.quant.plan import expected_bytes
from arcmobile.quant.precision import Precision
from arcmobile.quant.recipes import RECIPES
from arcmobile.runtime.bundle import Work
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT

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
        mixed = attention(y, y.transpose(1, 2), y, ONNX)
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


class FullSize:
    """The networks of Stable Audio Open Small as shapes without values."""

    def __init__(self) -> None:
        preset, nowhere = PRESETS["sao-small"], Path("nowhere")
        config = ModelConfig.model_validate(preset.model_config())
        text_config = T5Config.model_validate(preset.text_config(1000))
        self.folder = CheckpointFolder(nowhere, nowhere, nowhere, nowhere, config, text_config)
        self.frames = plan_frames(config)
        tokens = config.conditioning.text.config.max_length
        ids = torch.zeros(1, tokens, dtype=torch.int32)
        self.examples = ExampleInputs(
            {"input_ids": ids, "attention_mask": torch.ones(1, tokens)}, {}
        )

    def entries(self, component: str) -> list[LoweringEntry]:
        if component == DIT and not self.examples.conditioning:
            network = self.folder.build_empty(CONDITIONER, ONNX)
            found = network_outputs(network, self.entries(CONDITIONER)[0])
            self.examples = replace(self.examples, conditioning=found)
        return component_entries(component, self.folder.config, self.frames, self.examples)

    def counted(self, component: str, form: NetworkForm, recipe: str) -> tuple[Work, int]:
        """Work of the largest entry, and bytes of weights."""
        network = self.folder.build_empty(component, form)
        plan = component_plan(component, network, RECIPES[recipe], get_backend("executorch"))
        largest = self.entries(component)[-1]
        with WorkCounter(network, plan) as counter:
            network_outputs(network, largest)
        return counter.work(), expected_bytes(network, plan)


@pytest.fixture(scope="module")
def full_size() -> FullSize:
    return FullSize()


def test_full_size_model_takes_what_was_measured(full_size: FullSize) -> None:
    step, _ = full_size.counted(DIT, ONNX, "fp32")
    assert 2 * sum(step.macs.values()) == pytest.approx(159e9, rel=0.02)
    decoder, _ = full_size.counted(DECODER, ONNX, "fp32")
    per_frame = 2 * sum(decoder.macs.values()) / full_size.frames.window
    assert per_frame == pytest.approx(5e9, rel=0.02)


@pytest.mark.parametrize("recipe", RECIPES)
def test_stored_counts_are_those_of_the_networks(full_size: FullSize, recipe: str) -> None:
    """``bench/models/sao-small.toml``, from which predictions without a bundle are made."""
    stored = load_model("sao-small")
    assert (stored.frames, stored.window) == (full_size.frames.counts[-1], full_size.frames.window)
    assert stored.context == full_size.frames.context
    form = get_backend(stored.backend).form
    for component in STAGES:
        counts = stored.recipes[recipe][component]
        assert (counts.work(), counts.bytes) == full_size.counted(component, form, recipe)
