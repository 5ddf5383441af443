"""The stages of a generation, one method each, over any engine: text, init audio, DiT, decoder.

:class:`Stages` runs them on a :class:`Job`; which stage runs when, and what stays in memory
between them, :mod:`arcmobile.runtime.generate` decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from arcmobile.runtime import memory, tensors
from arcmobile.runtime.audio import Audio
from arcmobile.runtime.bundle import Manifest
from arcmobile.runtime.decode import PartPlan, choose_window, encode_windows, stream_decode
from arcmobile.runtime.engine import Engine
from arcmobile.runtime.errors import BundleError, EngineError
from arcmobile.runtime.request import (
    GenerationRequest,
    Plan,
    Progress,
    ProgressEvent,
    Stage,
    make_plan,
)
from arcmobile.runtime.sampler import Cancelled, Latent, pingpong
from arcmobile.runtime.tokenizer import PromptTokenizer, TokenizedPrompt

Array = NDArray[np.float32]


@dataclass
class Timings:
    """Seconds of each stage.

    Attributes:
        tokenize: tokenizing the prompt.
        load: loading programs, by stage.
        conditioner: running the conditioner.
        encoder: running the encoder.
        dit_steps: each sampler step.
        decode_windows: each chunk of sound.
    """

    tokenize: float = 0.0
    load: dict[str, float] = field(default_factory=dict)
    conditioner: float = 0.0
    encoder: float = 0.0
    dit_steps: list[float] = field(default_factory=list)
    decode_windows: list[float] = field(default_factory=list)

    @property
    def compute(self) -> float:
        """Everything except loading, and without the time that the consumer of a stream takes."""
        sampling, decoding = sum(self.dit_steps), sum(self.decode_windows)
        return self.tokenize + self.conditioner + self.encoder + sampling + decoding

    @property
    def total(self) -> float:
        """Loading and computing."""
        return self.compute + sum(self.load.values())

    @property
    def first_audio(self) -> float:
        """Time to the first samples, loading included."""
        return self.total - sum(self.decode_windows[1:])


@dataclass
class Job:
    """A request and its intermediate results.

    Attributes:
        plan: the checked request.
        tokens: of the prompt.
        timings: so far.
        warnings: lines for the user.
        peak_memory: bytes by stage, where they are measured.
        conditioning: outputs of the conditioner.
        init: latent of the init audio, float32 ``(1, latent_channels, frames)``.
        latent: result of the sampler, of the same shape.
    """

    plan: Plan
    tokens: TokenizedPrompt
    timings: Timings
    warnings: tuple[str, ...]
    peak_memory: dict[str, int] = field(default_factory=dict)
    conditioning: Mapping[str, Array] = field(default_factory=dict)
    init: Latent | None = None
    latent: Latent | None = None


class Stages:
    """The stages, with the progress and cancellation of one call of the pipeline."""

    def __init__(
        self,
        engine: Engine,
        manifest: Manifest,
        tokenizer: PromptTokenizer,
        *,
        measure_memory: bool,
        progress: Progress | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self._engine = engine
        self._manifest = manifest
        self._tokenizer = tokenizer
        self._measure_memory = measure_memory
        self._progress = progress
        self._cancelled = cancelled
        # The stages up to the latent, to be called in this order with a job and ``free``, which
        # says whether to unload the stage's program afterwards.
        self.before_decode = (self._condition, self._encode, self._sample)

    def start(self, request: GenerationRequest) -> Job:
        """Check the request and tokenize its prompt."""
        plan = make_plan(request, self._manifest)
        timings = Timings()
        self._report("tokenize", 0, 1)
        begin = time.perf_counter()
        tokens = self._tokenizer(plan.prompt)
        timings.tokenize = time.perf_counter() - begin
        self._report("tokenize", 1, 1)
        warnings = plan.warnings if tokens.warning is None else (*plan.warnings, tokens.warning)
        return Job(plan, tokens, timings, warnings)

    def _condition(self, job: Job, *, free: bool) -> None:
        entry = self._manifest.components[tensors.CONDITIONER].entries[0].name
        inputs = {
            tensors.INPUT_IDS: job.tokens.input_ids,
            tensors.ATTENTION_MASK: job.tokens.attention_mask,
            **job.plan.numbers,
        }
        with self._stage(job, tensors.CONDITIONER, {tensors.CONDITIONER: entry}, free=free):
            self._report("conditioner", 0, 1)
            begin = time.perf_counter()
            job.conditioning = self._engine.run(tensors.CONDITIONER, entry, inputs)
            job.timings.conditioner = time.perf_counter() - begin
            self._report("conditioner", 1, 1)

    def _encode(self, job: Job, *, free: bool) -> None:
        """Sample the latent of the init audio from the VAE's posterior, as upstream does."""
        if job.plan.init is None:
            if free:
                self._engine.unload(tensors.ENCODER)
            return
        context = self._manifest.windowing.encoder_context_frames
        encoder = self._manifest.components[tensors.ENCODER]
        window = choose_window(job.plan.frames, encoder.windows, context)
        entry = self._entry(tensors.ENCODER, window)

        def encode(audio: Array) -> tuple[Array, Array]:
            self._check_cancelled()
            outputs = self._engine.run(tensors.ENCODER, entry, {tensors.AUDIO: audio})
            return outputs[tensors.MEAN], outputs[tensors.STDEV]

        with self._stage(job, tensors.ENCODER, {tensors.ENCODER: entry}, free=free):
            self._report("encoder", 0, 1)
            begin = time.perf_counter()
            per_frame = self._manifest.audio.samples_per_frame
            mean, stdev = encode_windows(job.plan.init, window, context, per_frame, encode)
            job.init = mean + stdev * job.plan.noise.encoder(mean.shape)
            job.timings.encoder = time.perf_counter() - begin
            self._report("encoder", 1, 1)

    def _sample(self, job: Job, *, free: bool) -> None:
        plan = job.plan
        entry = self._entry(tensors.DIT, plan.frames)
        shape = (1, self._manifest.audio.latent_channels, plan.frames)
        steps = len(plan.times) - 1
        begin = 0.0

        def velocity(latent: Latent, t: np.float32) -> Latent:
            inputs = {
                tensors.LATENT: latent,
                tensors.TIMESTEP: np.array([t], np.float32),
                **job.conditioning,
            }
            return self._engine.run(tensors.DIT, entry, inputs)[tensors.VELOCITY]

        def on_step(done: int, total: int) -> None:
            nonlocal begin
            now = time.perf_counter()
            job.timings.dit_steps.append(now - begin)
            begin = now
            self._report("dit", done, total)

        with self._stage(job, tensors.DIT, {tensors.DIT: entry}, free=free):
            self._report("dit", 0, steps)
            begin = time.perf_counter()
            job.latent = pingpong(
                velocity,
                plan.times,
                plan.noise,
                shape,
                init=job.init,
                on_step=on_step,
                cancelled=self._cancelled,
            )
        job.conditioning = {}
        _check_finite(tensors.DIT, job.latent)

    def decode(self, job: Job, *, free: bool) -> Iterator[Audio]:
        """Yield the samples of a job whose latent is there, float32 ``(channels, any)``."""
        plan = job.plan
        entries = {
            part.component: self._entry(part.component, part.window) for part in plan.decoder
        }
        per_frame = self._manifest.audio.samples_per_frame
        spent = 0.0  # since the last chunk; what the consumer of the stream does is not counted

        def run(part: PartPlan, window: Array) -> Array:
            nonlocal spent
            self._check_cancelled()
            begin = time.perf_counter()
            entry = entries[part.component]
            taken = tensors.LATENT if part is plan.decoder[0] else tensors.FEATURES
            (given,) = self._engine.run(part.component, entry, {taken: window}).values()
            spent += time.perf_counter() - begin
            return given

        assert job.latent is not None  # _sample has run
        with self._stage(job, tensors.DECODER, entries, free=free):
            self._report("decode", 0, plan.frames_needed)
            produced = 0
            for chunk in stream_decode(job.latent, plan.decoder, run, plan.samples):
                job.timings.decode_windows.append(spent)
                spent = 0.0
                _check_finite(tensors.DECODER, chunk)
                produced += chunk.shape[1]
                done = min(plan.frames_needed, -(-produced // per_frame))
                self._report("decode", done, plan.frames_needed)
                yield chunk

    @contextmanager
    def _stage(
        self, job: Job, stage: str, entries: Mapping[str, str], *, free: bool
    ) -> Iterator[None]:
        """Load a stage's components, each with its entry; afterwards free them if asked.

        Loading is timed, and the peak of memory is noted.
        """
        self._check_cancelled()
        if self._measure_memory:
            memory.reset_peak()
        try:
            self._report("load", 0, len(entries), stage)
            begin = time.perf_counter()
            for loaded, (component, entry) in enumerate(entries.items()):
                self._engine.load(component, entry)
                self._report("load", loaded + 1, len(entries), stage)
            job.timings.load[stage] = time.perf_counter() - begin
            yield
        finally:
            if self._measure_memory:
                job.peak_memory[stage] = memory.peak_bytes()
            if free:
                for component in entries:
                    self._engine.unload(component)

    def _entry(self, component: str, frames: int) -> str:
        entry = self._manifest.components[component].entry_for(frames)
        if entry is None:
            raise BundleError(f"{component} has no entry for {frames} frames; export again")
        return entry.name

    def _report(self, stage: Stage, done: int, total: int, detail: str = "") -> None:
        if self._progress is not None:
            self._progress(ProgressEvent(stage, done, total, detail))

    def _check_cancelled(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled("cancelled")


def _check_finite(component: str, array: Array) -> None:
    if not np.isfinite(array).all():
        raise EngineError(
            f"{component} gave NaN or infinite values; export the bundle again with another recipe"
        )
