"""What a training is, apart from its networks and its data: settings with their defaults.

Imported by the command line, which says the defaults without PyTorch being installed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

from arcmobile.runtime.errors import InputError

_COUNT: Final = 1 << 20
_LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "seed": (0, (1 << 32) - 1),  # times a million plus the step it seeds a generator of 64 bits
    "steps": (1, 1 << 40),
    "samples": (1, 1 << 26),
    "floor": (1e-9, 1),
    "renoise_mean": (-20, 20),
    **dict.fromkeys(("sounds", "epochs", "held_out"), (1, _COUNT)),
    **dict.fromkeys(("batch", "resolutions", "discriminator_width", "head_layers"), (1, _COUNT)),
    **dict.fromkeys(("discriminator_every", "penalty_every", "warmup"), (1, _COUNT)),
    **dict.fromkeys(("average", "drop", "depth", "adversarial_from", "last_rate"), (0, 1)),
}
"""Smallest and largest value of settings; the others are finite and not negative."""


class _Settings:
    """Checks the numbers of a dataclass, which may come out of a file."""

    def __post_init__(self) -> None:
        """Raises InputError for a value of another type than its default, or out of range."""
        for field in fields(self):  # type: ignore[arg-type]
            default: Any = field.default
            value: Any = getattr(self, field.name)
            kind: Any = type(default)
            if kind is float and type(value) is int and abs(value) <= sys.float_info.max:
                object.__setattr__(self, field.name, value := float(value))
            if isinstance(default, StrEnum):
                if value not in [*kind]:
                    raise InputError(f"{field.name} {value!r}: give one of {', '.join(kind)}")
                object.__setattr__(self, field.name, kind(value))
            elif type(value) is not kind:
                raise InputError(f"{field.name} {value!r}: must be of type {kind.__name__}")
            elif kind is not bool:
                least, most = _LIMITS.get(field.name, (0, sys.float_info.max))
                if not least <= value <= most:
                    wanted = f"{least:g} to {most:g}" if field.name in _LIMITS else "0 or more"
                    raise InputError(f"{field.name} {value}: give {wanted}, and a finite number")


class Part(StrEnum):
    """What a training changes.

    ``DECODER`` leaves the encoder, and so the latents, as they are: it can go on while a generator
    is trained on them already. ``ENCODER`` only imitates a spectral code: a third of the time.
    """

    BOTH = "both"
    ENCODER = "encoder"
    DECODER = "decoder"


@dataclass(frozen=True)
class AutoencoderSettings(_Settings):
    """What a training is, apart from its networks and sounds. Steps count batches.

    Attributes:
        steps: length of the learning rate's decay; training ends there.
        samples: length of a crop, a multiple of the latent's ratio.
        learning_rate: reached after ``warmup`` steps, then a cosine down to ``last_rate`` of it.
        resolutions: FFT sizes per step, drawn among ``FFT_SIZES`` anew each time.
        floor: magnitude at which the logs of the losses end. Most of a sound's spectrogram is
            silence: with a low floor, silence everywhere is where training goes first and stays.
        logarithm: weight of the logs within the STFT distance.
        kl, mel, waveform, adversarial, features: weights; the STFT distance has weight 1.
        adversarial_from: fraction of ``steps`` at which the discriminator comes in.
        discriminator_every: steps between two of the discriminator's.
        average: decay of the moving average of the weights, which is what is written.
        clip: largest norm of a gradient.
        bfloat16: compute the autoencoder's products in bfloat16; weights and losses stay float32.
        part: what is trained; the rest stays as its average was.
        finest_units: run and train the residual units at the full rate too; most of a step's time.
        latent_noise: standard deviation of noise on latents besides the posterior's, so that the
            decoder puts up with a generator's errors.
        imitation: weight of the encoder's squared error, where there is a spectral code.
    """

    seed: int = 0
    steps: int = 4000
    batch: int = 4
    samples: int = 32768
    learning_rate: float = 2e-3
    warmup: int = 100
    last_rate: float = 0.03
    weight_decay: float = 1e-3
    resolutions: int = 2
    floor: float = 1e-2
    logarithm: float = 0.0
    kl: float = 1e-5
    mel: float = 0.1
    waveform: float = 0.05
    adversarial: float = 0.1
    features: float = 1.0
    adversarial_from: float = 0.7
    discriminator_every: int = 2
    discriminator_rate: float = 5e-4
    discriminator_width: int = 12
    average: float = 0.999
    clip: float = 1.0
    bfloat16: bool = False
    part: Part = Part.BOTH
    finest_units: bool = True
    latent_noise: float = 0.0
    imitation: float = 1.0

    def rate_at(self, step: int) -> float:
        """Fraction of the full learning rate at a step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.last_rate + (1 - self.last_rate) * 0.5 * (1 + math.cos(math.pi * done))

    @property
    def first_adversarial_step(self) -> int:
        return round(self.adversarial_from * self.steps)


@dataclass(frozen=True)
class TextSettings(_Settings):
    """``learning_rate`` falls to nothing along a cosine, after ``warmup`` steps."""

    seed: int = 0
    steps: int = 3000
    batch: int = 128
    learning_rate: float = 2e-3
    warmup: int = 50
    clip: float = 1.0


@dataclass(frozen=True)
class FlowSettings(_Settings):
    """What a training is, apart from its networks and sounds. Steps count batches.

    Attributes:
        steps: length of the learning rate's decay; training ends there.
        learning_rate: reached after ``warmup`` steps, then a straight line down to ``last_rate``
            of it.
        text_rate: fraction of it for the text encoder, which comes with training of its own.
        drop: share of sounds that are seen without their prompt.
        average: decay of the moving average of the weights, which is what is written.
        clip: largest norm of a gradient.
        bfloat16: run the networks in mixed precision; weights and losses stay float32.
    """

    seed: int = 0
    steps: int = 6000
    batch: int = 32
    learning_rate: float = 2e-3
    text_rate: float = 0.1
    warmup: int = 100
    last_rate: float = 0.05
    weight_decay: float = 0.01
    drop: float = 0.1
    average: float = 0.998
    clip: float = 1.0
    bfloat16: bool = False

    def rate_at(self, step: int) -> float:
        """Fraction of the full learning rate at a step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return 1 - (1 - self.last_rate) * done


@dataclass(frozen=True)
class ArcSettings(_Settings):
    """What a post-training is, apart from its base model and sounds. Steps count batches.

    Attributes:
        generator_rate, discriminator_rate: learning rates after ``warmup`` steps.
        generator_from: step at which the generator begins to move; until then the discriminator's
            new head learns alone.
        discriminator_every: steps between two of the discriminator's.
        contrastive: weight of the discriminator's loss on wrong prompts.
        penalty: weight of the smoothness penalty on real and generated inputs; 0 leaves it out.
        penalty_every: discriminator steps between two penalties, whose weight grows to match.
        penalty_noise: deviation it is measured with.
        flow: weight of the flow-matching loss, an anchor for short trainings; the paper has none.
        renoise_mean, renoise_std: of the logit of the discriminator's times.
        depth: fraction of the blocks below the discriminator's head.
        head_layers: halvings of its time axis.
        train_text: whether the text encoder moves too; its projections always do.
        average: decay of the moving average of the generator, which is what is written.
        clip: largest norm of a gradient.
        bfloat16: run the networks in mixed precision; weights and losses stay float32.
    """

    seed: int = 0
    steps: int = 20_000
    batch: int = 16
    generator_rate: float = 2e-5
    discriminator_rate: float = 5e-5
    warmup: int = 100
    generator_from: int = 100
    discriminator_every: int = 1
    contrastive: float = 1.0
    penalty: float = 0.1
    penalty_every: int = 4
    penalty_noise: float = 0.05
    flow: float = 0.0
    renoise_mean: float = 0.0
    renoise_std: float = 1.0
    depth: float = 0.75
    head_layers: int = 3
    train_text: bool = False
    average: float = 0.999
    clip: float = 1.0
    bfloat16: bool = False

    def rate_at(self, steps_done: int) -> float:
        """Fraction of the full learning rate after that many steps."""
        return min(1.0, (steps_done + 1) / max(1, self.warmup))


@dataclass(frozen=True)
class ClassifierSettings(_Settings):
    """``sounds`` of each class are drawn; ``rate`` is the highest of a one-cycle schedule."""

    sounds: int = 120
    epochs: int = 10
    batch: int = 32
    rate: float = 4e-3
    held_out: int = 20
    seed: int = 0
