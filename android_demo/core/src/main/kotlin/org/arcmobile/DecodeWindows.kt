package org.arcmobile

// Windows of the decoder that overlap, whose affected edges are dropped: see docs/bundle.md.

/** Frames [start] until [stop] go through a program, [keepStart] until [keepStop] are kept. */
internal data class Window(val start: Int, val stop: Int, val keepStart: Int, val keepStop: Int)

/**
 * How one part of the decoder runs over its input.
 *
 * @property frames of its whole input.
 * @property window frames per call.
 * @property context frames of its input at each inner edge of a window whose output is dropped.
 * @property ratio frames, from the last part samples, that it gives for each frame of its input.
 */
internal data class PartPlan(
    val component: String,
    val entry: Entry,
    val frames: Int,
    val window: Int,
    val context: Int,
    val ratio: Int,
) {
    /** Windows that give each of the first [needed] frames (samples) of the output once. */
    fun windows(needed: Int): List<Window> =
        planWindows(frames, window, context).filter { it.keepStart.toLong() * ratio < needed }
}

/** Windows of [window] frames that produce each of [frames] frames once, in order. */
internal fun planWindows(frames: Int, window: Int, context: Int): List<Window> {
    if (frames < window || (frames > window && window <= 2 * context)) {
        throw InvalidManifest(
            "windowing.decoder: $frames frames cannot be decoded with a window of $window and " +
                "$context of context",
        )
    }
    val windows = mutableListOf<Window>()
    var position = 0
    while (position < frames) {
        val start = maxOf(0, minOf(position - context, frames - window))
        val stop = start + window
        val keepStop = if (stop == frames) frames else stop - context
        windows += Window(start, stop, position, keepStop)
        position = keepStop
    }
    return windows
}

/** The largest of the exported windows that can decode [frames]: it recomputes least. */
internal fun chooseWindow(frames: Int, available: List<Int>, context: Int): Int =
    available.filter { it == frames || (it < frames && it > 2 * context) }.maxOrNull()
        ?: throw InvalidManifest(
            "windowing.decoder: no window of ${available.joinToString()} frames with $context " +
                "of context decodes $frames frames",
        )

/** The decoder's parts, in order, for a latent of [frames] frames. */
internal fun planDecoder(manifest: Manifest, frames: Int): List<PartPlan> {
    val chain = manifest.windowing.decoder
    val rates = chain.map { it.framesPerLatent } + manifest.audio.samplesPerFrame
    return chain.mapIndexed { index, part ->
        val component = manifest.components.getValue(part.component)
        val length = frames * part.framesPerLatent
        val window = chooseWindow(length, component.windows, part.contextFrames)
        PartPlan(
            component = part.component,
            entry = checkNotNull(component.entryFor(window)),
            frames = length,
            window = window,
            context = part.contextFrames,
            ratio = rates[index + 1] / part.framesPerLatent,
        )
    }
}
