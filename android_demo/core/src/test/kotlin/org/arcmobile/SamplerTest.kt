package org.arcmobile

import kotlin.math.abs
import kotlin.math.ulp
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** The tables are of runtime/schedule.py and runtime/sampler.py, float32 in hex. */
class SamplerTest {
    private val schedule = Schedule(logsnrStart = -6.0, logsnrEnd = 2.0, defaultSteps = 8)

    @Test
    fun `times are those of Python`() {
        val python = listOf(
            "3f800000 00000000",
            "3f800000 3f772e9a 3f292755 00000000",
            "3f800000 3f7e4961 3f7b6541 3f73dbe6 3f617bea 3f3b26a8 3f000000 3e89b2b0 00000000",
        )
        for (row in python) {
            val wanted = row.split(" ").map { Float.fromBits(it.toInt(radix = 16)) }
            val times = schedule.times(wanted.size - 1)
            assertEquals(wanted.size, times.size)
            // Its exp() of float32 is not rounded to nearest everywhere: one bit may differ.
            wanted.zip(times.asIterable()) { a, b -> assertTrue(abs(a - b) <= a.ulp, "$a, $b") }
        }
    }

    @Test
    fun `times fall from 1 to 0 for every number of steps`() {
        for (steps in 1..MAX_STEPS) {
            val times = schedule.times(steps)
            assertEquals(steps + 1, times.size)
            assertEquals(times.sortedDescending().distinct(), times.toList())
            assertEquals(listOf(1f, 0f), listOf(times.first(), times.last()))
        }
    }

    @Test
    fun `steps are computed as in Python, to the last bit`() {
        val shape = longArrayOf(1, 2, 3)
        val sampler = PingPongSampler(schedule.times(3), PhiloxNoise(42u), shape)
        for (index in 0 until sampler.steps) {
            val time = sampler.time(index)
            val velocity = sampler.latent.toFloatArray().map { 0.5f * it - time }
            sampler.advance(index, FloatTensor.of(velocity.toFloatArray(), *shape))
        }
        assertEquals(
            "3e97c5f6 3f526824 3ecab1c9 bd99d4a8 3f9e0fb4 3ea56138",
            hex(sampler.latent.toFloatArray()),
        )
    }

    private fun hex(values: FloatArray) = values.joinToString(" ") { "%08x".format(it.toRawBits()) }
}
