"""A trainable Oobleck autoencoder: a checkpoint's tensors in, a checkpoint's tensors out.

The networks that are trained are those of :mod:`arcmobile.export.model.oobleck`, so what was
trained is what will run. Two reparametrizations of torch restore what a checkpoint holds: weight
norm (``weight_g``, ``weight_v``) and the logs of snake's frequency and inverse amplitude
(``alpha``, ``beta``). The optimiser then moves exactly the tensors that are written.

Initial values: convolutions as in He et al. 2015, "Delving Deep into Rectifiers", with gain 1
(snake is close to the identity for small inputs), the last convolution of every residual unit
smaller (as in Zhang et al. 2019, "Fixup Initialization", but not zero), snake's logs 0 (Ziyin et
al. 2020, "Neural Networks Fail to Learn Periodic Functions", and upstream).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from arcmobile.export.model.config import AutoencoderConfig
from arcmobile.export.model.oobleck import OobleckDecoder, OobleckEncoder, Snake
from arcmobile.export.model.primitives import NetworkForm
from arcmobile.export.model.weights import ShapeOnlySource, Weights

PREFIX = "pretransform.model"
"""Where a checkpoint keeps its autoencoder."""

# (1, K) kernels on (B, C, 1, T) in channels-last order: about twice as fast on CPUs as Conv1d.
TRAINING = NetworkForm("training", fused_norm=True, fused_attention=True, flat_conv=False)

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_RESIDUAL_GAIN = 0.5
_LAST_GAIN = 0.02  # of the decoder, the one without bias: training starts near silence
_RESIDUAL_END = ".layers.3"  # last convolution of a residual unit


class LogOf(nn.Module):
    """Stores ``sign * log(value)`` of a positive tensor in the checkpoint's shape (channels,)."""

    def __init__(self, shape: torch.Size, sign: int):
        super().__init__()
        self.shape, self.sign = shape, sign

    def forward(self, log: Tensor) -> Tensor:
        return (self.sign * log).exp().view(self.shape)

    def right_inverse(self, value: Tensor) -> Tensor:
        return self.sign * value.log().flatten()


class _MappingSource:
    """Tensors by name, as the networks ask for them."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        self._tensors = tensors

    def names(self) -> list[str]:
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...] | None:
        return tuple(self._tensors[name].shape) if name in self._tensors else None

    def read(self, name: str) -> Tensor:
        return self._tensors[name].detach().clone()


class TrainableAutoencoder(nn.Module):
    """Encoder and decoder with gradients, at latent scale 1.

    Attributes: ``layers``, the layer of each checkpoint prefix, in the order of construction.
    """

    def __init__(self, config: AutoencoderConfig, tensors: Mapping[str, Tensor]):
        """``tensors`` by checkpoint name; raises KeyError or ValueError where they do not fit."""
        super().__init__()
        encoder_weights = Weights(_MappingSource(tensors)).scope(PREFIX)
        decoder_weights = Weights(_MappingSource(tensors)).scope(PREFIX)
        self.encoder = OobleckEncoder(config, 1.0, encoder_weights, TRAINING)
        self.decoder = OobleckDecoder(config, 1.0, decoder_weights, TRAINING)
        self.layers: dict[str, nn.Module] = {}
        for network, weights in ((self.encoder, encoder_weights), (self.decoder, decoder_weights)):
            if weights.ledger.missing:
                raise KeyError(weights.ledger.missing[0])
            if weights.ledger.wrong_shape:
                raise ValueError(weights.ledger.wrong_shape[0])
            # A network asks for its tensors in the order in which it keeps its layers.
            prefixes = dict.fromkeys(name.rpartition(".")[0] for name in weights.ledger.requested)
            layers = [
                layer for layer in network.modules() if isinstance(layer, (Snake, *_CONVOLUTIONS))
            ]
            self.layers.update(zip(prefixes, layers, strict=True))
        for layer in self.layers.values():
            _reparametrize(layer)
        self.requires_grad_(True)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._restore(tensors)

    def encode(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2, samples) -> posterior mean and standard deviation, (B, latent_dim, frames)."""
        mean, stdev = self.encoder(audio)
        return mean, stdev

    def decode(self, latent: Tensor) -> Tensor:
        """(B, latent_dim, frames) -> (B, 2, samples)."""
        audio: Tensor = self.decoder(latent)
        return audio

    def forward(self, audio: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Audio and unit noise in the latent's shape -> (reconstruction, mean, stdev)."""
        mean, stdev = self.encode(audio)
        return self.decode(mean + stdev * noise), mean, stdev

    def named_tensors(self) -> dict[str, nn.Parameter]:
        """The parameters by checkpoint name, in a fixed order; shapes differ (a height of 1)."""
        found: dict[str, nn.Parameter] = {}
        for prefix, layer in self.layers.items():
            for suffix, path in _parameter_paths(layer).items():
                found[f"{prefix}.{suffix}"] = layer.get_parameter(path)
        return found

    def checkpoint_tensors(self) -> dict[str, Tensor]:
        """Copies of the parameters under a checkpoint's names and in its shapes, on the CPU."""
        return {name: _flat(tensor) for name, tensor in self.named_tensors().items()}

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Sets the very values: reparametrizing went through the folded ones."""
        with torch.no_grad():
            for name, tensor in self.named_tensors().items():
                tensor.copy_(tensors[name].view(tensor.shape))


def _parameter_paths(layer: nn.Module) -> dict[str, str]:
    """Checkpoint suffix -> where torch keeps that parameter below the layer."""
    if isinstance(layer, Snake):
        return {
            "alpha": "parametrizations.frequency.original",
            "beta": "parametrizations.amplitude.original",
        }
    paths = {
        "weight_v": "parametrizations.weight.original1",
        "weight_g": "parametrizations.weight.original0",
    }
    return paths if layer.bias is None else {**paths, "bias": "bias"}


def _reparametrize(layer: nn.Module) -> None:
    if isinstance(layer, Snake):
        for name, sign in (("frequency", 1), ("amplitude", -1)):
            shape = layer.get_parameter(name).shape
            parametrize.register_parametrization(layer, name, LogOf(shape, sign))
    else:
        parametrizations.weight_norm(layer, dim=0)


def _flat(tensor: Tensor) -> Tensor:
    """Without the height of (1, K) kernels, contiguous, owning its memory."""
    kept = tensor.detach().cpu()
    flat = kept.squeeze(2) if kept.dim() == 4 else kept
    return flat.clone(memory_format=torch.contiguous_format)


def expected_shapes(config: AutoencoderConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the autoencoder, in the order of construction."""
    weights = Weights(ShapeOnlySource())
    scope = weights.scope(PREFIX)
    OobleckEncoder(config, 1.0, scope, TRAINING)
    OobleckDecoder(config, 1.0, scope, TRAINING)
    return weights.ledger.requested


def initial_tensors(config: AutoencoderConfig, seed: int) -> dict[str, Tensor]:
    """Float32 tensors to start training from; ``seed`` 0 or more."""
    generator = torch.Generator().manual_seed(seed)
    ones = {name: torch.ones(shape) for name, shape in expected_shapes(config).items()}
    tensors: dict[str, Tensor] = {}
    for prefix, layer in TrainableAutoencoder(config, ones).layers.items():
        for suffix in _parameter_paths(layer):
            name = f"{prefix}.{suffix}"
            tensors[name] = torch.zeros_like(ones[name])  # biases, and snake's logs
        if not isinstance(layer, Snake):
            direction = torch.randn(ones[f"{prefix}.weight_v"].shape, generator=generator)
            direction *= _weight_std(prefix, layer)
            tensors[f"{prefix}.weight_v"] = direction
            norm = direction.flatten(1).norm(dim=1)
            tensors[f"{prefix}.weight_g"] = norm.view(ones[f"{prefix}.weight_g"].shape)
    return tensors


def _weight_std(prefix: str, layer: nn.Module) -> float:
    """1 / sqrt(products that are summed into one output), less at the end of a residual unit."""
    assert isinstance(layer, _CONVOLUTIONS)
    if isinstance(layer, nn.ConvTranspose2d):
        return (layer.in_channels * layer.kernel_size[1] / layer.stride[1]) ** -0.5
    ends_unit = prefix.endswith(_RESIDUAL_END) and layer.kernel_size[1] == 1
    gain = _RESIDUAL_GAIN if ends_unit else _LAST_GAIN if layer.bias is None else 1.0
    return gain * (layer.in_channels * layer.kernel_size[1]) ** -0.5
