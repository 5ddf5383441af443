"""What a recipe does to the sound: float32 and quantized networks side by side in PyTorch.

The quantized layers compute what the backends compute (quant/layers.py), on the networks in the
form that the backend gets; what lowering adds on top is in each bundle's manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from arcmobile.export.backends.base import Backend
from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.fidelity import cosine, snr_db
from arcmobile.export.manifest import SCHEDULE, folder_tokenizer
from arcmobile.export.pipeline import component_plan
from arcmobile.export.programs import (
    CONDITIONING,
    ComponentExamples,
    FramePlan,
    network_outputs,
    tokenize_example,
    walk_components,
)
from arcmobile.quant.layers import quantize_layers
from arcmobile.quant.plan import expected_bytes
from arcmobile.quant.recipes import Recipe
from arcmobile.runtime.noise import PhiloxNoise
from arcmobile.runtime.sampler import pingpong
from arcmobile.runtime.schedule import pingpong_schedule
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT

Array = NDArray[np.float32]
MEASURED = (CONDITIONER, DIT, DECODER)

_FFT, _HOP = 2048, 512  # samples
_FLOOR = 1e-5  # magnitude, -100 dB
_SEED = 7


def log_spectral_distance(reference: Array, actual: Array) -> float:
    """Return the mean over frames of the RMS difference of log magnitude spectra, in dB.

    Args:
        reference: ``(channels, samples)`` audio; Hann window of 2048 samples, hop 512.
        actual: audio of the same shape.
    """

    def spectrum(audio: Array) -> Tensor:
        window = torch.hann_window(_FFT)
        short = torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32))
        # A sound shorter than the window is followed by silence.
        short = torch.nn.functional.pad(short, (0, max(0, _FFT - short.shape[-1])))
        transform = torch.stft(short, _FFT, _HOP, window=window, return_complex=True)
        # Normalised so that a full-scale sine has magnitude 1.
        return 20 * torch.log10(transform.abs() / (window.sum() / 2) + _FLOOR)

    difference = spectrum(actual) - spectrum(reference)
    return float(difference.pow(2).mean(dim=-2).sqrt().mean())


@dataclass(frozen=True)
class Trajectory:
    """One generation: sampler states (steps + 1), velocities (steps), audio (channels, samples)."""

    times: Array
    states: list[Array]
    velocities: list[Array]
    audio: Array


@dataclass(frozen=True)
class ComponentMeasure:
    """One component under a recipe, on the same inputs as float32."""

    bytes: int
    snr_db: float | None
    cosine: float


@dataclass(frozen=True)
class RecipeMeasure:
    """A recipe against float32.

    Attributes:
        components: by name: size, SNR, cosine.
        velocity_snr_db: per step, on the float32 trajectory's own states (error of one step).
        state_snr_db: per step, free-running from the same noise (errors accumulate).
        audio_snr_db: of the waveform, whole chain quantized.
        log_spectral_distance_db: of the audio, whole chain quantized.
    """

    components: dict[str, ComponentMeasure]
    velocity_snr_db: list[float | None]
    state_snr_db: list[float | None]
    audio_snr_db: float | None
    log_spectral_distance_db: float

    @property
    def bytes(self) -> int:
        """Size of the weights of all components."""
        return sum(component.bytes for component in self.components.values())


def flat(tensors: Mapping[str, Tensor]) -> Array:
    """Return the values of all tensors in one row, in order."""
    return np.concatenate([tensor.numpy().ravel() for tensor in tensors.values()])


class Networks:
    """The three generating networks, float32 or under a recipe, with their example inputs.

    They are what ``backend`` gets: in its form (layers that it spells otherwise are quantized
    otherwise, e.g. upsampling as a product with a range per row) and in its precisions.
    """

    def __init__(
        self,
        folder: CheckpointFolder,
        frames: FramePlan,
        backend: Backend,
        recipe: Recipe | None = None,
    ):
        self.networks: dict[str, nn.Module] = {}
        self.bytes: dict[str, int] = {}
        self._config, self._frames = folder.config, frames
        self._tokens = tokenize_example(folder_tokenizer(folder))
        for name in MEASURED:
            network = folder.build(name, backend.form)
            if recipe is not None:
                plan = component_plan(name, network, recipe, backend)
                self.bytes[name] = expected_bytes(network, plan)
                network = quantize_layers(network, plan)
            self.networks[name] = network

    def walk(self) -> Iterator[ComponentExamples]:
        """Yield each component's example inputs and what its network gives for the largest."""
        for examples in walk_components(MEASURED, self._config, self._frames, self._tokens):
            examples.run(self.networks[examples.component], examples.largest)
            yield examples

    def conditioning(self) -> dict[str, Tensor]:
        """Return what the conditioner gives for the example prompt."""
        examples = next(self.walk())
        return examples.outputs[examples.largest.name]

    @torch.no_grad()
    def velocity(self, x: Array, t: float, conditioning: Mapping[str, Tensor]) -> Array:
        """Return the DiT's velocity at ``x`` (1, channels, frames) and time ``t``, 0 to 1."""
        cond = (conditioning[name] for name in CONDITIONING)
        v = self.networks[DIT](torch.from_numpy(x), torch.tensor([t]), *cond)
        return cast(Array, v.numpy())

    @torch.no_grad()
    def generate(self, steps: int, on_step: Callable[[], None] = lambda: None) -> Trajectory:
        """Generate audio from the example prompt by these networks, from a fixed seed."""
        conditioning = self.conditioning()
        states: list[Array] = []
        velocities: list[Array] = []

        def velocity(x: Array, t: np.float32) -> Array:
            v = self.velocity(x, float(t), conditioning)
            states.append(x)
            velocities.append(v)
            on_step()
            return v

        times = pingpong_schedule(
            steps, logsnr_start=SCHEDULE.logsnr_start, logsnr_end=SCHEDULE.logsnr_end
        )
        shape = (1, self._config.autoencoder.latent_dim, self._frames.counts[-1])
        latent = pingpong(velocity, times, PhiloxNoise(_SEED), shape)
        audio = self.networks[DECODER](torch.from_numpy(latent))[0].numpy()
        return Trajectory(times, [*states, latent], velocities, audio)


@torch.no_grad()
def measure_recipe(
    reference: Networks,
    trajectory: Trajectory,
    quantized: Networks,
    on_step: Callable[[], None] = lambda: None,
) -> RecipeMeasure:
    """Compare quantized networks with float32 ones that generated ``trajectory``."""
    components = {}
    for examples in reference.walk():
        name, entry = examples.component, examples.largest
        expected = flat(examples.outputs[entry.name])
        found = flat(network_outputs(quantized.networks[name], entry))
        components[name] = ComponentMeasure(
            bytes=quantized.bytes[name],
            snr_db=snr_db(expected, found),
            cosine=cosine(expected, found),
        )
    conditioning = reference.conditioning()
    velocity = []
    for x, t, v in zip(
        trajectory.states[:-1], trajectory.times[:-1], trajectory.velocities, strict=True
    ):
        velocity.append(snr_db(v, quantized.velocity(x, float(t), conditioning)))
        on_step()
    free = quantized.generate(len(trajectory.velocities), on_step)
    return RecipeMeasure(
        components=components,
        velocity_snr_db=velocity,
        state_snr_db=[
            snr_db(a, b) for a, b in zip(trajectory.states[1:], free.states[1:], strict=True)
        ],
        audio_snr_db=snr_db(trajectory.audio, free.audio),
        log_spectral_distance_db=log_spectral_distance(trajectory.audio, free.audio),
    )
