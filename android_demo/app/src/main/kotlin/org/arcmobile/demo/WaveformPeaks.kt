package org.arcmobile.demo

import kotlin.math.max
import kotlin.math.min

/**
 * Lowest and highest sample of every [BUCKET] frames of a growing sound, over all channels, so
 * that a waveform is drawn without reading the samples again. Safe to use from several threads.
 */
internal class WaveformPeaks(private val channels: Int, expectedFrames: Int) {
    private var lows = FloatArray(expectedFrames / BUCKET + 1)
    private var highs = FloatArray(expectedFrames / BUCKET + 1)
    private var frames = 0

    /** Takes the next interleaved samples. */
    @Synchronized
    fun append(samples: FloatArray) {
        val count = samples.size / channels
        makeRoom(frames + count)
        for (index in 0 until count) {
            val bucket = (frames + index) / BUCKET
            val fresh = (frames + index) % BUCKET == 0
            for (channel in 0 until channels) {
                val sample = samples[index * channels + channel]
                val first = fresh && channel == 0
                lows[bucket] = if (first) sample else min(lows[bucket], sample)
                highs[bucket] = if (first) sample else max(highs[bucket], sample)
            }
        }
        frames += count
    }

    /**
     * Lowest and highest sample, in turns, of each of [columns] equal parts of a sound of
     * [totalFrames]; ends with the last part that has begun.
     */
    @Synchronized
    fun columns(columns: Int, totalFrames: Int): FloatArray {
        val buckets = (frames + BUCKET - 1) / BUCKET
        val values = FloatArray(2 * columns)
        var filled = 0
        while (filled < columns) {
            val start = (filled.toLong() * totalFrames / columns).toInt()
            if (start >= frames) break
            val end = ((filled + 1L) * totalFrames / columns).toInt()
            val first = start / BUCKET
            val last = min(max(first, (end - 1) / BUCKET), buckets - 1)
            values[2 * filled] = (first..last).minOf { lows[it] }
            values[2 * filled + 1] = (first..last).maxOf { highs[it] }
            filled++
        }
        return values.copyOf(2 * filled)
    }

    private fun makeRoom(frames: Int) {
        val needed = frames / BUCKET + 1
        if (needed <= lows.size) return
        lows = lows.copyOf(max(needed, 2 * lows.size))
        highs = highs.copyOf(lows.size)
    }

    private companion object {
        const val BUCKET = 32
    }
}
