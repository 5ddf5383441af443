"""Lowering to ONNX: what is stored, what is computed, one graph for several lengths."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import lowering
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from arcmobile.export.backends.base import LoweringEntry
from arcmobile.export.backends.onnx import BACKEND
from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.quant.layers import quantize_per_channel
from arcmobile.quant.plan import expected_bytes, quantizable_layers
from arcmobile.quant.precision import Precision
from arcmobile.runtime.errors import ExportError, OutputError

Array = npt.NDArray[np.float32]
GRAPH_BYTES = 24_000
BARS = {
    Precision.FP32: 100,
    Precision.FP16: 60,
    Precision.INT8_DYNAMIC: 30,
    Precision.INT8_WEIGHT_ONLY: 32,
}
ALL_OFF = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
ALL_ON = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL


plan_of = partial(lowering.plan_of, BACKEND)
lower = partial(lowering.lower, BACKEND)


def run(
    path: Path, inputs: dict[str, Tensor], level: onnxruntime.GraphOptimizationLevel = ALL_ON
) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    # Exact on CPUs without VNNI, too.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})


def stored_types(path: Path, smallest: int) -> set[int]:
    """ONNX data types of the constants with at least that many values."""
    constants = onnx.load(path).graph.initializer
    return {c.data_type for c in constants if np.prod(c.dims) >= smallest}


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(300, 128)
        self.wide = nn.Linear(128, 512)
        self.narrow = nn.Linear(512, 128, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids)
        return x + self.narrow(torch.relu(self.wide(x)))


class Audio(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dilated = nn.Conv1d(32, 64, 7, padding=9, dilation=3)
        self.up = nn.ConvTranspose1d(64, 32, 8, stride=4, padding=2)
        self.out = nn.Conv1d(32, 2, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.sin(self.up(torch.sin(self.dilated(x)))))


def text_inputs() -> dict[str, Tensor]:
    return {"ids": torch.arange(16, dtype=torch.int32)[None] * 7 % 300}


def audio_entry(frames: int) -> LoweringEntry:
    torch.manual_seed(frames)
    inputs = {"latent": torch.randn(1, 32, frames)}
    return LoweringEntry(f"frames_{frames}", frames, inputs, ("audio",))


STORED = {
    Precision.FP32: onnx.TensorProto.FLOAT,
    Precision.FP16: onnx.TensorProto.FLOAT16,
    Precision.INT8_DYNAMIC: onnx.TensorProto.INT8,
    Precision.INT8_WEIGHT_ONLY: onnx.TensorProto.UINT8,
}


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("network", ["text", "audio"])
def test_every_precision_is_stored_and_computed_as_planned(
    network: str, precision: Precision, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = (Text() if network == "text" else Audio()).eval()
    inputs = text_inputs() if network == "text" else dict(audio_entry(16).inputs)
    entry = LoweringEntry("main", None, inputs, ("out",))
    plan, path = plan_of(module, precision), tmp_path / "net.onnx"
    summary = lower(module, plan, [entry], path)

    assert summary.bytes == path.stat().st_size
    assert abs(summary.bytes - expected_bytes(module, plan)) < GRAPH_BYTES
    layers = dict(quantizable_layers(module))
    wanted_types = {
        # The rows of a table are scaled after the look-up and need no zero point.
        onnx.TensorProto.INT8
        if isinstance(layers[name], nn.Embedding) and planned is Precision.INT8_WEIGHT_ONLY
        else STORED[planned]
        for name, planned in plan.items()
    }
    assert stored_types(path, smallest=2048) == wanted_types

    with torch.no_grad():
        wanted = module(*inputs.values())
    for level in (ALL_OFF, ALL_ON):
        assert lowering.snr(wanted, run(path, inputs, level)[0]) > BARS[precision]


def test_dynamic_linear_is_exactly_row_wise_quantization(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(96, 64), nn.Linear(64, 40, bias=False))
    x = torch.randn(1, 33, 96)
    x[0, 5] *= 1000  # a loud token, which must not touch the others
    x[0, 6] = 0.25
    entry = LoweringEntry("main", None, {"x": x}, ("y",))
    path = tmp_path / "net.onnx"
    lower(module, plan_of(module, Precision.INT8_DYNAMIC), [entry], path)

    wanted, exact = x.double(), x.double()
    for layer in module:
        assert isinstance(layer, nn.Linear)
        codes, scale = quantize_per_channel(layer.weight, axis=0)
        low, high = wanted.amin(-1, keepdim=True), wanted.amax(-1, keepdim=True)
        step = ((high - low) / 255).clamp_min(1e-20)
        rows = torch.round((wanted - low) / step) * step + low
        bias = 0.0 if layer.bias is None else layer.bias.detach().double()
        wanted = rows @ (codes.T * scale.double()) + bias
        exact = nn.functional.linear(exact, layer.weight.double(), None) + bias
    for level in (ALL_OFF, ALL_ON):
        out = run(path, {"x": x}, level)[0]
        # A value on the edge between two codes may fall on either side: few, and one step apart.
        assert lowering.snr(wanted.float(), out) > 60
        quiet = [token for token in range(33) if token not in (5, 6)]
        assert lowering.snr(exact[:, quiet].float(), out[:, quiet]) > 35
        assert np.isfinite(out[0, 6]).all()


def test_layers_that_share_an_input_quantize_it_once(
    micro_checkpoint: Path, tmp_path: Path
) -> None:
    folder = CheckpointFolder.open(micro_checkpoint)
    network = folder.build("dit", BACKEND.form)
    config, rows = folder.config.dit, folder.config.dit.heads
    entries = []
    for frames in (64, 24):
        torch.manual_seed(frames)
        inputs = {
            "latent": torch.randn(1, config.io_channels, frames),
            "timestep": torch.tensor([0.7]),
            "global_cond": torch.randn(1, config.embed_dim),
            "cross_keys": torch.randn(rows, config.head_dim, 9),
            "cross_values": torch.randn(rows, 9, config.head_dim),
        }
        entries.append(LoweringEntry(f"frames_{frames}", frames, inputs, ("velocity",)))
    with torch.no_grad():
        wanted = [network(*entry.inputs.values()) for entry in entries]
    path = tmp_path / "dit.onnx"
    lower(network, plan_of(network, Precision.INT8_DYNAMIC), entries, path)

    graph = onnx.load(path).graph
    products = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    linears = [layer for _, layer in quantizable_layers(network)]
    assert len(products) == len(linears)
    # query, key and value; gate and value
    assert len({node.input[0] for node in products}) == len(linears) - 3 * config.depth
    assert graph.input[0].type.tensor_type.shape.dim[2].dim_param == "frames"
    for entry, velocity in zip(entries, wanted, strict=True):
        out = run(path, dict(entry.inputs))[0]
        assert out.shape == velocity.shape
        assert lowering.snr(velocity, out) > BARS[Precision.INT8_DYNAMIC]


def test_lengths_share_one_graph_also_where_the_input_is_audio(tmp_path: Path) -> None:
    module = nn.Conv1d(2, 8, 16, stride=8, padding=4).eval()
    entries = [
        LoweringEntry(f"frames_{n}", n, {"audio": torch.randn(1, 2, n * 8)}, ("mean",))
        for n in (4, 9)
    ]
    path = tmp_path / "encoder.onnx"
    lower(module, {}, entries, path)
    for entry in entries:
        with torch.no_grad():
            wanted = module(*entry.inputs.values())
        assert lowering.snr(wanted, run(path, dict(entry.inputs))[0]) > 100


def test_lengths_that_are_no_multiples_are_refused(tmp_path: Path) -> None:
    entries = [
        LoweringEntry(f"frames_{n}", n, {"audio": torch.randn(1, 2, n * 8 + 3)}, ("mean",))
        for n in (4, 9)
    ]
    with pytest.raises(ExportError, match=r"input audio: axis 2"):
        lower(nn.Conv1d(2, 8, 16), {}, entries, tmp_path / "net.onnx")


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_converted_is_one_line_and_no_file(tmp_path: Path) -> None:
    entry = LoweringEntry("main", None, {"x": torch.randn(1, 4)}, ("y",))
    with pytest.raises(ExportError, match=r"net\.onnx: tracing main failed: .") as error:
        lower(Branching(), {}, [entry], tmp_path / "net.onnx")
    assert "\n" not in str(error.value)
    with pytest.raises(OutputError, match="cannot be written"):
        lower(nn.Linear(4, 4), {}, [entry], tmp_path / "absent" / "net.onnx")
    assert not list(tmp_path.iterdir())
