"""Which programs a model consists of: entry points, example inputs, tensor shapes.

The example inputs are realistic (a real prompt, its conditioning, unit-variance latents), because
the same inputs measure how far the lowered program is from the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from arcmobile.export.backends.base import LoweringEntry
from arcmobile.export.model.config import ModelConfig
from arcmobile.export.model.oobleck import (
    decoder_context_frames,
    decoder_floats_per_frame,
    decoder_parts,
    decoder_rate,
    encoder_context_frames,
)
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
    FEATURES,
    GLOBAL_COND,
    INPUT_IDS,
    LATENT,
    MEAN,
    NEXT_FEATURES,
    STDEV,
    TIMESTEP,
    VELOCITY,
    decoder_part,
)
from arcmobile.runtime.tokenizer import PromptTokenizer

# Windows of the decoder and encoder are as long as keeps their largest float32 activation within
# this, which caches of phones and laptops hold, and take a third of the sound at most, so that the
# first of it does not wait for all. But no shorter than ten times the context, where a fifth is
# computed twice.
_LARGEST_ACTIVATION = 8 << 20
_LEAST_WINDOWS = 3
_LEAST_CONTEXTS = 10

# Which part of the model a layer belongs to: by stage, then by name prefix within its component.
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

CONDITIONING = (GLOBAL_COND, CROSS_KEYS, CROSS_VALUES)
"""What the conditioner gives and every call of the DiT takes."""

EXAMPLE_PROMPT = "warm analog synth pad with soft rain, 90 BPM"
# Mid-schedule: signal and noise both matter there.
_EXAMPLE_TIMESTEP = 0.75
_EXAMPLE_SEED = 20250


@dataclass(frozen=True)
class WindowPlan:
    """How long the inputs of a windowed component are.

    Attributes:
        component: its name.
        frames_per_latent: frames of its input per latent frame.
        window: frames of its input per call.
        context_frames: frames on each side of a window that are dropped.
    """

    component: str
    frames_per_latent: int
    window: int
    context_frames: int


@dataclass(frozen=True)
class FramePlan:
    """Latent lengths a bundle is made for.

    Attributes:
        counts: latent lengths of the DiT, ascending.
        decoder: the decoder's parts in order.
        encoder: the encoder, whose windows count latent frames.
    """

    counts: tuple[int, ...]
    decoder: tuple[WindowPlan, ...]
    encoder: WindowPlan

    def lengths(self, component: str) -> tuple[int, ...]:
        """Return a component's frame counts: its window, and every whole count below it."""
        if component in (DIT, DECODER):
            return self.counts
        plan = next(one for one in (*self.decoder, self.encoder) if one.component == component)
        counts = (count * plan.frames_per_latent for count in self.counts)
        return tuple(sorted({plan.window, *(count for count in counts if count < plan.window)}))


def plan_frames(
    config: ModelConfig,
    counts: Sequence[int] = (),
    window: int | None = None,
    *,
    whole_decoder: bool = False,
) -> FramePlan:
    """Check the requested latent lengths, or choose: the trained length, and good windows.

    Args:
        config: the model.
        counts: latent lengths of the DiT; none: the trained length.
        window: latent frames that a windowed program takes at most, 0 for all of them; None:
            chosen for each.
        whole_decoder: leave the decoder in one part.

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
    top = chosen[-1]
    if window is not None and not 0 <= window <= top:
        raise InputError(f"--window {window}: must be 0 (all) to {top} frames")
    autoencoder = config.autoencoder

    def plan(component: str, rate: int, context: int, floats: int) -> WindowPlan:
        total = top * rate
        most = (total + 2 * context * (_LEAST_WINDOWS - 1)) // _LEAST_WINDOWS + 1
        most = max(min(_LARGEST_ACTIVATION // (4 * floats), most), _LEAST_CONTEXTS * context)
        if window is not None:
            most = max((window or top) * rate, 2 * context + 1)
        return WindowPlan(component, rate, _equal_windows(total, context, most), context)

    parts = decoder_parts(autoencoder)
    if whole_decoder:
        parts = (range(parts[-1].stop),)
    ratio, width = config.samples_per_frame, autoencoder.encoder.config.stages[0][0]
    return FramePlan(
        counts=chosen,
        decoder=tuple(
            plan(
                decoder_part(index),
                decoder_rate(autoencoder, blocks.start),
                decoder_context_frames(autoencoder, blocks),
                decoder_floats_per_frame(autoencoder, blocks),
            )
            for index, blocks in enumerate(parts)
        ),
        encoder=plan(ENCODER, 1, encoder_context_frames(autoencoder), ratio * width),
    )


def _equal_windows(total: int, context: int, most: int) -> int:
    """Return the window of at most ``most`` frames that covers ``total`` in fewest equal steps."""
    if total <= most:
        return total
    most = max(most, 2 * context + 1)
    steps = math.ceil((total - 2 * context) / (most - 2 * context))
    return math.ceil((total - 2 * context) / steps) + 2 * context


def audio_format(config: ModelConfig) -> AudioFormat:
    """Return what the manifest says of the model's audio."""
    return AudioFormat(
        sample_rate=config.sample_rate,
        channels=config.autoencoder.decoder.config.out_channels,
        samples_per_frame=config.samples_per_frame,
        latent_channels=config.autoencoder.latent_dim,
    )


def number_inputs(config: ModelConfig) -> tuple[NumberInput, ...]:
    """Return the numbers that condition the model, with their ranges."""
    return tuple(
        NumberInput(name=number.id, minimum=number.config.min_val, maximum=number.config.max_val)
        for number in config.conditioning.numbers
    )


@dataclass(frozen=True)
class ComponentExamples:
    """A component's entry points with example inputs, and what a network gave for them.

    Attributes:
        component: its name.
        entries: smallest first.
        outputs: entry name -> tensor name -> values; filled by :meth:`run`.
    """

    component: str
    entries: tuple[LoweringEntry, ...]
    outputs: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    @property
    def largest(self) -> LoweringEntry:
        """The entry with the most frames."""
        return self.entries[-1]

    def run(self, network: nn.Module, entry: LoweringEntry) -> dict[str, Tensor]:
        """Run a network on an entry's example inputs, and keep the outputs."""
        self.outputs[entry.name] = network_outputs(network, entry)
        return self.outputs[entry.name]


def walk_components(
    components: Iterable[str], config: ModelConfig, frames: FramePlan, tokens: Mapping[str, Tensor]
) -> Iterator[ComponentExamples]:
    """Yield components in the order that data flows, each with inputs that the ones before gave.

    Whoever iterates runs the largest entry of a component before going on to one that takes its
    outputs. Networks are theirs to build and free; on ``meta`` tensors it is shapes that flow.

    Args:
        components: names in order; ``decoder`` is the decoder as a whole.
        config: the model.
        frames: latent lengths and windows.
        tokens: ``input_ids`` (1, N) int32 and ``attention_mask`` (1, N) float32.
    """
    known = dict(tokens)
    for component in components:
        entries = tuple(_component_entries(component, config, frames, known))
        examples = ComponentExamples(component, entries)
        yield examples
        known.update(examples.outputs.get(examples.largest.name, {}))


def _conditioner_inputs(config: ModelConfig, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the conditioner's inputs in call order: ids, mask, then the numbers."""
    inputs = {name: known[name] for name in (INPUT_IDS, ATTENTION_MASK)}
    seconds = config.sample_size / config.sample_rate
    for number in config.conditioning.numbers:
        low, high = number.config.min_val, number.config.max_val
        inputs[number.id] = torch.tensor([min(max(seconds, low), high)], dtype=torch.float32)
    return inputs


def _gaussian(stream: int, *shape: int) -> Tensor:
    return torch.from_numpy(normal_noise(_EXAMPLE_SEED, stream, shape))


def _component_entries(
    component: str, config: ModelConfig, frames: FramePlan, known: Mapping[str, Tensor]
) -> Iterator[LoweringEntry]:
    channels = config.autoencoder.latent_dim
    if component == CONDITIONER:
        inputs = _conditioner_inputs(config, known)
        yield LoweringEntry("main", None, inputs, CONDITIONING)
        return
    for count in frames.lengths(component):
        if component == DIT:
            inputs = {
                LATENT: _gaussian(0, 1, channels, count),
                TIMESTEP: torch.tensor([_EXAMPLE_TIMESTEP]),
                **{name: known[name] for name in CONDITIONING},
            }
            outputs: tuple[str, ...] = (VELOCITY,)
        elif component == ENCODER:
            samples = count * config.samples_per_frame
            audio = _gaussian(2, 1, config.autoencoder.encoder.config.in_channels, samples)
            inputs, outputs = {AUDIO: audio * 0.1}, (MEAN, STDEV)
        elif component in (DECODER, frames.decoder[0].component):
            inputs = {LATENT: _gaussian(1, 1, channels, count)}
            outputs = _decoder_outputs(component, frames)
        else:
            inputs = {FEATURES: _cut_or_repeat(known[NEXT_FEATURES], count)}
            outputs = _decoder_outputs(component, frames)
        yield LoweringEntry(f"frames_{count}", count, inputs, outputs)


def _decoder_outputs(component: str, frames: FramePlan) -> tuple[str, ...]:
    return (AUDIO if component in (DECODER, frames.decoder[-1].component) else NEXT_FEATURES,)


def _cut_or_repeat(features: Tensor, frames: int) -> Tensor:
    """Return the first ``frames`` of the features, which begin again where they end too early."""
    times = math.ceil(frames / features.shape[-1])
    return features.repeat(1, 1, times)[..., :frames].contiguous()


def tokenize_example(tokenizer: PromptTokenizer) -> dict[str, Tensor]:
    """Return the example prompt's token inputs."""
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
    """Return manifest entries for tensors, in order."""
    specs = []
    for name, tensor in tensors.items():
        integer = tensor.dtype == torch.int32
        shape = tuple(int(size) for size in tensor.shape)
        specs.append(TensorSpec(name=name, shape=shape, dtype="int32" if integer else "float32"))
    return tuple(specs)
