"""XNNPACK's weight cache, on in Android builds: no layer is taken for another."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lowering import lower
from native_binaries import output
from torch import Tensor, nn

from arcmobile.export.backends import weight_cache
from arcmobile.export.backends.base import LoweringEntry
from arcmobile.export.backends.executorch import BACKEND
from arcmobile.quant.plan import quantizable_layers
from arcmobile.quant.precision import Precision
from arcmobile.runtime.errors import ExportError


class Twins(nn.Module):
    """Layers with the same integers and other scales, in every kind that packs weights."""

    def __init__(self, factor: float = 3.0, bias: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.narrow = nn.Linear(16, 8)
        self.wide = nn.Linear(8, 16)
        self.conv = nn.Conv2d(16, 16, (1, 3), padding=(0, 1))
        self.strided = nn.Conv2d(16, 16, (1, 3), stride=(1, 2), padding=(0, 1))
        self.pointwise = nn.Conv2d(16, 16, 1)
        self.up = nn.ConvTranspose2d(16, 16, (1, 3), stride=(1, 2), padding=(0, 1))
        self.other_up = nn.ConvTranspose2d(16, 16, (1, 3), padding=(0, 1))
        values = torch.randn(16, 16, 1, 3, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            for layer in (self.conv, self.strided, self.up, self.other_up):
                layer.weight.copy_(values)
            self.first.weight.copy_(values[:, :, 0, 0])
            self.pointwise.weight.copy_(values[:, :, :, :1])
            self.narrow.weight.copy_(values[:8, :, 0, 0])
            self.wide.weight.copy_(values[:8, :, 0, 0].reshape(16, 8))
            for _, layer in quantizable_layers(self):
                assert isinstance(layer.bias, Tensor)
                layer.bias.fill_(bias)
        self.second = copy.deepcopy(self.first)
        self.second_conv = copy.deepcopy(self.conv)
        with torch.no_grad():
            self.second.weight.mul_(factor)
            self.second_conv.weight.mul_(factor)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        columns = x.transpose(1, 2).reshape(1, 16, 1, -1)
        rows = (self.first(x), self.second(x), self.wide(self.narrow(x)))
        convolved = (self.conv(columns), self.second_conv(columns), self.pointwise(columns))
        resampled = (self.up(self.strided(columns)), self.other_up(columns))
        return (*rows, *(one.flatten(1) for one in (*convolved, *resampled)))


ENTRY = LoweringEntry(
    "main",
    None,
    {"x": torch.randn(1, 12, 16, generator=torch.Generator().manual_seed(2))},
    tuple("abcdefgh"),
)


def run(folder: Path, programs: list[Path], *cache: str) -> list[np.ndarray]:
    """Every output of every program, from one process of the probe that loads them all."""
    given = folder / "x"
    given.write_bytes(ENTRY.inputs["x"].numpy().tobytes())
    calls = [
        {
            "program": str(path),
            "method": "main",
            "inputs": [str(given)],
            "outputs": [str(folder / f"{path.stem}.{name}") for name in ENTRY.outputs],
        }
        for path in programs
    ]
    (folder / "calls.json").write_text(json.dumps(calls))
    output("arcmobile-probe", "calls", folder / "calls.json", *cache)
    files = [Path(file) for call in calls for file in call["outputs"]]
    return [np.fromfile(file, np.float32) for file in files]


def test_equal_bytes_are_not_taken_for_equal_layers(tmp_path: Path) -> None:
    # Programs of one process share the cache: the same integers for other kernels, other biases.
    networks = [(Twins(), precision) for precision in Precision]
    networks.append((Twins(1.0, bias=0.5), Precision.INT8_DYNAMIC))
    programs = []
    for index, (network, precision) in enumerate(networks):
        plan = {layer: precision for layer, _ in quantizable_layers(network)}
        programs.append(tmp_path / f"{index}.pte")
        lower(BACKEND, network.eval(), plan, [ENTRY], programs[-1])
    for plain, cached in zip(
        run(tmp_path, programs), run(tmp_path, programs, "weight-cache"), strict=True
    ):
        assert np.isfinite(plain).all()
        np.testing.assert_array_equal(cached, plain)


def test_equal_layers_are_stored_once(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(256, 256), nn.Linear(256, 256)).eval()
    network[1] = copy.deepcopy(network[0])
    entry = LoweringEntry("main", None, {"x": torch.randn(1, 4, 256)}, ("y",))
    for precision in Precision:
        plan = {name: precision for name, _ in quantizable_layers(network)}
        size = lower(BACKEND, network, plan, [entry], tmp_path / "net.pte").bytes
        assert size < 1.5 * 256 * 256 * precision.weight_bytes


@pytest.mark.parametrize("cache", [(), ("weight-cache",)])
def test_probe_says_what_it_cannot_load(tmp_path: Path, cache: tuple[str, ...]) -> None:
    (tmp_path / "broken.pte").write_bytes(b"no program")
    with pytest.raises(AssertionError, match=r"error: .*broken\.pte: loading failed"):
        run(tmp_path, [tmp_path / "broken.pte"], *cache)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'error: dit.pte: loading failed' >&2; exit 2", r"\(dit\.pte: loading failed\)"),
        ("kill -SEGV $$", r"\(exit code -11\)"),
        ("while :; do echo on and on >&2; done", "prints without end"),
        ("exec sleep 60", "did not end within 0.2 s"),
    ],
)
def test_a_probe_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    probe = tmp_path / "probe"
    probe.write_text(f"#!/bin/sh\n{script}\n")
    probe.chmod(0o755)
    monkeypatch.setattr(weight_cache, "PROBE", probe)
    if "sleep" in script:
        monkeypatch.setattr(weight_cache, "_TIMEOUT", 0.2)
    with pytest.raises(ExportError, match=words) as error:
        weight_cache.check_weight_cache([])
    assert "make native" in str(error.value)
