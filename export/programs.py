"""Which programs a model is made of: entry points, example inputs, tensor shapes.

The example inputs are realistic (a real prompt, its conditioning, unit-variance latents), because
the same inputs measure how far the lowered program is from the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arcmobile.export.backends.base import LoweringEntry
from arcmobile.export.model.config import ModelConfig
from arcmobile.export.model.oobleck import decoder_context_frames, encoder_context_frames
from arcmobile.quant.recipes import Part
from arcmobile.runtime.bundle import AudioFormat, NumberInput, TensorSpec
from arcmobile.runtime.errors import InputError
from arcmobile.runtime.noise import normal_noise
from arcmobile.runtime.tensors import (
    ATTENTION_MASK,
    AUDIO,
    CONDITIONER,
    CROSS_KEYS,
    CROSS_VALUES,
    DECODER,
    DIT,
    ENCODER,
    GLOBAL_COND,
    INPUT_IDS,
    LATENT,
    MEAN,
    STDEV,
    TIMESTEP,
    VELOCITY,
)
from arcmobile.runtime.tokenizer import PromptTokenizer

# The window of the chunked decode is the largest that splits the trained duration into equal
# windows of at most this many frames: memory grows with the window, wasted overlap falls with it.
_MAX_WINDOW_FRAMES = 100

# Which part of the model a layer belongs to, by name prefix within its component.
PARTS: Mapping[str, Mapping[str, Part]] = {
    CONDITIONER: {
        "": Part.CONDITIONING,
        "text": Part.TEXT_ENCODER,
        "text.embedding": Part.TEXT_EMBEDDING,
    },
    DIT: {"": Part.DIT},
    DECODER: {"": Part.DECODER},
    ENCODER: {"": Part.ENCODER},
}

EXAMPLE_PROMPT = "warm analog synth pad with soft rain, 90 BPM"
# Mid-schedule: signal and noise both matter there.
_EXAMPLE_TIMESTEP = 0.75
_EXAMPLE_SEED = 20250


@dataclass(frozen=True)
class FramePlan:
    """Latent lengths a bundle is made for.

    Attributes:
        counts: latent lengths of the DiT, ascending.
        window: frames per window of the chunked decode.
        context: frames on each side of a window that are dropped (decoder and encoder alike).
    """

    counts: tuple[int, ...]
    window: int
    context: int

    def windows(self) -> tuple[int, ...]:
        """Latent lengths of the decoder and encoder: the window, and every shorter count."""
        return tuple(sorted({self.window, *(c for c in self.counts if c < self.window)}))


def plan_frames(
    config: ModelConfig, counts: Sequence[int] = (), window: int | None = None
) -> FramePlan:
    """Check the requested latent lengths, or choose: the trained length, and a good window.

    Raises:
        InputError: a count or the window is out of range.
    """
    longest, patch = config.max_frames, config.dit.patch_size
    chosen = tuple(sorted(set(counts))) or (longest,)
    for count in chosen:
        if not 1 <= count <= longest or count % patch:
            raise InputError(
                f"--frames {count}: must be 1 to {longest}"
                + (f" and a multiple of {patch}" if patch > 1 else "")
            )
    context = max(
        decoder_context_frames(config.autoencoder), encoder_context_frames(config.autoencoder)
    )
    top = chosen[-1]
    if window is None:
        pieces = 1
        while (width := math.ceil((top + 2 * context * (pieces - 1)) / pieces)) > max(
            _MAX_WINDOW_FRAMES, 2 * context + 1
        ):
            pieces += 1
        window = width
    elif not min(2 * context + 1, top) <= window <= top:
        raise InputError(f"--window {window}: must be {min(2 * context + 1, top)} to {top} frames")
    return FramePlan(chosen, window, context)


def audio_format(config: ModelConfig) -> AudioFormat:
    return AudioFormat(
        sample_rate=config.sample_rate,
        channels=config.autoencoder.decoder.config.out_channels,
        samples_per_frame=config.samples_per_frame,
        latent_channels=config.autoencoder.latent_dim,
    )


def number_inputs(config: ModelConfig) -> tuple[NumberInput, ...]:
    return tuple(
        NumberInput(name=number.id, minimum=number.config.min_val, maximum=number.config.max_val)
        for number in config.conditioning.numbers
    )


@dataclass(frozen=True)
class ExampleInputs:
    """Example inputs shared by the programs.

    Attributes:
        tokens: ``input_ids`` (1, N) int32 and ``attention_mask`` (1, N) float32.
        conditioning: the float32 conditioner's outputs for them, by tensor name.
    """

    tokens: Mapping[str, Tensor]
    conditioning: Mapping[str, Tensor]


def conditioner_inputs(config: ModelConfig, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inputs of the conditioner in call order: ids, mask, one number each (half of its range)."""
    inputs = {INPUT_IDS: tokens[INPUT_IDS], ATTENTION_MASK: tokens[ATTENTION_MASK]}
    seconds = config.sample_size / config.sample_rate
    for number in config.conditioning.numbers:
        low, high = number.config.min_val, number.config.max_val
        inputs[number.id] = torch.tensor([min(max(seconds, low), high)], dtype=torch.float32)
    return inputs


def _gaussian(stream: int, *shape: int) -> Tensor:
    return torch.from_numpy(normal_noise(_EXAMPLE_SEED, stream, shape))


def component_entries(
    component: str, config: ModelConfig, frames: FramePlan, examples: ExampleInputs
) -> list[LoweringEntry]:
    """The entry points of one component, smallest first."""
    channels = config.autoencoder.latent_dim
    if component == CONDITIONER:
        inputs = conditioner_inputs(config, examples.tokens)
        return [LoweringEntry("main", None, inputs, (GLOBAL_COND, CROSS_KEYS, CROSS_VALUES))]
    entries = []
    for count in frames.counts if component == DIT else frames.windows():
        name = f"frames_{count}"
        if component == DIT:
            inputs = {
                LATENT: _gaussian(0, 1, channels, count),
                TIMESTEP: torch.tensor([_EXAMPLE_TIMESTEP]),
                **{n: examples.conditioning[n] for n in (GLOBAL_COND, CROSS_KEYS, CROSS_VALUES)},
            }
            outputs: tuple[str, ...] = (VELOCITY,)
        elif component == DECODER:
            inputs, outputs = {LATENT: _gaussian(1, 1, channels, count)}, (AUDIO,)
        elif component == ENCODER:
            samples = count * config.samples_per_frame
            audio = _gaussian(2, 1, config.autoencoder.encoder.config.in_channels, samples)
            inputs, outputs = {AUDIO: audio * 0.1}, (MEAN, STDEV)
        else:
            raise ValueError(f"no component {component!r}")
        entries.append(LoweringEntry(name, count, inputs, outputs))
    return entries


def tokenize_example(tokenizer: PromptTokenizer) -> dict[str, Tensor]:
    """The example prompt's token inputs."""
    tokens = tokenizer(EXAMPLE_PROMPT)
    return {
        INPUT_IDS: torch.from_numpy(tokens.input_ids),
        ATTENTION_MASK: torch.from_numpy(tokens.attention_mask),
    }


def network_outputs(network: nn.Module, entry: LoweringEntry) -> dict[str, Tensor]:
    """Run a network on an entry's example inputs, on the device its weights are on."""
    device = next(network.parameters()).device
    with torch.no_grad():
        outputs = network(*(tensor.to(device) for tensor in entry.inputs.values()))
    named = outputs if isinstance(outputs, tuple) else (outputs,)
    # Contiguous, as programs hand them over: strides of an example would be lowered with it.
    return {name: t.contiguous() for name, t in zip(entry.outputs, named, strict=True)}


def tensor_specs(tensors: Mapping[str, Tensor]) -> tuple[TensorSpec, ...]:
    """Manifest entries for tensors, in order."""
    specs = []
    for name, tensor in tensors.items():
        integer = tensor.dtype == torch.int32
        shape = tuple(int(size) for size in tensor.shape)
        specs.append(TensorSpec(name=name, shape=shape, dtype="int32" if integer else "float32"))
    return tuple(specs)
