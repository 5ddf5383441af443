"""Lowering to LiteRT: signatures, what is stored, what XNNPACK takes, and telling layers apart."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import lowering
import numpy as np
import numpy.typing as npt
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer.utils import tfl_flatbuffer_utils
from torch import Tensor, nn

from arcmobile.export.backends.base import LoweringEntry
from arcmobile.export.backends.litert import BACKEND
from arcmobile.quant.plan import expected_bytes
from arcmobile.quant.precision import Precision
from arcmobile.runtime.errors import ExportError

Array = npt.NDArray[np.float32]
# Graph and tensor names of these small programs; no multiple of their weights.
GRAPH_BYTES = 24_000
BARS = {
    Precision.FP32: 100,
    Precision.FP16: 60,
    Precision.INT8_DYNAMIC: 30,
    Precision.INT8_WEIGHT_ONLY: 34,
}


plan_of = partial(lowering.plan_of, BACKEND)
lower = partial(lowering.lower, BACKEND)


def weight_types(path: Path) -> dict[tuple[int, ...], set[str]]:
    """Stored types by shape of the constants with at least 1000 values."""
    model = tfl_flatbuffer_utils.read_model(str(path))
    types: dict[tuple[int, ...], set[str]] = {}
    for tensor in (tensor for subgraph in model.subgraphs for tensor in subgraph.tensors):
        if model.buffers[tensor.buffer].data is not None and np.prod(tensor.shape) >= 1000:
            name = tfl_flatbuffer_utils.TENSOR_CODE_TO_TYPE[tensor.type]
            types.setdefault(tuple(int(size) for size in tensor.shape), set()).add(name)
    return types


def check(path: Path, entry: LoweringEntry, wanted: Tensor, bar: float) -> Interpreter:
    interpreter = Interpreter(str(path), num_threads=2)
    runner = interpreter.get_signature_runner(entry.name)
    assert list(runner.get_input_details()) == sorted(entry.inputs)
    outputs = runner(**{name: tensor.numpy() for name, tensor in entry.inputs.items()})
    assert sorted(outputs) == sorted(entry.outputs)
    assert lowering.snr(wanted, outputs[entry.outputs[0]]) > bar
    return interpreter


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(300, 128)
        self.norm = nn.LayerNorm(128)
        self.wide = nn.Linear(128, 512)
        self.narrow = nn.Linear(512, 128, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids)
        return x + self.narrow(torch.relu(self.wide(self.norm(x))))


class Audio(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dilated = nn.Conv2d(32, 64, (1, 7), padding=(0, 9), dilation=(1, 3))
        self.up = nn.ConvTranspose2d(64, 32, (1, 8), stride=(1, 4), padding=(0, 2))
        self.out = nn.Conv2d(32, 2, (1, 7), padding=(0, 3), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dilated(x.unsqueeze(2) * 1.7)
        return self.out(torch.sin(self.up(torch.sin(x)))).squeeze(2)


STORED = {
    Precision.FP32: "FLOAT32",
    Precision.FP16: "FLOAT16",
    Precision.INT8_DYNAMIC: "INT8",
    Precision.INT8_WEIGHT_ONLY: "INT8",
}


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("network", ["text", "audio"])
def test_every_precision_is_stored_and_computed_as_planned(
    network: str, precision: Precision, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = (Text() if network == "text" else Audio()).eval()
    inputs = {
        "text": {"ids": torch.arange(16, dtype=torch.int32)[None] * 7 % 300},
        "audio": {"latent": torch.randn(1, 32, 16)},
    }[network]
    entry = LoweringEntry("main", None, inputs, ("out",))
    plan, path = plan_of(module, precision), tmp_path / "net.tflite"
    summary = lower(module, plan, [entry], path)

    assert summary.bytes == path.stat().st_size
    assert abs(summary.bytes - expected_bytes(module, plan)) < GRAPH_BYTES
    with torch.no_grad():
        wanted = module(*inputs.values())
    interpreter = check(path, entry, wanted, BARS[precision])
    types = set().union(*weight_types(path).values())
    assert STORED[precision] in types
    # A constant read back by DEQUANTIZE is stored once, not twice.
    assert types <= {STORED[precision], "FLOAT32"}
    operators = Counter(details["op_name"] for details in interpreter._get_ops_details())
    assert operators["DELEGATE"] == 1
    assert (
        operators["DEQUANTIZE"]
        == {
            Precision.FP32: 0,
            Precision.FP16: 3,
            Precision.INT8_DYNAMIC: 0,
            Precision.INT8_WEIGHT_ONLY: 3 - (network == "text"),
        }[precision]
    )


def test_signatures_share_weights_and_names_are_ours(tmp_path: Path) -> None:
    module = Audio().eval()
    plan = plan_of(module, Precision.INT8_DYNAMIC)
    entries = []
    for frames in (8, 16, 24):
        torch.manual_seed(frames)
        inputs = {"latent": torch.randn(1, 32, frames)}
        entries.append(LoweringEntry(f"frames_{frames}", frames, inputs, ("audio",)))
    one = lower(module, plan, entries[:1], tmp_path / "one.tflite")
    three = lower(module, plan, entries, tmp_path / "three.tflite")
    assert three.bytes - one.bytes < 2 * GRAPH_BYTES
    for entry in entries:
        with torch.no_grad():
            wanted = module(*entry.inputs.values())
        check(tmp_path / "three.tflite", entry, wanted, BARS[Precision.INT8_DYNAMIC])


class Alike(nn.Module):
    """Layers of one shape behind a norm whose gains are folded into those with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(48)
        self.norm.weight = nn.Parameter(torch.randn(48))
        self.norm.bias = nn.Parameter(torch.randn(48))
        self.query = nn.Linear(48, 48, bias=False)
        self.key = nn.Linear(48, 48, bias=False)
        self.value = nn.Linear(48, 48)
        self.gate = nn.Linear(48, 48)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = self.norm(x)
        return self.query(x), self.key(x), self.value(x), self.gate(x)


@pytest.mark.parametrize("chosen", [("query", "gate"), ("key", "value")])
def test_layers_are_told_apart_by_their_weights(chosen: tuple[str, ...], tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Alike().eval()
    names = ("query", "key", "value", "gate")
    entry = LoweringEntry("main", None, {"x": torch.randn(1, 9, 48)}, names)
    path = tmp_path / "net.tflite"
    lower(module, dict.fromkeys(chosen, Precision.INT8_DYNAMIC), [entry], path)
    runner = Interpreter(str(path)).get_signature_runner("main")
    outputs = runner(x=entry.inputs["x"].numpy())
    with torch.no_grad():
        for name, wanted in zip(names, module(entry.inputs["x"]), strict=True):
            assert (lowering.snr(wanted, outputs[name]) < 60) == (name in chosen)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(8, 8)
        self.unused = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_a_planned_layer_that_is_not_in_the_program_stops_the_export(tmp_path: Path) -> None:
    module = Unused()
    entry = LoweringEntry("main", None, {"x": torch.randn(4, 8)}, ("y",))
    with pytest.raises(ExportError, match=r"net\.tflite: layers unused: not in the converted"):
        lower(module, plan_of(module, Precision.FP16), [entry], tmp_path / "net.tflite")
    assert not list(tmp_path.iterdir())


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_converted_is_one_line_and_no_file(tmp_path: Path) -> None:
    entry = LoweringEntry("main", None, {"x": torch.randn(1, 4)}, ("y",))
    with pytest.raises(ExportError, match=r"net\.tflite: converting main failed: .") as error:
        lower(Branching(), {}, [entry], tmp_path / "net.tflite")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
