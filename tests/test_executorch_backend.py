"""Lowering through ExecuTorch and XNNPACK: every precision keeps its size, place and accuracy."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from executorch.runtime import Runtime
from torch import Tensor, nn
from torch.nn import functional as F

from arcmobile.export.backends import get_backend
from arcmobile.export.backends.base import LoweringEntry, LoweringSummary
from arcmobile.export.backends.executorch import BACKEND
from arcmobile.export.backends.xnnpack import halve_biases
from arcmobile.export.manifest import tool_versions
from arcmobile.quant.layers import quantize_layers
from arcmobile.quant.plan import expected_bytes, quantizable_layers
from arcmobile.quant.precision import Precision
from arcmobile.runtime.backends import BACKENDS
from arcmobile.runtime.errors import ExportError, InputError, OutputError

# Graph, alignment and quantization parameters of these small programs.
GRAPH_BYTES = 24_000


def snr(reference: Tensor, other: Tensor) -> float:
    noise = (reference.double() - other.double()).square().sum().clamp_min(1e-30)
    return float(10 * torch.log10(reference.double().square().sum() / noise))


def everywhere(module: nn.Module, precision: Precision) -> dict[str, Precision]:
    plan = {}
    for name, layer in quantizable_layers(module):
        table = isinstance(layer, nn.Embedding) and precision is Precision.INT8_DYNAMIC
        plan[name] = Precision.INT8_WEIGHT_ONLY if table else precision
    return plan


def lower(
    module: nn.Module, plan: dict[str, Precision], entries: tuple[LoweringEntry, ...], path: Path
) -> LoweringSummary:
    return BACKEND.lower(copy.deepcopy(module), plan, entries, path)


def run(path: Path, entry: LoweringEntry) -> Tensor:
    method = Runtime.get().load_program(path).load_method(entry.name)
    return method.execute(list(entry.inputs.values()))[0].clone()


class Text(nn.Module):
    """Token ids -> embeddings through a table and linear layers with and without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(300, 128)
        self.wide = nn.Linear(128, 512)
        self.narrow = nn.Linear(512, 128, bias=False)

    def forward(self, ids: Tensor, scale: Tensor) -> Tensor:
        x = self.table(ids)
        x = x + self.narrow(F.gelu(self.wide(x)))
        return torch.softmax(torch.bmm(x, x.transpose(1, 2)) * scale, dim=-1)


class Audio(nn.Module):
    """A decoder in miniature: dilated, pointwise, strided and transposed (1, K) convolutions.

    Takes and gives three axes, as the networks do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dilated = nn.Conv2d(64, 128, (1, 3), padding=(0, 3), dilation=(1, 3))
        self.pointwise = nn.Conv2d(128, 128, 1)
        self.down = nn.Conv2d(128, 64, (1, 8), stride=(1, 4), padding=(0, 2))
        self.up = nn.ConvTranspose2d(64, 32, (1, 8), stride=(1, 4), padding=(0, 2))
        self.rate = nn.Parameter(torch.rand(1, 128, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dilated(x.view(1, 64, 1, -1))
        x = x + torch.sin(x * self.rate).pow(2)
        x = self.up(self.down(x + self.pointwise(x)))
        return x.view(1, 32, -1)


def text_entry(tokens: int) -> LoweringEntry:
    ids = torch.arange(tokens, dtype=torch.int32)[None] * 7 % 300
    inputs = {"ids": ids, "scale": torch.full((1,), 0.1)}
    return LoweringEntry(f"tokens_{tokens}", None, inputs, ("weights",))


def audio_entry(frames: int) -> LoweringEntry:
    torch.manual_seed(frames)
    inputs = {"latent": torch.randn(1, 64, frames)}
    return LoweringEntry(f"frames_{frames}", frames, inputs, ("audio",))


# SNR in dB against the float network; the PyTorch simulation must be much closer than that.
BARS = {
    Precision.FP32: 100,
    Precision.FP16: 60,
    Precision.INT8_DYNAMIC: 30,
    Precision.INT8_WEIGHT_ONLY: 34,
}


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("network", ["text", "audio"])
def test_every_precision_lowers(network: str, precision: Precision, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = (Text() if network == "text" else Audio()).eval()
    entry = text_entry(16) if network == "text" else audio_entry(32)
    plan, path = everywhere(module, precision), tmp_path / "net.pte"
    summary = lower(module, plan, (entry,), path)

    assert summary.bytes == path.stat().st_size
    assert abs(summary.bytes - expected_bytes(module, plan)) < GRAPH_BYTES
    delegation = summary.delegation[entry.name]
    assert delegation.delegates == 1
    assert set(delegation.outside) <= {
        "aten.embedding.default",
        "dim_order_ops._to_dim_order_copy.default",
    }
    if network == "audio":
        assert not delegation.outside

    inputs = list(entry.inputs.values())
    with torch.no_grad():
        wanted = module(*inputs)
        layers = quantize_layers(copy.deepcopy(module), plan)
        halve_biases(layers)
        simulated = layers(*inputs)
    out = run(path, entry)
    assert snr(wanted, out) > BARS[precision]
    assert snr(simulated, out) > BARS[precision] + 10


def test_methods_share_their_weights(tmp_path: Path) -> None:
    module = Audio().eval()
    plan = everywhere(module, Precision.INT8_DYNAMIC)
    entries = (audio_entry(16), audio_entry(32))
    summary = lower(module, plan, entries, tmp_path / "net.pte")
    assert summary.bytes - expected_bytes(module, plan) < 2 * GRAPH_BYTES
    assert set(summary.delegation) == {"frames_16", "frames_32"}
    for entry in entries:
        with torch.no_grad():
            wanted = module(*entry.inputs.values())
        assert snr(wanted, run(tmp_path / "net.pte", entry)) > BARS[Precision.INT8_DYNAMIC]


class Windows(nn.Module):
    """Constants that are windows into one tensor, as slices of a table are."""

    def __init__(self) -> None:
        super().__init__()
        for name, window in zip(("first", "second"), torch.randn(128, 64).chunk(2), strict=True):
            self.register_buffer(name, window)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.linear(x, self.first), F.linear(x, self.second)], dim=-1)


def test_windows_into_larger_tensors_are_stored_alone(tmp_path: Path) -> None:
    module, path = Windows().eval(), tmp_path / "net.pte"
    entry = LoweringEntry("main", None, {"x": torch.randn(1, 3, 64)}, ("y",))
    with torch.no_grad():
        wanted = module(*entry.inputs.values())
    lower(module, {}, (entry,), path)
    assert snr(wanted, run(path, entry)) > 100


def test_mixed_precisions_stay_in_one_delegate(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, entry = Audio().eval(), audio_entry(32)
    plan = dict(zip(everywhere(module, Precision.FP32), Precision, strict=True))
    summary = lower(module, plan, (entry,), tmp_path / "mixed.pte")
    assert summary.delegation[entry.name].record() == {"delegates": 1}
    with torch.no_grad():
        wanted = module(*entry.inputs.values())
    assert snr(wanted, run(tmp_path / "mixed.pte", entry)) > 30


def test_biases_beyond_float16_are_refused(tmp_path: Path) -> None:
    module = Audio().eval()
    assert module.dilated.bias is not None
    with torch.no_grad():
        module.dilated.bias.fill_(1e5)
    plan = everywhere(module, Precision.FP16)
    with pytest.raises(ExportError, match=r"layer dilated: its biases exceed .*keep_float"):
        lower(module, plan, (audio_entry(32),), tmp_path / "net.pte")


class Untraceable(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.sum()) > 0 else -x


def test_failures_name_the_program_and_leave_nothing(tmp_path: Path) -> None:
    entry = audio_entry(32)
    with pytest.raises(ExportError, match=r"broken\.pte: tracing frames_32"):
        lower(Untraceable(), {}, (entry,), tmp_path / "broken.pte")
    two_outputs = LoweringEntry("frames_32", 32, entry.inputs, ("audio", "more"))
    with pytest.raises(ExportError, match="2 outputs"):
        lower(Audio(), {}, (two_outputs,), tmp_path / "broken.pte")
    with pytest.raises(OutputError, match="nowhere"):
        lower(nn.Conv1d(64, 8, 1), {}, (entry,), tmp_path / "nowhere" / "net.pte")
    assert not list(tmp_path.iterdir())


def test_backends_are_found_by_name() -> None:
    assert get_backend("executorch") is BACKEND
    assert tool_versions(BACKEND.spec.tools)["executorch"]
    with pytest.raises(InputError, match="'coreml'.*" + ", ".join(BACKENDS)):
        get_backend("coreml")
