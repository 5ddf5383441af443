package org.arcmobile.demo

import kotlin.math.PI
import kotlin.math.sin
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertTrue

class WaveformPeaksTest {
    @Test
    fun `columns hold the lowest and highest sample of their time over all channels`() {
        val peaks = WaveformPeaks(channels = 2, expectedFrames = 128)
        val samples = FloatArray(256)
        samples[2 * 10] = 0.5f // left, first column
        samples[2 * 40 + 1] = -0.25f // right, second column
        peaks.append(samples)

        assertContentEquals(
            floatArrayOf(0f, 0.5f, -0.25f, 0f, 0f, 0f, 0f, 0f),
            peaks.columns(columns = 4, totalFrames = 128),
        )
    }

    @Test
    fun `chunks of any size give the peaks of the whole`() {
        val samples = FloatArray(1000) { sin(2 * PI * it / 90).toFloat() * it / 1000 }
        val whole = WaveformPeaks(1, 1000).apply { append(samples) }
        val pieces = WaveformPeaks(1, 10).apply {
            samples.asList().chunked(37).forEach { append(it.toFloatArray()) }
        }

        assertContentEquals(whole.columns(7, 1000), pieces.columns(7, 1000))
    }

    @Test
    fun `a sound half made fills half of the columns`() {
        val peaks = WaveformPeaks(1, 64000).apply { append(FloatArray(32000) { 0.1f }) }

        assertEquals(2 * 50, peaks.columns(100, 64000).size)
        assertTrue(peaks.columns(100, 64000).all { it == 0.1f })
    }

    @Test
    fun `more columns than samples are no trouble`() {
        val peaks = WaveformPeaks(1, 3).apply { append(floatArrayOf(-1f, 0f, 1f)) }

        assertEquals(2 * 500, peaks.columns(500, 3).size)
    }
}
