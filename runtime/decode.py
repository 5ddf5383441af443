"""Chunked decoding and encoding: windows that overlap, whose touched edges are thrown away.

The decoder is convolutional: an output sample depends on the latent frames within ``context``
frames of it and on no others. A window of ``W`` frames therefore gives the same samples as the
whole sequence, but for ``context`` frames at each edge that is not an edge of the sequence. Windows
are placed so that every frame is produced once, outside those margins; memory is that of one
window however long the sound is, and the first samples are ready after the first window.

    frames   0....................F        W = 8, context = 2, F = 14
    window 1 [ooooooxx]                    o: kept, x: dropped
    window 2     [xxooooxx]
    window 3           [xxoooooo]          the last window ends at F, however far it must reach back
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arcmobile.runtime.errors import BundleError

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """Frames ``start .. stop`` go through the network; ``keep_start .. keep_stop`` are kept."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def plan_windows(frames: int, window: int, context: int) -> list[Window]:
    """Windows of ``window`` frames that produce each of ``frames`` frames once, in order.

    Raises :class:`BundleError` where the sequence is shorter than the window (an entry of its own
    length is needed) or the window is all context.
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


def choose_window(frames: int, available: tuple[int, ...], context: int) -> int:
    """The largest of the exported windows that can decode ``frames`` frames.

    Larger windows recompute less context. Raises :class:`BundleError` where none fits.
    """
    fitting = [w for w in available if w == frames or (w < frames and w > 2 * context)]
    if not fitting:
        raise BundleError(
            f"no exported window ({', '.join(map(str, available))} frames) can decode {frames} "
            "frames; export the bundle again with one that can"
        )
    return max(fitting)


def stream_decode(
    latent: Array,
    window_frames: int,
    context_frames: int,
    samples_per_frame: int,
    decode_fn: Callable[[Array], Array],
    frames_needed: int | None = None,
) -> Iterator[Array]:
    """Decodes a latent window by window and yields the samples in order.

    ``latent`` is float32 ``(1, latent_channels, frames)``; ``decode_fn`` takes ``(1,
    latent_channels, window_frames)`` and returns ``(1, channels, samples)``. Each chunk yielded is
    float32 ``(channels, samples)``; together they are the one-shot result, cut after
    ``frames_needed`` frames (windows beyond are not computed). A decoder with odd strides gives a
    few samples less than ``samples_per_frame`` for the last frame of a window; that shortens the
    last chunk only, as it shortens the one-shot result.
    """
    frames = latent.shape[-1]
    needed = frames if frames_needed is None else min(frames_needed, frames)
    for window in plan_windows(frames, window_frames, context_frames):
        if window.keep_start >= needed:
            return
        audio = decode_fn(np.ascontiguousarray(latent[..., window.start : window.stop]))[0]
        begin = (window.keep_start - window.start) * samples_per_frame
        end = (min(window.keep_stop, needed) - window.start) * samples_per_frame
        if end > audio.shape[-1] and window.keep_stop != frames:
            raise BundleError(
                f"the decoder gives {audio.shape[-1]} samples for {window_frames} frames, too few "
                f"for {context_frames} frames of context; export the bundle again"
            )
        yield audio[:, begin:end]


def encode_windows(
    audio: Array,
    window_frames: int,
    context_frames: int,
    samples_per_frame: int,
    encode_fn: Callable[[Array], tuple[Array, Array]],
) -> tuple[Array, Array]:
    """Encodes audio window by window: mean and standard deviation of the latent posterior.

    ``audio`` is float32 ``(1, channels, frames * samples_per_frame)``; ``encode_fn`` takes ``(1,
    channels, window_frames * samples_per_frame)`` and returns mean and stdev, each ``(1,
    latent_channels, window_frames)``. Returns both for all frames.
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
