"""Settings of every training: each with its default, its range and, if it has one, its option.

The command line makes its options out of these declarations
(:mod:`arcmobile.cli.posttrain_options`), so they import no PyTorch.
"""

from __future__ import annotations

import math
import sys
from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

from arcmobile.runtime.errors import InputError

_COUNT: Final = 1 << 20
_METADATA: Final = "setting"


@dataclass(frozen=True)
class Setting:
    """What a field of a settings class may be.

    Attributes:
        help: help text of the command-line option; a setting without one has no option.
        option: option name, where it is not the name of the field.
        least: smallest value; None for values that are not numbers.
        most: largest value.
    """

    help: str | None = None
    option: str | None = None
    least: float | None = None
    most: float | None = None

    @classmethod
    def of(cls, declared: Field[Any]) -> Setting:
        """Return the declaration of a dataclass field made by :func:`_setting`."""
        found: Setting = declared.metadata[_METADATA]
        return found


def _setting(
    default: Any,
    help: str | None = None,
    option: str | None = None,
    least: float | None = 0,
    most: float | None = None,
) -> Any:
    """Declare a setting; numbers are finite and not negative unless a range is given."""
    kept = Setting(help, option, least, most)
    return field(default=default, metadata={_METADATA: kept})


def _count(default: int, help: str | None = None, least: int = 1) -> Any:
    """Declare a whole number from ``least`` on."""
    return _setting(default, help, least=least, most=_COUNT)


def _fraction(default: float, help: str | None = None) -> Any:
    """Declare a number from 0 to 1."""
    return _setting(default, help, most=1)


def _seed() -> Any:
    """Declare the seed of a training; times a million it still seeds a 64-bit generator."""
    return _setting(0, "Seed of weights, data and noise.", most=(1 << 32) - 1)


def _steps(default: int) -> Any:
    """Declare the number of steps after which a training ends."""
    return _setting(default, "Steps to train for.", least=1, most=1 << 40)


def _rate(default: float, help: str | None = None, option: str | None = None) -> Any:
    """Declare a learning rate."""
    return _setting(default, help, option)


class _Settings:
    """Checks the values of a settings dataclass, which may have been read from a file."""

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            InputError: a value is of another type than its default, or out of range.
        """
        for declared in fields(self):  # type: ignore[arg-type]
            value: Any = getattr(self, declared.name)
            kind: Any = type(declared.default)
            if kind is float and type(value) is int and abs(value) <= sys.float_info.max:
                object.__setattr__(self, declared.name, value := float(value))
            if issubclass(kind, StrEnum):
                if value not in [*kind]:
                    raise InputError(f"{declared.name} {value!r}: give one of {', '.join(kind)}")
                object.__setattr__(self, declared.name, kind(value))
            elif type(value) is not kind:
                raise InputError(f"{declared.name} {value!r}: must be of type {kind.__name__}")
            elif kind is not bool:
                _check_range(declared.name, value, Setting.of(declared))


def _check_range(name: str, value: float, declared: Setting) -> None:
    least = 0 if declared.least is None else declared.least
    most = sys.float_info.max if declared.most is None else declared.most
    if not least <= value <= most:
        wanted = f"{least:g} or more" if declared.most is None else f"{least:g} to {most:g}"
        raise InputError(f"{name} {value}: give {wanted}, and a finite number")


def warm_up(step: int, steps: int) -> float:
    """Return the fraction of the learning rate at a step (from 0) of a linear warm-up."""
    return min(1.0, (step + 1) / max(1, steps))


def decay_progress(step: int, warmup: int, steps: int) -> float:
    """Return how much of a decay from ``warmup`` to ``steps`` is over, 0 to 1."""
    return min(1.0, max(0.0, (step - warmup) / max(1, steps - warmup)))


class Part(StrEnum):
    """Part of the autoencoder that a training changes.

    ``DECODER`` leaves the encoder, and so the latents, as they are: it can go on while a generator
    is trained on them already. ``ENCODER`` only imitates a spectral code: a third of the time.
    """

    BOTH = "both"
    ENCODER = "encoder"
    DECODER = "decoder"


@dataclass(frozen=True)
class AutoencoderSettings(_Settings):
    """Settings of the autoencoder's training; steps count batches.

    Attributes:
        seed: of weights, crops and noise.
        steps: length of the learning rate's decay; training ends there.
        batch: crops per step.
        samples: length of a crop, a multiple of the latent's ratio.
        learning_rate: reached after ``warmup`` steps, then a cosine down to ``last_rate`` of it.
        warmup: steps of the linear warm-up.
        last_rate: fraction of the learning rate at the end.
        weight_decay: of AdamW.
        resolutions: FFT sizes per step, drawn from ``FFT_SIZES`` anew each time.
        floor: magnitude at which the logs of the losses end. Most of a sound's spectrogram is
            silence: with a low floor, silence everywhere is where training goes first and stays.
        logarithm: weight of the logs within the STFT distance.
        kl: weight of the KL divergence; the STFT distance has weight 1.
        mel: weight of the log-mel distance.
        waveform: weight of the waveform distance.
        adversarial: weight of the discriminator's score.
        features: weight of the distance between the discriminator's features.
        adversarial_from: fraction of ``steps`` at which the discriminator comes in.
        discriminator_every: steps between two steps of the discriminator.
        discriminator_rate: its learning rate.
        discriminator_width: its channels.
        average: decay of the moving average of the weights, which is what is written.
        clip: largest norm of a gradient.
        bfloat16: compute the autoencoder's products in bfloat16; weights and losses stay float32.
        part: what is trained; the rest stays as its average was.
        finest_units: train the residual units at the full rate too: most of a step's time.
        latent_noise: standard deviation of noise on latents besides the posterior's, so that the
            decoder tolerates a generator's errors.
        imitation: weight of the encoder's squared error, where there is a spectral code.
    """

    seed: int = _seed()
    steps: int = _steps(4000)
    batch: int = _count(4, "Crops per step.")
    samples: int = _setting(32768, least=1, most=1 << 26)
    learning_rate: float = _rate(2e-3)
    warmup: int = _count(100)
    last_rate: float = _fraction(0.03)
    weight_decay: float = _setting(1e-3)
    resolutions: int = _count(2)
    floor: float = _setting(1e-2, least=1e-9, most=1)
    logarithm: float = _setting(0.0)
    kl: float = _setting(1e-5)
    mel: float = _setting(0.1)
    waveform: float = _setting(0.05)
    adversarial: float = _setting(0.1)
    features: float = _setting(1.0)
    adversarial_from: float = _fraction(0.7, "Fraction of the steps before the discriminator.")
    discriminator_every: int = _count(2)
    discriminator_rate: float = _rate(5e-4)
    discriminator_width: int = _count(12)
    average: float = _fraction(0.999)
    clip: float = _setting(1.0)
    bfloat16: bool = _setting(False, "Compute products in bfloat16.", "--bfloat16/--float32")
    part: Part = _setting(  # noqa: RUF009 - a field, as all of them
        Part.BOTH, "Train one part only; encoder needs a spectral code."
    )
    finest_units: bool = _setting(
        True, "Train the residual units at the full rate: most of a step's time."
    )
    latent_noise: float = _setting(0.0, "Noise on latents, for a tolerant decoder.")
    imitation: float = _setting(1.0)

    def rate_at(self, step: int) -> float:
        """Return the fraction of the full learning rate at a step, counted from 0."""
        if step < self.warmup:
            return warm_up(step, self.warmup)
        done = decay_progress(step, self.warmup, self.steps)
        return self.last_rate + (1 - self.last_rate) * 0.5 * (1 + math.cos(math.pi * done))

    @property
    def first_adversarial_step(self) -> int:
        """The step at which the discriminator comes in."""
        return round(self.adversarial_from * self.steps)


@dataclass(frozen=True)
class TextSettings(_Settings):
    """Settings of the text encoder's training; steps count batches.

    Attributes:
        seed: of weights and captions.
        steps: length of the learning rate's decay; training ends there.
        batch: captions per step.
        learning_rate: reached after ``warmup`` steps; a cosine takes it to 0.
        warmup: steps of the linear warm-up.
        clip: largest norm of a gradient.
    """

    seed: int = _seed()
    steps: int = _steps(3000)
    batch: int = _count(128)
    learning_rate: float = _rate(2e-3, "Learning rate.", "--rate")
    warmup: int = _count(50)
    clip: float = _setting(1.0)

    def rate_at(self, step: int) -> float:
        """Return the fraction of the full learning rate at a step, counted from 0."""
        done = min(step / self.steps, 1.0)
        return warm_up(step, self.warmup) * (0.5 + 0.5 * math.cos(math.pi * done))


@dataclass(frozen=True)
class FlowSettings(_Settings):
    """Settings of flow matching; steps count batches.

    Attributes:
        seed: of data and noise.
        steps: length of the learning rate's decay; training ends there.
        batch: sounds per step.
        learning_rate: reached after ``warmup`` steps, then a straight line down to ``last_rate``
            of it.
        text_rate: fraction of it for the text encoder, which has been trained before.
        warmup: steps of the linear warm-up.
        last_rate: fraction of the learning rate at the end.
        weight_decay: of Muon and AdamW.
        drop: share of sounds that are seen without their prompt.
        average: decay of the moving average of the weights, which is what is written.
        clip: largest norm of a gradient.
        bfloat16: run the networks in mixed precision; weights and losses stay float32.
    """

    seed: int = _seed()
    steps: int = _steps(6000)
    batch: int = _count(32, "Sounds per step.")
    learning_rate: float = _rate(2e-3, "Learning rate.", "--rate")
    text_rate: float = _setting(0.1)
    warmup: int = _count(100)
    last_rate: float = _fraction(0.05)
    weight_decay: float = _setting(0.01)
    drop: float = _fraction(0.1)
    average: float = _fraction(0.998)
    clip: float = _setting(1.0)
    bfloat16: bool = _setting(False, "Mixed precision.")

    def rate_at(self, step: int) -> float:
        """Return the fraction of the full learning rate at a step, counted from 0."""
        if step < self.warmup:
            return warm_up(step, self.warmup)
        return 1 - (1 - self.last_rate) * decay_progress(step, self.warmup, self.steps)


@dataclass(frozen=True)
class ArcSettings(_Settings):
    """Settings of ARC post-training; steps count batches.

    Attributes:
        seed: of the discriminator's head, data and noise.
        steps: training ends there.
        batch: sounds per step.
        generator_rate: learning rate of the generator after ``warmup`` steps.
        discriminator_rate: learning rate of the discriminator after ``warmup`` steps.
        warmup: steps of the linear warm-up.
        generator_from: step at which the generator begins to move; until then the discriminator's
            new head learns alone.
        discriminator_every: steps between two steps of the discriminator.
        contrastive: weight of the contrastive loss.
        penalty: weight of the smoothness penalty on real and generated inputs; 0 leaves it out.
        penalty_every: discriminator steps between two penalties, whose weight grows to match.
        penalty_noise: standard deviation of the noise that it is measured with.
        flow: weight of the flow-matching loss, an anchor for short trainings; the paper has none.
        renoise_mean: mean of the logit of the discriminator's noise levels.
        renoise_std: its standard deviation.
        depth: fraction of the blocks below the discriminator's head.
        head_layers: strided convolutions of the head.
        train_text: whether the text encoder moves too; its projections always do.
        average: decay of the moving average of the generator, which is what is written.
        clip: largest norm of a gradient.
        bfloat16: run the networks in mixed precision; weights and losses stay float32.
    """

    seed: int = _seed()
    steps: int = _steps(20_000)
    batch: int = _count(16, "Sounds per step.", least=2)
    generator_rate: float = _rate(2e-5, "Learning rate of the generator.", "--rate")
    discriminator_rate: float = _rate(5e-5, "Learning rate of the discriminator.")
    warmup: int = _count(100)
    generator_from: int = _setting(100)
    discriminator_every: int = _count(1)
    contrastive: float = _setting(1.0, "Weight of the contrastive loss.")
    penalty: float = _setting(0.1, "Weight of the discriminator's smoothness penalty.")
    penalty_every: int = _count(4)
    penalty_noise: float = _setting(0.05)
    flow: float = _setting(0.0, "Weight of the flow-matching loss, an anchor.")
    renoise_mean: float = _setting(
        0.0,
        "Mean logit of the discriminator's noise levels; lower values look at details.",
        least=-20,
        most=20,
    )
    renoise_std: float = _setting(1.0)
    depth: float = _fraction(0.75)
    head_layers: int = _count(3)
    train_text: bool = _setting(False)
    average: float = _fraction(
        0.999, "Decay of the weights' moving average, which is written; lower for short trainings."
    )
    clip: float = _setting(1.0)
    bfloat16: bool = _setting(False, "Mixed precision.")

    def rate_at(self, step: int) -> float:
        """Return the fraction of the full learning rate at a step, counted from 0."""
        return warm_up(step, self.warmup)


@dataclass(frozen=True)
class ClassifierSettings(_Settings):
    """Settings of the sound classifier's training.

    Attributes:
        sounds: synthesized sounds of each class.
        epochs: passes over them.
        batch: sounds per step.
        rate: highest learning rate of a one-cycle schedule.
        held_out: held-out sounds of each class that its accuracy is measured on.
        seed: of sounds, weights and augmentation.
    """

    sounds: int = _count(120, "Synthesized sounds of each class.", least=2)
    epochs: int = _count(10, "Passes over the sounds.")
    batch: int = _count(32)
    rate: float = _setting(4e-3)
    held_out: int = _count(20)
    seed: int = _seed()
