package org.arcmobile.demo

import kotlin.math.max
import kotlin.math.min
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow

/**
 * A sound in memory that may still be growing: interleaved float32 samples. One thread appends,
 * any may read. A frame is one sample of every channel.
 *
 * @param expectedFrames how long it will be, as far as is known at the start.
 */
internal class Sound(val sampleRate: Int, val channels: Int, expectedFrames: Int) {
    /** How far it has come; nothing follows once it [ended]. */
    data class Made(val frames: Int, val ended: Boolean)

    private var samples = FloatArray(max(1, expectedFrames) * channels)
    private val mutableMade = MutableStateFlow(Made(0, ended = false))
    private val expected = max(1, expectedFrames)

    val made: StateFlow<Made> = mutableMade.asStateFlow()
    val peaks = WaveformPeaks(channels, expected)

    /** Length in frames: what is expected, or what it came to. */
    val frames: Int
        get() = made.value.let { if (it.ended) it.frames else max(expected, it.frames) }

    /** Length in seconds. */
    val seconds: Double get() = frames.toDouble() / sampleRate

    /** Adds interleaved samples at the end. */
    fun append(chunk: FloatArray) {
        val before = mutableMade.value.frames
        val start = before * channels
        synchronized(this) {
            if (start + chunk.size > samples.size) {
                samples = samples.copyOf(max(start + chunk.size, 2 * samples.size))
            }
            chunk.copyInto(samples, start)
        }
        peaks.append(chunk)
        mutableMade.value = Made(before + chunk.size / channels, ended = false)
    }

    /** Says that no more samples come. */
    fun end() {
        mutableMade.value = mutableMade.value.copy(ended = true)
    }

    /** Copies what there is from frame [from] on to [into]; gives the number of frames. */
    fun read(from: Int, into: FloatArray): Int {
        val count = min(into.size / channels, made.value.frames - from)
        if (count <= 0) return 0
        synchronized(this) {
            samples.copyInto(into, 0, from * channels, (from + count) * channels)
        }
        return count
    }
}
