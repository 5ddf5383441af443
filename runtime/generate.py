"""Prompt to sound: tokenizer -> conditioner -> (encoder) -> sampler over the DiT -> decoder.

The pipeline drives every engine in the same way. It holds at most one stage in memory at a time
when asked to (``low_memory``), and hands out samples window by window (``stream``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from arcmobile.runtime import tensors
from arcmobile.runtime.audio import Audio
from arcmobile.runtime.bundle import Bundle, Manifest
from arcmobile.runtime.decode import choose_window, plan_decoder
from arcmobile.runtime.engine import Engine, EngineOptions, open_engine
from arcmobile.runtime.errors import BundleError
from arcmobile.runtime.noise import NOISE_ID
from arcmobile.runtime.request import GenerationRequest, Progress, ProgressEvent
from arcmobile.runtime.stages import Job, Stages, Timings
from arcmobile.runtime.tokenizer import PromptTokenizer

__all__ = [
    "AudioStream",
    "GenerationRequest",
    "GenerationResult",
    "Pipeline",
    "ProgressEvent",
    "Timings",
]


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """A sound and how it came about.

    Attributes:
        audio: float32 ``(channels, samples)``, neither normalised nor clipped, cut to the seconds
            asked for.
        sample_rate: Hz.
        seed: the seed used, drawn or given.
        warnings: what the user should hear about.
        timings: seconds by stage.
        peak_memory: peak resident bytes by stage, if the pipeline measures memory; else empty.
    """

    audio: Audio
    sample_rate: int
    seed: int
    warnings: tuple[str, ...]
    timings: Timings
    peak_memory: Mapping[str, int]

    @property
    def seconds(self) -> float:
        return self.audio.shape[1] / self.sample_rate

    @property
    def rtf(self) -> float:
        """Real-time factor: seconds of computing (without loading) per second of sound."""
        return self.timings.compute / self.seconds


class AudioStream(Iterator[Audio]):
    """Chunks of a sound, float32 ``(channels, any)``, in order; what is needed runs on ``next``.

    ``samples`` (per channel) is known from the start; a decoder with odd strides may end a few
    samples short of it. ``timings`` and ``peak_memory`` are complete when the stream has ended.
    """

    def __init__(self, chunks: Iterator[Audio], job: Job, manifest: Manifest) -> None:
        self._chunks = chunks
        self.sample_rate = manifest.audio.sample_rate
        self.channels = manifest.audio.channels
        self.samples = job.plan.samples
        self.seed = job.plan.seed
        self.warnings = job.warnings
        self.timings = job.timings
        self.peak_memory: Mapping[str, int] = job.peak_memory

    def __next__(self) -> Audio:
        return next(self._chunks)

    def result(self) -> GenerationResult:
        """Runs the stream to its end and returns everything at once."""
        return GenerationResult(
            audio=np.concatenate(list(self), axis=1),
            sample_rate=self.sample_rate,
            seed=self.seed,
            warnings=self.warnings,
            timings=self.timings,
            peak_memory=self.peak_memory,
        )


class Pipeline:
    """Generates sound with an engine. Close it, or use it as a context manager."""

    def __init__(
        self,
        engine: Engine,
        manifest: Manifest,
        tokenizer: PromptTokenizer,
        *,
        low_memory: bool = False,
        measure_memory: bool = False,
    ) -> None:
        """``low_memory`` frees each stage before the next is loaded, at the price of loading again.

        ``measure_memory`` records the peak resident memory of each stage; on Linux it resets the
        peak of the whole process. Raises :class:`BundleError` for a bundle that asks for a noise
        generator this version does not have, or whose decoder cannot decode its latents.
        """
        if manifest.noise != NOISE_ID:
            raise BundleError(
                f"noise generator {manifest.noise!r} is unknown (known: {NOISE_ID}); "
                "upgrade arcmobile or export the bundle again"
            )
        for frames in manifest.frame_counts:
            plan_decoder(manifest, frames)
            if tensors.ENCODER in manifest.components:
                windows = manifest.components[tensors.ENCODER].windows
                choose_window(frames, windows, manifest.windowing.encoder_context_frames)
        self.engine = engine
        self.manifest = manifest
        self.tokenizer = tokenizer
        self._low_memory = low_memory
        self._measure_memory = measure_memory

    @classmethod
    def open(
        cls,
        bundle: Bundle | str | os.PathLike[str],
        options: EngineOptions | None = None,
        *,
        low_memory: bool = False,
        measure_memory: bool = False,
    ) -> Pipeline:
        """A pipeline for a bundle or its folder, on the engine of its backend; loads nothing yet.

        Raises :class:`BundleError` or :class:`EngineError` if the bundle or its engine is unfit.
        """
        if not isinstance(bundle, Bundle):
            bundle = Bundle.open(bundle)
        return cls(
            open_engine(bundle, options),
            bundle.manifest,
            PromptTokenizer.from_bundle(bundle),
            low_memory=low_memory,
            measure_memory=measure_memory,
        )

    def close(self) -> None:
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def generate(
        self,
        request: GenerationRequest,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> GenerationResult:
        """Makes one sound. Raises :class:`InputError` for a request out of range.

        ``cancelled`` is asked between steps and windows; a yes raises
        :class:`~arcmobile.runtime.sampler.Cancelled`.
        """
        return self.stream(request, progress=progress, cancelled=cancelled).result()

    def stream(
        self,
        request: GenerationRequest,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> AudioStream:
        """Like :meth:`generate`, but samples come as each window is decoded."""
        return next(self.stream_many([request], progress=progress, cancelled=cancelled))

    def stream_many(
        self,
        requests: Iterable[GenerationRequest],
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[AudioStream]:
        """One stream per request, in order, on programs that are loaded once; run each to its end.

        All requests are checked before anything runs. With ``low_memory`` every request goes
        through a stage before the next stage is loaded, so the first sound comes late.
        """
        stages = Stages(
            self.engine,
            self.manifest,
            self.tokenizer,
            measure_memory=self._measure_memory,
            progress=progress,
            cancelled=cancelled,
        )
        jobs = [stages.start(request) for request in requests]
        if self._low_memory:
            for stage in stages.before_decode:
                for job in jobs:
                    stage(job, free=job is jobs[-1])
        return (
            AudioStream(self._chunks(stages, job, last=job is jobs[-1]), job, self.manifest)
            for job in jobs
        )

    def _chunks(self, stages: Stages, job: Job, *, last: bool) -> Iterator[Audio]:
        """The samples of a job; runs the stages before the decoder unless they have been run."""
        if job.latent is None:
            for stage in stages.before_decode:
                stage(job, free=False)
        yield from stages.decode(job, free=self._low_memory and last)
