"""A trainable Oobleck autoencoder: a checkpoint's tensors in, the same out.

The networks that are trained are those of :mod:`arcmobile.export.model.oobleck`, so what was
trained is what will run. Two reparametrizations of torch restore what a checkpoint holds: weight
norm (``weight_g``, ``weight_v``) and the logs of snake's frequency and inverse amplitude
(``alpha``, ``beta``). The optimizer then moves exactly the tensors that are written.

Initial values: convolutions as in He et al. 2015, "Delving Deep into Rectifiers", with gain 1
(snake is close to the identity for small inputs), the last convolution of every residual unit
smaller (as in Zhang et al. 2019, "Fixup Initialization", but not zero), snake's logs 0 (Ziyin et
al. 2020, "Neural Networks Fail to Learn Periodic Functions", and upstream).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from arcmobile.export.model.autoencoder_config import AutoencoderConfig
from arcmobile.export.model.oobleck import OobleckDecoder, OobleckEncoder, Snake
from arcmobile.export.model.weights import ShapeOnlySource, Weights
from arcmobile.posttrain.autoencoder.filterbanks import mel_spaced_pairs, spaced_tones
from arcmobile.posttrain.autoencoder.spectral_code import SpectralCode
from arcmobile.posttrain.sounds import MODEL_SAMPLE_RATE
from arcmobile.posttrain.training.trainable import TRAINING, InMemorySource, require_fitting

PREFIX = "pretransform.model"
"""Where a checkpoint keeps its autoencoder."""

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_RESIDUAL_GAIN = 0.2
_UPSAMPLING_GAIN = 0.7
# Sounds have an rms of about 0.1. Made unit size by the first convolution, they reach the latent
# well above its first noise, and the output follows the input's loudness before anything is
# learned. With gains of 1 latents drowned in noise, and training ended in silence.
_FIRST_GAIN = 8.0
_LAST_GAIN = 0.1
_FINEST_GAIN = 1e-3  # of residual units at the full rate, besides that of all units
# Logs of snake's frequency and inverse amplitude. Next to samples it would only distort; before the
# synthesis about 50 x^2 makes magnitudes of their roots.
_SQUARED = 50.0
_STRAIGHT, _SQUARE = (-3.0, 0.0), (math.log(0.1), math.log(0.1**2 / _SQUARED))
_CODED_UNIT_GAIN = 0.1  # of residual units between a code and its tones, besides that of all units
_CODED_NOISE = 0.002
_LONG_HOP = 32  # samples, from which on a stage starts as a transform
_FIRST_NOISE = -3.0  # before softplus: a standard deviation of 0.05
# Of weight_v, whose size only sets how far a step of Adam rotates it: the same in wide layers as in
# narrow ones. At its size in use, wide layers rotated by 6 % a step, and nothing was learned.
_DIRECTION_STD = 0.25
_RESIDUAL_END = ".layers.3"  # last convolution of a residual unit


class LogOf(nn.Module):
    """Stores ``sign * log(value)`` of a positive tensor in the checkpoint's shape (channels,)."""

    def __init__(self, shape: torch.Size, sign: int):
        super().__init__()
        self.shape, self.sign = shape, sign

    def forward(self, log: Tensor) -> Tensor:
        """Return the positive tensor."""
        return (self.sign * log).exp().view(self.shape)

    def right_inverse(self, value: Tensor) -> Tensor:
        """Return what is stored for a positive tensor."""
        return self.sign * value.log().flatten()


class TrainableAutoencoder(nn.Module):
    """Encoder and decoder with gradients, at latent scale 1.

    Args:
        config: sizes of both.
        tensors: by checkpoint name.

    Attributes:
        layers: the layer of each checkpoint prefix, in the order of construction.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor has another shape.
    """

    def __init__(self, config: AutoencoderConfig, tensors: Mapping[str, Tensor]):
        super().__init__()
        encoder_weights = Weights(InMemorySource(tensors)).scope(PREFIX)
        decoder_weights = Weights(InMemorySource(tensors)).scope(PREFIX)
        self.encoder = OobleckEncoder(config, 1.0, encoder_weights, TRAINING)
        self.decoder = OobleckDecoder(config, 1.0, decoder_weights, TRAINING)
        self.layers: dict[str, nn.Module] = {}
        for network, weights in ((self.encoder, encoder_weights), (self.decoder, decoder_weights)):
            require_fitting(weights)
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

    def bypass_finest_units(self) -> None:
        """Leave out the residual units at the full rate, which keep their values.

        They take most of a step's time. With values from :func:`initial_tensors` they add next to
        nothing, so that a first part of training can do without them.
        """
        for block in (self.encoder.blocks[0], self.decoder.blocks[-1]):
            block.units.requires_grad_(False)
            block.units = nn.Identity()

    def encode(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 2, samples) to posterior mean and standard deviation, (B, latent_dim, frames)."""
        mean, stdev = self.encoder(audio)
        return mean, stdev

    def decode(self, latent: Tensor) -> Tensor:
        """Map (B, latent_dim, frames) to (B, 2, samples)."""
        audio: Tensor = self.decoder(latent)
        return audio

    def forward(
        self,
        audio: Tensor,
        noise: Tensor,
        offset: Tensor | float = 0.0,
        coded: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruct sounds.

        Args:
            audio: (B, 2, samples).
            noise: standard normal, (B, latent_dim, frames): samples the posterior.
            offset: added to the latents.
            coded: latents to decode in place of the encoder's.

        Returns:
            Reconstruction, posterior mean and standard deviation.
        """
        mean, stdev = self.encode(audio)
        latent = mean + stdev * noise if coded is None else coded
        return self.decode(latent + offset), mean, stdev

    def named_tensors(self) -> dict[str, nn.Parameter]:
        """Return the parameters by checkpoint name, in a fixed order, some with a height of 1."""
        found: dict[str, nn.Parameter] = {}
        for prefix, layer in self.layers.items():
            for suffix, path in _parameter_paths(layer).items():
                found[f"{prefix}.{suffix}"] = layer.get_parameter(path)
        return found

    def checkpoint_tensors(self) -> dict[str, Tensor]:
        """Return copies of the parameters in a checkpoint's names and shapes, on the CPU."""
        return {name: _flat(tensor) for name, tensor in self.named_tensors().items()}

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the exact values: reparametrizing rounded the folded ones."""
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
    """Return name and shape of every tensor of the autoencoder, in the order of construction."""
    weights = Weights(ShapeOnlySource())
    scope = weights.scope(PREFIX)
    OobleckEncoder(config, 1.0, scope, TRAINING)
    OobleckDecoder(config, 1.0, scope, TRAINING)
    return weights.ledger.requested


def initial_tensors(
    config: AutoencoderConfig, seed: int, code: SpectralCode | None = None
) -> dict[str, Tensor]:
    """Make float32 tensors to start training from.

    With a ``code`` the decoder decodes the code's latents from the start.
    """
    generator = torch.Generator().manual_seed(seed)
    ones = {name: torch.ones(shape) for name, shape in expected_shapes(config).items()}
    tensors: dict[str, Tensor] = {}
    for prefix, layer in TrainableAutoencoder(config, ones).layers.items():
        for suffix in _parameter_paths(layer):
            name = f"{prefix}.{suffix}"
            tensors[name] = torch.zeros_like(ones[name])  # biases, and snake's logs
        if not isinstance(layer, Snake):
            direction = torch.randn(ones[f"{prefix}.weight_v"].shape, generator=generator)
            norm = direction.flatten(1).norm(dim=1) * _weight_std(prefix, layer)
            tensors[f"{prefix}.weight_v"] = direction * _DIRECTION_STD
            tensors[f"{prefix}.weight_g"] = norm.view(ones[f"{prefix}.weight_g"].shape)
    for name in _finest_unit_ends(config):
        tensors[f"{name}.weight_g"] *= _FINEST_GAIN
    weights = _spectral_weights(config, generator)
    if code:
        weights |= _decoder_of_code(config, code, generator)
        upsampling = f"{PREFIX}.decoder.layers.1.layers"
        tensors[f"{upsampling}.1.bias"] = code.mean.mean(0)
        tensors[f"{upsampling}.0.alpha"][: config.latent_dim] = _STRAIGHT[0]
        for unit in range(3):
            tensors[f"{upsampling}.{2 + unit}{_RESIDUAL_END}.weight_g"] *= _CODED_UNIT_GAIN
    for name, weight in weights.items():
        tensors[f"{name}.weight_v"] = weight * (_DIRECTION_STD / weight.std())
        norm = weight.flatten(1).norm(dim=1)
        tensors[f"{name}.weight_g"] = norm.view(ones[f"{name}.weight_g"].shape)
    for name, (frequency, amplitude) in _snakes_at_a_transform(config).items():
        tensors[f"{name}.alpha"].fill_(frequency)
        tensors[f"{name}.beta"].fill_(amplitude)
    # The encoder's last bias: latents begin with little noise, or nothing learns to use them.
    stages = len(config.encoder.config.stages)
    tensors[f"{PREFIX}.encoder.layers.{stages + 2}.bias"][config.latent_dim :] = _FIRST_NOISE
    return tensors


def _finest_unit_ends(config: AutoencoderConfig) -> list[str]:
    """Last convolutions of the residual units at the full rate."""
    last = len(config.decoder.config.stages)
    first_units = [f"{PREFIX}.encoder.layers.1.layers.{unit}" for unit in range(3)]
    last_units = [f"{PREFIX}.decoder.layers.{last}.layers.{2 + unit}" for unit in range(3)]
    return [f"{unit}{_RESIDUAL_END}" for unit in (*first_units, *last_units)]


def _snakes_at_a_transform(config: AutoencoderConfig) -> dict[str, tuple[float, float]]:
    """Snakes before analysis, before and after synthesis, where these are a long hop."""
    if min(config.encoder.config.strides[0], config.decoder.config.strides[0]) < _LONG_HOP:
        return {}
    last = len(config.decoder.config.stages)
    decoder = f"{PREFIX}.decoder.layers"
    return {
        f"{PREFIX}.encoder.layers.1.layers.3": _STRAIGHT,
        f"{decoder}.{last}.layers.0": _SQUARE,
        f"{decoder}.{last + 1}": _STRAIGHT,
    }


def _spectral_weights(config: AutoencoderConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights by layer that turn stereo samples into spectra, and spectra into samples.

    For networks whose stage at the full rate is a long hop: empty for any other. The stage keeps
    the sides in its first channels, at unit size; their bands are separate channels.
    """
    analysis_hop, wide = config.encoder.config.strides[0], config.encoder.config.stages[0][1]
    synthesis_hop = config.decoder.config.strides[0]
    narrow, spectrum = config.decoder.config.stages[0][:2]
    sides = config.io_channels
    if min(analysis_hop, synthesis_hop) < _LONG_HOP or narrow < sides:
        return {}
    encoder, decoder = f"{PREFIX}.encoder.layers", f"{PREFIX}.decoder.layers"
    last = len(config.decoder.config.stages)
    tones = spaced_tones(spectrum // sides, synthesis_hop)
    pairs = mel_spaced_pairs(wide // 2 // sides, 2 * analysis_hop, MODEL_SAMPLE_RATE)

    def noise(*shape: int) -> Tensor:
        return 0.1 * torch.randn(shape, generator=generator)

    enter = _FIRST_GAIN / (7 * sides) ** 0.5 * noise(narrow, sides, 7)
    leave = 1 / _FIRST_GAIN / (7 * narrow) ** 0.5 * noise(sides, narrow, 7)
    analysis = noise(wide, narrow, 2 * analysis_hop) / (2 * analysis_hop * narrow) ** 0.5
    synthesis = noise(spectrum, narrow, 2 * synthesis_hop) / (2 * synthesis_hop * narrow) ** 0.5
    for side in range(sides):
        enter[side, side, 3] += _FIRST_GAIN
        leave[side, side, 3] += 1 / _FIRST_GAIN
        analysis[side * len(pairs) : (side + 1) * len(pairs), side] += pairs
        synthesis[side * len(tones) : (side + 1) * len(tones), side] += tones
    return {
        f"{encoder}.0": enter,
        f"{encoder}.1.layers.4": analysis,
        f"{decoder}.{last}.layers.1": synthesis / _SQUARED,
        f"{decoder}.{last + 2}": leave,
    }


def _decoder_of_code(
    config: AutoencoderConfig, code: SpectralCode, generator: torch.Generator
) -> dict[str, Tensor]:
    """Weights by layer with which the decoder inverts the code: linear, square, tones."""
    decoder = f"{PREFIX}.decoder.layers"
    wide = config.decoder.config.stages[1][1]
    parts, tones = code.mean.shape
    latent = config.latent_dim

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    enter = noise(wide, latent, 7) / (7 * latent) ** 0.5
    enter[:latent] = 0
    enter[range(latent), range(latent), 3] = 1
    spread = _CODED_NOISE * noise(wide, tones, 2 * parts)
    first = (parts + 1) // 2  # of a latent's own frames among the taps
    spread[:latent, :, first : first + parts] += (
        code.components.transpose(1, 2) * code.spread[:, None, None]
    )
    synthesis = spaced_tones(tones, code.hop)[:, None]
    return {
        f"{decoder}.0": enter,
        f"{decoder}.1.layers.1": spread,
        f"{decoder}.2.layers.1": synthesis * (code.gain * _FIRST_GAIN / _SQUARED),
    }


def _weight_std(prefix: str, layer: nn.Module) -> float:
    """1 / sqrt(products that are summed into one output), less at the end of a residual unit."""
    assert isinstance(layer, _CONVOLUTIONS)
    if isinstance(layer, nn.ConvTranspose2d):
        summed = layer.in_channels * layer.kernel_size[1] / layer.stride[1]
        return _UPSAMPLING_GAIN * summed**-0.5
    ends_unit = prefix.endswith(_RESIDUAL_END) and layer.kernel_size[1] == 1
    gain = _RESIDUAL_GAIN if ends_unit else 1.0
    if layer.bias is None:  # the decoder's last
        gain = _LAST_GAIN
    elif prefix == f"{PREFIX}.encoder.layers.0":
        gain = _FIRST_GAIN
    return gain * (layer.in_channels * layer.kernel_size[1]) ** -0.5
