"""Requests to the pipeline, checked against the bundle before anything is loaded."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from arcmobile.runtime import tensors
from arcmobile.runtime.audio import Audio, InitAudio, fit_length, match_channels, read_init_audio
from arcmobile.runtime.bundle import AudioFormat, Manifest
from arcmobile.runtime.decode import PartPlan, plan_decoder
from arcmobile.runtime.errors import InputError
from arcmobile.runtime.noise import MAX_SEED, PhiloxNoise
from arcmobile.runtime.sampler import NoiseSource
from arcmobile.runtime.schedule import pingpong_schedule
from arcmobile.runtime.tokenizer import check_text

SECONDS_INPUT: Final = "seconds_total"  # the number input that takes the length of the sound
_LARGEST_NUMBER: Final = float(np.finfo(np.float32).max)
DEFAULT_NOISE_LEVEL: Final = 0.7  # with init audio: recognisable, yet free to follow the prompt

Stage = Literal["tokenize", "load", "conditioner", "encoder", "dit", "decode"]


@dataclass(frozen=True)
class ProgressEvent:
    """Progress of a stage.

    Attributes:
        stage: the stage that runs.
        done: sampler steps or decoded latent frames, else 0 or 1.
        total: value of ``done`` at the end of the stage.
        detail: component that is loaded, for the stage ``load``.
    """

    stage: Stage
    done: int
    total: int
    detail: str = ""


Progress = Callable[[ProgressEvent], None]


@dataclass(frozen=True, eq=False)
class GenerationRequest:
    """One sound to make.

    Attributes:
        prompt: text; the empty one is allowed.
        seconds: length of the result; ``None``: the longest the bundle can make.
        steps: sampler steps, 1 to 64; ``None``: the bundle's default.
        seed: 0 to 2^64 - 1; ``None``: a random one, which the result reports.
        init_audio: start from this sound instead of noise: a sound file, or float32 ``(channels,
            samples)`` at the model's sample rate. Padded with silence or cut to length.
        noise_level: share of ``init_audio`` that noise replaces, in (0, 1]; ``None``: 0.7.
        numbers: values of the model's number inputs by name; the default is ``seconds`` for
            ``seconds_total`` and the minimum for any other.
        noise: source of the noise in place of the generator the bundle names, e.g. recorded arrays.
    """

    prompt: str
    seconds: float | None = None
    steps: int | None = None
    seed: int | None = None
    init_audio: Audio | str | os.PathLike[str] | None = None
    noise_level: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    noise: NoiseSource | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """A request with every default filled in and every value in range.

    Attributes:
        prompt: text.
        samples: per channel of the result.
        frames: latent frames, an exported count.
        frames_needed: latent frames that the result covers.
        decoder: parts and windows of the decoder.
        times: of the sampler, float32 ``(steps + 1,)``.
        seed: of the noise.
        noise: source of the noise.
        init: sound to start from, float32 ``(1, channels, frames * samples_per_frame)``.
        numbers: number inputs, float32 ``(1,)``.
        warnings: lines for the user.
    """

    prompt: str
    samples: int
    frames: int
    frames_needed: int
    decoder: tuple[PartPlan, ...]
    times: NDArray[np.float32]
    seed: int
    noise: NoiseSource
    init: Audio | None
    numbers: Mapping[str, NDArray[np.float32]]
    warnings: tuple[str, ...]


def longest_seconds(manifest: Manifest) -> float:
    """Return the length in seconds of the longest sound the bundle can make."""
    audio = manifest.audio
    return max(manifest.frame_counts) * audio.samples_per_frame / audio.sample_rate


def make_plan(request: GenerationRequest, manifest: Manifest) -> Plan:
    """Check a request against a manifest and fill in its defaults; read the init audio.

    Raises:
        InputError: naming the option and its range.
    """
    check_text(request.prompt)
    audio = manifest.audio
    longest = longest_seconds(manifest)
    seconds = longest if request.seconds is None else request.seconds
    samples = _samples(seconds, longest, audio)
    needed = math.ceil(samples / audio.samples_per_frame)
    frames = min(count for count in manifest.frame_counts if count >= needed)
    schedule = manifest.schedule
    noise_level = _noise_level(request)
    steps = schedule.default_steps if request.steps is None else request.steps
    times = pingpong_schedule(
        steps,
        logsnr_start=schedule.logsnr_start,
        logsnr_end=schedule.logsnr_end,
        sigma_max=noise_level,
    )
    numbers, warnings = _numbers(request, seconds, manifest)
    if manifest.objective == "rectified_flow":
        warnings.append(
            f"a flow model: {steps} steps without guidance are not what it was trained for; "
            "use a model after ARC for few steps"
        )
    if steps > 1 and times[1] > times[0]:
        rise = float(times.max())
        warnings.append(
            f"noise level {noise_level:g} is below the schedule's end: with {steps} steps the "
            f"noise rises to {rise:.3f} on the way; use 1 step, or a level above {rise:.3f}"
        )
    init = _init_audio(request, frames, manifest)
    if init is not None:
        warnings += _init_audio_warnings(init, samples, audio)
    seed = secrets.randbits(64) if request.seed is None else request.seed
    if not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise InputError(f"--seed {seed}: give 0 to {MAX_SEED}")
    return Plan(
        prompt=request.prompt,
        samples=samples,
        frames=frames,
        frames_needed=needed,
        decoder=plan_decoder(manifest, frames),
        times=times,
        seed=seed,
        noise=request.noise or PhiloxNoise(seed),
        init=None if init is None else init.audio[np.newaxis],
        numbers=numbers,
        warnings=tuple(warnings),
    )


def _samples(seconds: float, longest: float, audio: AudioFormat) -> int:
    # In whole samples, so that rounding does not matter; and less than a latent frame too much is
    # the longest sound written with fewer digits: 11.9 for 11.888.
    most = round(longest * audio.sample_rate)
    # Compared first: the product of a large number would be infinite, which cannot be rounded.
    usable = isinstance(seconds, int | float) and 0 < seconds <= longest + 1
    samples = round(seconds * audio.sample_rate) if usable else 0
    if not 1 <= samples < most + audio.samples_per_frame:
        upper = math.floor(longest * 1000) / 1000
        raise InputError(f"--seconds {seconds}: give more than 0 and at most {upper:g}")
    return min(samples, most)


def _noise_level(request: GenerationRequest) -> float:
    if request.init_audio is None:
        if request.noise_level is not None:
            raise InputError(
                "--noise-level: needs a sound to start from; give --init-audio or leave it out"
            )
        return 1.0
    return DEFAULT_NOISE_LEVEL if request.noise_level is None else request.noise_level


def _numbers(
    request: GenerationRequest, seconds: float, manifest: Manifest
) -> tuple[dict[str, NDArray[np.float32]], list[str]]:
    known = {number.name: number for number in manifest.numbers}
    for name, value in request.numbers.items():
        if name not in known:
            raise InputError(f"--number {name}: the model has no such input; known: {[*known]}")
        if not isinstance(value, int | float) or not abs(value) <= _LARGEST_NUMBER:
            raise InputError(f"--number {name}: is {value}; give a finite value")
    values: dict[str, NDArray[np.float32]] = {}
    warnings: list[str] = []
    for name, spec in known.items():
        default = seconds if name == SECONDS_INPUT else spec.minimum
        value = request.numbers.get(name, default)
        if not spec.minimum <= value <= spec.maximum:
            warnings.append(
                f"{name} {value:g} is outside {spec.minimum:g} .. {spec.maximum:g}; "
                "the model takes the nearest value"
            )
        values[name] = np.array([value], np.float32)
    return values, warnings


def _init_audio(request: GenerationRequest, frames: int, manifest: Manifest) -> InitAudio | None:
    init = request.init_audio
    if init is None:
        return None
    if tensors.ENCODER not in manifest.components:
        raise InputError("--init-audio: this bundle has no encoder; export it again with --encoder")
    audio = manifest.audio
    samples = frames * audio.samples_per_frame
    if isinstance(init, np.ndarray):
        if init.ndim != 2 or init.size == 0 or not np.isfinite(init).all():
            raise InputError("init audio: give finite float32 samples of shape (channels, samples)")
        matched = match_channels(init.astype(np.float32, copy=False), audio.channels)
        return InitAudio(fit_length(matched, samples), matched.shape[1])
    return read_init_audio(
        init, sample_rate=audio.sample_rate, channels=audio.channels, samples=samples
    )


def _init_audio_warnings(init: InitAudio, samples: int, audio: AudioFormat) -> list[str]:
    """Warn where the init audio is longer than the model takes or shorter than the result.

    Less than a latent frame is ignored, as in the length of the sound.
    """
    taken = init.audio.shape[1]
    if init.found > taken:
        return [f"the init audio was cut to its first {taken / audio.sample_rate:.2f} s"]
    if init.found <= samples - audio.samples_per_frame:
        return [
            f"the init audio ends after {init.found / audio.sample_rate:.2f} s; silence fills the "
            "rest"
        ]
    return []
