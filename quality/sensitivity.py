"""Per-layer sensitivity: the error each layer brings in when it alone is quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from arcmobile.export.fidelity import snr_db
from arcmobile.export.programs import network_outputs
from arcmobile.quality.measure import Networks, flat
from arcmobile.quant.layers import quantized
from arcmobile.quant.plan import quantizable_layers
from arcmobile.quant.precision import Precision


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer, quantized alone.

    Attributes:
        component, layer: where it is.
        weights: number of its weights.
        snr_db: of its component's output; None if nothing changed.
        noise_share: its part of the summed noise power of all layers of the component, 0 to 1.
    """

    component: str
    layer: str
    weights: int
    snr_db: float | None
    noise_share: float


@contextmanager
def _only_quantized(network: nn.Module, name: str, precision: Precision) -> Iterator[None]:
    parent = network.get_submodule(name.rpartition(".")[0])
    leaf = name.rpartition(".")[2]
    layer = network.get_submodule(name)
    setattr(parent, leaf, quantized(layer, precision))
    try:
        yield
    finally:
        setattr(parent, leaf, layer)


@torch.no_grad()
def rank_layers(
    networks: Networks,
    precision: Precision = Precision.INT8_DYNAMIC,
    on_layer: Callable[[str], None] = lambda name: None,
) -> list[LayerSensitivity]:
    """Rank the quantizable layers of the float32 networks, most harmful first in each component.

    The noise of layers quantized alone adds up to about that of quantizing them together, so
    ``noise_share`` says how much an exception in ``keep_float`` would buy.
    """
    ranking = []
    for examples in networks.walk():
        component, entry = examples.component, examples.largest
        network = networks.networks[component]
        reference = flat(examples.outputs[entry.name])
        power = float(np.sum(reference.astype(np.float64) ** 2))
        rows: list[tuple[str, int, float | None, float]] = []
        for name, layer in list(quantizable_layers(network)):
            on_layer(f"{component}.{name}")
            if precision is Precision.INT8_DYNAMIC and isinstance(layer, nn.Embedding):
                one = Precision.INT8_WEIGHT_ONLY
            else:
                one = precision
            with _only_quantized(network, name, one):
                found = flat(network_outputs(network, entry))
            ratio = snr_db(reference, found)
            noise = 0.0 if ratio is None else power * 10 ** (-ratio / 10)
            weight = layer.weight
            assert isinstance(weight, Tensor)
            rows.append((name, weight.numel(), ratio, noise))
        total = sum(noise for *_, noise in rows) or 1.0
        rows.sort(key=lambda row: -row[3])
        ranking += [
            LayerSensitivity(component, name, weights, ratio, noise / total)
            for name, weights, ratio, noise in rows
        ]
    return ranking
