package org.arcmobile

import java.nio.FloatBuffer
import org.arcmobile.ArcMobileException.Kind

/**
 * The parts of the decoder one after the other, each by windows of its own, as
 * `runtime/decode.py`: together the chunks are the sound that one call on everything would give.
 *
 * A part pulls its input from the part before it, as far as its next window needs. Between two
 * windows it holds what it took, whose end is the context of the next window, and what is left of
 * the last output of the part before: memory does not grow with the length of the sound.
 *
 * Knows nothing of programs. [run] calls a part on a window, `(1, channels, window)`, and gives
 * `(1, channels, about window * ratio)`, valid until the part's next run. [done] is called once for
 * each part, after the last of its windows: its program is no longer needed.
 */
internal class DecoderChain(
    latent: FloatTensor,
    plans: List<PartPlan>,
    private val samples: Int,
    private val run: (part: PartPlan, window: FloatTensor) -> FloatTensor,
    private val done: (part: PartPlan) -> Unit,
) {
    private val parts: List<DecoderStep>
    private var produced = 0

    init {
        // From the back: a part has to give as far as the last window of the part after it reaches.
        var needed = samples
        parts = plans.asReversed().map { plan ->
            DecoderStep(plan, plan.windows(needed)).also { needed = it.windows.last().stop }
        }.asReversed()
        val first = parts.first()
        first.left = Piece(latent.data, first.plan.frames, 0, first.plan.frames)
    }

    /** The samples that follow, interleaved; null after the last. */
    fun next(): FloatArray? {
        val part = parts.last()
        while (!part.finished) {
            val piece = runWindow(parts.lastIndex)
            val chunk = piece.interleaved(part.outputChannels, samples - produced)
            produced += chunk.size / part.outputChannels
            if (chunk.isNotEmpty()) return chunk
        }
        return null
    }

    /** What part [index] keeps of its next window. */
    private fun runWindow(index: Int): Piece {
        val part = parts[index]
        fillWindow(index)
        val window = part.windows[part.next++]
        val output = run(part.plan, part.window)
        val piece = part.kept(window, output, isLast = index == parts.lastIndex)
        if (part.finished) {
            part.dropInput()
            done(part.plan)
        }
        return piece
    }

    /** Puts a window together: the end of the one before, then what the part before gives. */
    private fun fillWindow(index: Int) {
        val part = parts[index]
        var filled = part.shiftWindow()
        while (filled < part.plan.window) {
            val left = part.left ?: runWindow(index - 1).also { part.left = it }
            val count = minOf(left.count, part.plan.window - filled)
            left.takeInto(part.window.data, part.plan.window, filled, part.inputChannels, count)
            if (left.count == 0) part.left = null
            filled += count
        }
    }
}

/** One part and its progress over its input. */
private class DecoderStep(val plan: PartPlan, val windows: List<Window>) {
    val inputChannels = plan.entry.inputs.single().shape[1].toInt()
    val outputChannels = plan.entry.outputs.single().shape[1].toInt()
    var next = 0
    var left: Piece? = null

    /** The window's frames, `(1, inputChannels, window)`; allocated on first use. */
    val window: FloatTensor
        get() = frames ?: FloatTensor.zeros(1, inputChannels.toLong(), plan.window.toLong())
            .also { frames = it }

    private var frames: FloatTensor? = null

    val finished get() = next == windows.size

    fun dropInput() {
        frames = null
        left = null
    }

    /** Moves the frames that the next window shares with the last to its front; how many. */
    fun shiftWindow(): Int {
        if (next == 0) return 0
        val step = windows[next].start - windows[next - 1].start
        val kept = plan.window - step
        val row = FloatArray(kept)
        for (channel in 0 until inputChannels) {
            val begin = channel * plan.window
            window.data.from(begin + step).get(row)
            window.data.from(begin).put(row)
        }
        return kept
    }

    fun kept(window: Window, output: FloatTensor, isLast: Boolean): Piece {
        val stride = output.data.limit() / outputChannels
        val stop = (window.keepStop - window.start) * plan.ratio
        // Odd strides give a little less than the last window's frames: the sound is that short.
        if (stop > stride && !(isLast && window.keepStop == plan.frames)) {
            throw ArcMobileException(
                Kind.BUNDLE,
                "${plan.component} gives $stride frames or samples for ${plan.window} frames, " +
                    "too few for ${plan.context} frames of context; export the bundle again",
            )
        }
        val first = minOf((window.keepStart - window.start) * plan.ratio, stride)
        return Piece(output.data, stride, first, minOf(stop, stride) - first)
    }
}

/** Frames or samples of several channels: channel c begins at `values[c * stride + first]`. */
private class Piece(
    private val values: FloatBuffer,
    private val stride: Int,
    private var first: Int,
    count: Int,
) {
    var count: Int = count
        private set

    /** Moves the next [frames] of each channel to [target], whose rows are [length] long. */
    fun takeInto(target: FloatBuffer, length: Int, position: Int, channels: Int, frames: Int) {
        val row = FloatArray(frames)
        for (channel in 0 until channels) {
            values.from(channel * stride + first).get(row)
            target.from(channel * length + position).put(row)
        }
        first += frames
        count -= frames
    }

    /** At most [most] samples of each channel, interleaved. */
    fun interleaved(channels: Int, most: Int): FloatArray {
        val length = minOf(count, most)
        val mixed = FloatArray(length * channels)
        val row = FloatArray(length)
        for (channel in 0 until channels) {
            values.from(channel * stride + first).get(row)
            for (index in 0 until length) mixed[index * channels + channel] = row[index]
        }
        return mixed
    }
}
