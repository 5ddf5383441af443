"""Prompt to sound: tokenizer -> conditioner -> (encoder) -> sampler over the DiT -> decoder.

The pipeline drives every engine in the same way. It can hold one stage in memory at a time
(``low_memory``), and hands out samples window by window (``stream``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
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
    """A sound and how it was made.

    Attributes:
        audio: float32 ``(channels, samples)``, neither normalised nor clipped, cut to the requested
            seconds.
        sample_rate: in Hz.
        seed: the seed used, random or of the request.
        warnings: lines for the user.
        timings: seconds by stage.
        peak_memory: peak resident bytes by stage if the pipeline measures memory, else empty.
    """

    audio: Audio
    sample_rate: int
    seed: int
    warnings: tuple[str, ...]
    timings: Timings
    peak_memory: Mapping[str, int]

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return self.audio.shape[1] / self.sample_rate

    @property
    def rtf(self) -> float:
        """Real-time factor: seconds of computing (without loading) per second of sound."""
        return self.timings.compute / self.seconds


class AudioStream(Iterator[Audio]):
    """Chunks of a sound, float32 ``(channels, any)``, in order; each ``next`` computes one.

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
        """Run the stream to its end and return everything at once."""
        return GenerationResult(
            audio=np.concatenate(list(self), axis=1),
            sample_rate=self.sample_rate,
            seed=self.seed,
            warnings=self.warnings,
            timings=self.timings,
            peak_memory=self.peak_memory,
        )


class Pipeline:
    """Generates sound with an engine. Close it, or use it as a context manager.

    Attributes:
        engine: runs the programs.
        manifest: of the bundle.
        tokenizer: of the bundle.
    """

    def __init__(
        self,
        engine: Engine,
        manifest: Manifest,
        tokenizer: PromptTokenizer,
        *,
        low_memory: bool = False,
        measure_memory: bool = False,
    ) -> None:
        """Check that the bundle can be decoded; load nothing yet.

        Args:
            engine: runs the programs.
            manifest: of the bundle.
            tokenizer: of the bundle.
            low_memory: free each stage before the next is loaded, and load it again each time.
            measure_memory: record the peak resident memory of each stage; on Linux this resets the
                peak of the whole process.

        Raises:
            BundleError: the noise generator is unknown, or the decoder cannot decode the latents.
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
        """Open a bundle, or its folder, on the engine of its backend; load nothing yet.

        Raises:
            BundleError: the bundle cannot be used.
            EngineError: its engine is missing, too old, or already in use with other threads.
            InputError: an option is out of range.
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
        """Free the programs."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def generate(
        self,
        request: GenerationRequest,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> GenerationResult:
        """Make one sound.

        Args:
            request: what to make.
            progress: called with each event.
            cancelled: called between steps and windows; True stops the generation.

        Raises:
            InputError: the request is out of range.
            EngineError: a program cannot be loaded or fails.
            Cancelled: ``cancelled`` returned True.
        """
        return self.stream(request, progress=progress, cancelled=cancelled).result()

    def stream(
        self,
        request: GenerationRequest,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> AudioStream:
        """Make one sound as :meth:`generate` does, but yield samples as windows are decoded."""
        return next(self.stream_many([request], progress=progress, cancelled=cancelled))

    def stream_many(
        self,
        requests: Iterable[GenerationRequest],
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[AudioStream]:
        """Yield one stream per request, in order; run each to its end before the next.

        All requests are checked before anything runs, and programs are loaded once. With
        ``low_memory`` every request goes through a stage before the next stage is loaded, so the
        first sound comes late.
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
        """Yield the samples of a job; run the stages before the decoder if they have not run."""
        if job.latent is None:
            for stage in stages.before_decode:
                stage(job, free=False)
        yield from stages.decode(job, free=self._low_memory and last)
