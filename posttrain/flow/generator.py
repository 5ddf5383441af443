"""Text encoder, conditioner and DiT with gradients: a checkpoint's tensors in, the same out.

The networks that are trained are those of :mod:`arcmobile.export.model`, so what was trained is
what will run. They hold a checkpoint's tensors split and reshaped (fused projections apart, 1x1
convolutions as products). Where each parameter came from is found by building the networks again
from *places* instead of values: once from tensors that hold their own number, and twice from
tensors that count their values. A parameter of one whole number and of consecutive values is that
run of that tensor, and writing back is a copy. Parameters that are computed rather than moved
(Fourier features times 2 pi) come out as fractions; they stay fixed, as upstream keeps them. So do
tables that a network derives while it is built (rotary angles, the relative position bias).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
from arcmobile.export.checkpoint.random_weights import text_encoder_tensors
from arcmobile.export.model.conditioning import Conditioner
from arcmobile.export.model.config import ModelConfig, T5Config
from arcmobile.export.model.dit import DiffusionTransformer, rotary_frequencies
from arcmobile.export.model.weights import ShapeOnlySource, TensorSource, Weights
from arcmobile.posttrain.training.trainable import TRAINING, InMemorySource, require_fitting

_BLOCK = 4096  # places are counted in blocks and within them: float32 holds both exactly

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Conditioning:
    """What the DiT is conditioned on, in the layouts of :meth:`DiffusionTransformer.forward`.

    Attributes:
        global_cond: (B, embed_dim).
        cross_keys: (layers * B * heads, head_dim, cond_tokens).
        cross_values: (layers * B * heads, cond_tokens, head_dim).
    """

    global_cond: Tensor
    cross_keys: Tensor
    cross_values: Tensor

    def _by_prompt(self, flat: Tensor) -> Tensor:
        """(layers, B, heads, ...) of keys or values."""
        batch = len(self.global_cond)
        heads = self.global_cond.shape[1] // self.cross_values.shape[2]
        return flat.view(-1, batch, heads, *flat.shape[1:])

    def rows(self, index: Tensor) -> Conditioning:
        """Return the conditioning of the prompts ``index`` (N,) int64 of the batch."""
        return Conditioning(
            self.global_cond[index],
            self._by_prompt(self.cross_keys)[:, index].flatten(0, 2),
            self._by_prompt(self.cross_values)[:, index].flatten(0, 2),
        )

    def dropped(self, keep: Tensor) -> Conditioning:
        """Return the same without its cross tokens where ``keep`` (B,) is 0.

        Upstream's guidance guides away from cross tokens of zeros, with the global vector in place
        (stable-audio-tools, models/dit.py). No projection on their way has a bias, so zero values
        have the same effect, whatever the keys.
        """
        values = self._by_prompt(self.cross_values) * keep.view(1, -1, 1, 1, 1)
        return Conditioning(self.global_cond, self.cross_keys, values.flatten(0, 2))


class TrainableGenerator(nn.Module):
    """The generator of a checkpoint, from token ids to velocity.

    Args:
        config: of the model.
        text_config: of its text encoder.
        tensors: those of ``model.safetensors``; others than the generator's may be among them.
        text_tensors: those of ``text_encoder/model.safetensors``.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor has another shape.
    """

    def __init__(
        self, config: ModelConfig, text_config: T5Config, tensors: Tensors, text_tensors: Tensors
    ):
        super().__init__()
        self.config = config
        self.conditioner, self.dit, ledger = _networks(config, text_config, tensors, text_tensors)
        self._given = (
            {name: tensors[name].detach().float().cpu().clone() for name in ledger[0]},
            {name: text_tensors[name].detach().float().cpu().clone() for name in ledger[1]},
        )
        self._places = _places(config, text_config, self._given)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in self._places)

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters with gradients by name, in a fixed order."""
        return {name: value for name, value in self.named_parameters() if name in self._places}

    def condition(self, ids: Tensor, mask: Tensor, seconds: Tensor) -> Conditioning:
        """Compute what prompts and durations say to the DiT.

        Args:
            ids: (B, L) int64, L the config's prompt length.
            mask: (B, L) float, 1 = token, 0 = padding.
            seconds: (B,), given to every number conditioner.
        """
        numbers = [seconds] * len(self.conditioner.number_ids)
        return Conditioning(*self.conditioner(ids, mask, *numbers))

    def velocity(self, latent: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        """Map (B, channels, frames) at times (B,) to d latent / d t, of the same shape."""
        velocity: Tensor = self.dit(latent, timestep, *_parts(conditioning))
        return velocity

    def hidden_states(
        self, latent: Tensor, timestep: Tensor, conditioning: Conditioning
    ) -> list[Tensor]:
        """Return the output of each block, (B, prepended + frames, embed_dim)."""
        return self.dit.hidden_states(latent, timestep, *_parts(conditioning))

    def checkpoint_tensors(
        self, values: Tensors | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return float32 tensors of ``model.safetensors`` and of the text encoder.

        ``values`` replace the parameters of those names, a moving average for instance.
        """
        results = tuple({k: v.clone() for k, v in given.items()} for given in self._given)
        for name, parameter in self.trained_parameters().items():
            place = self._places[name]
            value = parameter if values is None else values.get(name, parameter)
            flat = results[place.file][place.tensor].view(-1)
            flat[place.start : place.start + value.numel()] = value.detach().flatten().cpu()
        return results[0], results[1]


def _parts(conditioning: Conditioning) -> tuple[Tensor, Tensor, Tensor]:
    return conditioning.global_cond, conditioning.cross_keys, conditioning.cross_values


@dataclass(frozen=True)
class _Place:
    """Where a parameter's values lie: in which file and tensor, from which value on."""

    file: int
    tensor: str
    start: int


def initial_tensors(
    config: ModelConfig, text_config: T5Config, seed: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Make tensors to start a training from; the velocity is zero at first.

    The last projection of every branch and of the output starts at zero, so that each block is the
    identity and gradients reach all of them alike (as in Peebles and Xie 2023, "Scalable Diffusion
    Models with Transformers", adaLN-Zero). The rest keeps the size of its input.
    """
    weights = Weights(ShapeOnlySource())
    Conditioner(config, text_config, weights, Weights(ShapeOnlySource()), TRAINING)
    DiffusionTransformer(config.dit, config.max_frames, weights.scope("model.model"), TRAINING)
    generator = torch.Generator().manual_seed(seed)
    model = {
        name: torch.randn(shape, generator=generator) * _first_std(name, shape) + _first_mean(name)
        for name, shape in weights.ledger.requested.items()
    }
    frequencies = "model.model.transformer.rotary_pos_emb.inv_freq"
    if frequencies in model:
        model[frequencies] = rotary_frequencies(2 * len(model[frequencies]))
    plans = text_encoder_tensors(text_config)
    return model, {plan.name: torch.from_numpy(plan.draw(seed)) for plan in plans}


_FOURIER = ("timestep_features.weight", "embedding.0.weights")
_ZERO_AT_FIRST = (
    "to_out.weight",
    "ff.ff.2.weight",
    "project_out.weight",
    "preprocess_conv.weight",
    "postprocess_conv.weight",
    "global_cond_embedder.2.weight",
    "to_scale_shift_gate",
    ".beta",
    ".bias",
)


def _first_std(name: str, shape: tuple[int, ...]) -> float:
    if name.endswith(_FOURIER):
        return 1.0
    if name.endswith(_ZERO_AT_FIRST) or len(shape) < 2:
        return 0.0
    return math.prod(shape[1:]) ** -0.5


def _first_mean(name: str) -> float:
    return 1.0 if name.endswith((".gamma", "_norm.weight", ".alpha", ".scale")) else 0.0


def _networks(
    config: ModelConfig, text_config: T5Config, tensors: Tensors, text_tensors: Tensors
) -> tuple[Conditioner, DiffusionTransformer, tuple[list[str], list[str]]]:
    """The networks, and the names of the tensors that they asked for (model, text encoder)."""
    weights = Weights(InMemorySource(tensors))
    text_weights = Weights(InMemorySource(text_tensors))
    conditioner = Conditioner(config, text_config, weights, text_weights, TRAINING)
    dit = DiffusionTransformer(
        config.dit, config.max_frames, weights.scope("model.model"), TRAINING
    )
    require_fitting(weights, text_weights)
    return conditioner, dit, (list(weights.ledger.requested), list(text_weights.ledger.requested))


def _places(
    config: ModelConfig, text_config: T5Config, given: tuple[Tensors, Tensors]
) -> dict[str, _Place]:
    """The place of every parameter that is a run of one tensor's values, by parameter name."""
    names = [(file, name) for file, tensors in enumerate(given) for name in tensors]

    def built(value: Callable[[int, Tensor], Tensor]) -> dict[str, Tensor]:
        """Parameters of networks whose tensors hold ``value(number, flat places)``."""
        replaced: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
        for number, (file, name) in enumerate(names, start=1):
            tensor = given[file][name]
            flat = value(number, torch.arange(tensor.numel())).float()
            replaced[file][name] = flat.view(tensor.shape)
        conditioner, dit, _ = _networks(config, text_config, *replaced)
        both = nn.ModuleDict({"conditioner": conditioner, "dit": dit})
        return {name: parameter.detach().flatten() for name, parameter in both.named_parameters()}

    numbers = built(lambda number, places: torch.full_like(places, number))
    blocks = built(lambda _, places: places // _BLOCK)
    within = built(lambda _, places: places % _BLOCK)
    found = {}
    for name, values in numbers.items():
        number = float(values[0])
        places = blocks[name].double() * _BLOCK + within[name].double()
        start = int(places[0])
        moved = number.is_integer() and bool((values == number).all())
        if moved and bool((places == torch.arange(start, start + len(places))).all()):
            found[name] = _Place(*names[int(number) - 1], start)
    return found


def base_generator(base: CheckpointFolder) -> TrainableGenerator:
    """Build the generator of a checkpoint.

    Raises:
        CheckpointError: the checkpoint is faulty.
    """
    require_sound(base)
    return TrainableGenerator(
        base.config, base.text_config, _read(base.source), _read(base.text_source)
    )


def _read(source: TensorSource) -> dict[str, Tensor]:
    return {name: source.read(name) for name in source.names() if "pretransform." not in name}
