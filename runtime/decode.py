"""Chunked decoding and encoding: windows that overlap, whose affected edges are dropped.

The decoder is convolutional: an output depends on the input frames within ``context`` frames of it
and on no others. A window of ``W`` frames therefore gives the same as the whole sequence, but for
``context`` frames at each edge that is not an edge of the sequence. Windows are placed so that
every frame is produced once, outside those margins; memory is that of one window however long the
sound is.

    frames   0....................F        W = 8, context = 2, F = 14
    window 1 [ooooooxx]                    o: kept, x: dropped
    window 2     [xxooooxx]
    window 3           [xxoooooo]          the last window ends at F, however far it must reach back

The decoder is also cut across its depth, into parts with windows of their own. What a window
recomputes is context, and most of the context belongs to the first layers, which are cheap: windows
of the whole network do a sixth of all work twice, windows of parts a twentieth. A part pulls its
input from the part before it, as far as its next window needs, so the first samples are there after
one window of each. Late parts have short windows, whose activations stay in a cache.

    latent ----[ part 1 ]---- features ----[ part 2 ]---- features ----[ part 3 ]---- audio
          4 s at a time            1.4 s at a time            0.4 s at a time
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arcmobile.runtime.errors import BundleError

if TYPE_CHECKING:
    from arcmobile.runtime.bundle import DecoderPart, Manifest

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """Frames ``start .. stop`` go through the network; ``keep_start .. keep_stop`` are kept."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def plan_windows(frames: int, window: int, context: int) -> list[Window]:
    """Return windows of ``window`` frames that produce each of ``frames`` frames once, in order.

    Raises:
        BundleError: the sequence is shorter than the window (it needs an entry of its own length),
            or the window is all context.
    """
    if frames < window:
        raise BundleError(
            f"{frames} frames cannot be decoded with a window of {window}; "
            f"export the bundle again with an entry for {frames} frames"
        )
    if frames > window and window <= 2 * context:
        raise BundleError(
            f"a window of {window} frames with {context} of context at each side keeps nothing; "
            f"export the bundle again with a window of {2 * context + 1} frames or more"
        )
    plan: list[Window] = []
    position = 0
    while position < frames:
        start = max(0, min(position - context, frames - window))
        stop = start + window
        keep_stop = frames if stop == frames else stop - context
        plan.append(Window(start, stop, position, keep_stop))
        position = keep_stop
    return plan


def can_decode(window: int, frames: int, context: int) -> bool:
    """Return whether windows of this length decode ``frames`` frames: in one, or in several."""
    return window == frames or 2 * context < window < frames


def choose_window(frames: int, available: tuple[int, ...], context: int) -> int:
    """Return the largest exported window that can decode ``frames`` frames: it recomputes least.

    Raises:
        BundleError: no window fits.
    """
    fitting = [window for window in available if can_decode(window, frames, context)]
    if not fitting:
        raise BundleError(
            f"no exported window ({', '.join(map(str, available))} frames) can decode {frames} "
            "frames; export the bundle again with one that can"
        )
    return max(fitting)


@dataclass(frozen=True)
class PartPlan:
    """How one part of the decoder runs over a sequence.

    Attributes:
        component: the program.
        frames: length of its whole input.
        window: frames of its input per call, which choose an entry.
        context: frames of its input at each inner edge of a window whose output is dropped.
        ratio: frames (the last part: samples) it gives for each frame of its input.
    """

    component: str
    frames: int
    window: int
    context: int
    ratio: int

    def windows(self) -> list[Window]:
        """Return all windows, in order."""
        return plan_windows(self.frames, self.window, self.context)


def plan_decoder(manifest: Manifest, frames: int) -> tuple[PartPlan, ...]:
    """Return the decoder's parts, in order, for a latent of ``frames`` frames.

    Raises:
        BundleError: a part has no window that fits.
    """
    parts = manifest.windowing.decoder
    windows = [
        choose_window(
            frames * part.frames_per_latent,
            manifest.components[part.component].windows,
            part.context_frames,
        )
        for part in parts
    ]
    return plan_parts(parts, windows, frames, manifest.audio.samples_per_frame)


def plan_parts(
    parts: Sequence[DecoderPart], windows: Sequence[int], frames: int, samples_per_frame: int
) -> tuple[PartPlan, ...]:
    """Return the parts, each with its window, in order, for a latent of ``frames`` frames."""
    following = [*(part.frames_per_latent for part in parts[1:]), samples_per_frame]
    return tuple(
        PartPlan(
            component=part.component,
            frames=frames * part.frames_per_latent,
            window=window,
            context=part.context_frames,
            ratio=rate // part.frames_per_latent,
        )
        for part, window, rate in zip(parts, windows, following, strict=True)
    )


def count_calls(parts: Sequence[PartPlan], samples: int) -> list[int]:
    """Count the calls of each part until the first ``samples`` samples are there."""
    calls: list[int] = []
    needed = samples
    for part in reversed(parts):
        windows = [w for w in part.windows() if w.keep_start * part.ratio < needed]
        calls.insert(0, len(windows))
        needed = windows[-1].stop
    return calls


def stream_decode(
    latent: Array,
    parts: Sequence[PartPlan],
    run: Callable[[PartPlan, Array], Array],
    samples_needed: int | None = None,
) -> Iterator[Array]:
    """Decode a latent part by part, window by window.

    A decoder with odd strides gives a few samples less than a whole frame at a window's end; that
    shortens the last chunk only, as it shortens the result of one call.

    Args:
        latent: float32 ``(1, latent_channels, frames)``.
        parts: of the decoder, in order.
        run: calls a part's program on a window, ``(1, channels, part.window)``, and returns
            ``(1, channels, about part.window * part.ratio)``.
        samples_needed: per channel; windows beyond are not computed. ``None``: all.

    Yields:
        Chunks, float32 ``(channels, samples)``; together what one call on everything would give.
    """
    chunks: Iterator[Array] = iter([latent])
    for part in parts:
        chunks = _run_windows(chunks, part, run)
    produced = 0
    for chunk in chunks:
        kept = chunk[0] if samples_needed is None else chunk[0, :, : samples_needed - produced]
        produced += kept.shape[-1]
        yield kept
        if produced == samples_needed:
            return


def _run_windows(
    chunks: Iterator[Array], part: PartPlan, run: Callable[[PartPlan, Array], Array]
) -> Iterator[Array]:
    """Yield what a part keeps of each window; take chunks of its input when a window needs them.

    Raises:
        BundleError: the part gives too few frames or samples.
    """
    held = next(chunks)
    begin = 0  # of what is held, in frames of the whole
    for window in part.windows():
        pieces = [held[..., window.start - begin :]]
        begin = window.start
        ready = begin + pieces[0].shape[-1]
        while ready < window.stop:
            pieces.append(next(chunks))
            ready += pieces[-1].shape[-1]
        held = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=-1)
        output = run(part, np.ascontiguousarray(held[..., : part.window]))
        first = (window.keep_start - window.start) * part.ratio
        last = (window.keep_stop - window.start) * part.ratio
        if last > output.shape[-1] and window.keep_stop != part.frames:
            raise BundleError(
                f"{part.component} gives {output.shape[-1]} frames or samples for {part.window} "
                f"frames, too few for {part.context} frames of context; export the bundle again"
            )
        yield output[..., first:last]


def encode_windows(
    audio: Array,
    window_frames: int,
    context_frames: int,
    samples_per_frame: int,
    encode_fn: Callable[[Array], tuple[Array, Array]],
) -> tuple[Array, Array]:
    """Encode audio window by window.

    Args:
        audio: float32 ``(1, channels, frames * samples_per_frame)``.
        window_frames: latent frames of a window.
        context_frames: latent frames at each inner edge that are dropped.
        samples_per_frame: samples per channel of a latent frame.
        encode_fn: takes ``(1, channels, window_frames * samples_per_frame)`` and returns mean and
            stdev, each ``(1, latent_channels, window_frames)``.

    Returns:
        Mean and standard deviation of the latent posterior for all frames.
    """
    frames = audio.shape[-1] // samples_per_frame
    means: list[Array] = []
    stdevs: list[Array] = []
    for window in plan_windows(frames, window_frames, context_frames):
        samples = slice(window.start * samples_per_frame, window.stop * samples_per_frame)
        mean, stdev = encode_fn(np.ascontiguousarray(audio[..., samples]))
        kept = slice(window.keep_start - window.start, window.keep_stop - window.start)
        means.append(mean[..., kept])
        stdevs.append(stdev[..., kept])
    return np.concatenate(means, axis=-1), np.concatenate(stdevs, axis=-1)
