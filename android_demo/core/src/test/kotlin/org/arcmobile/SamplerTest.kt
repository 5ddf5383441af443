package org.arcmobile

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlinx.serialization.json.JsonObject

/** Against the vectors that every reader is checked with. */
class SamplerTest {
    private val schedule = Schedule(logsnrStart = -6.0, logsnrEnd = 2.0, defaultSteps = 8)

    @Test
    fun `times are those of Python, to the last bit`() {
        // Without those of a sound to start from.
        val cases = vectors("schedule.json").filter { it.double("sigma_max") == 1.0 }
        assertEquals((1..Bounds.STEPS).toSet(), cases.map { it.int("steps") }.toSet())
        for (case in cases) {
            val times = scheduleOf(case).times(case.int("steps"))
            assertEquals(case.texts("bits"), bits(times), "$case")
        }
    }

    @Test
    fun `times fall from 1 to 0 for every number of steps`() {
        for (steps in 1..Bounds.STEPS) {
            val times = schedule.times(steps)
            assertEquals(steps + 1, times.size)
            assertEquals(times.sortedDescending().distinct(), times.toList())
            assertEquals(listOf(1f, 0f), listOf(times.first(), times.last()))
        }
    }

    @Test
    fun `steps are computed as in Python, to the last bit`() {
        for (case in vectors("sampler.json")) {
            val shape = longArrayOf(1, 1, case.int("size").toLong())
            val noise = PhiloxNoise(case.text("seed").toULong())
            val sampler = PingPongSampler(scheduleOf(case).times(case.int("steps")), noise, shape)
            for (index in 0 until sampler.steps) {
                val time = sampler.time(index)
                val velocity = sampler.latent.toFloatArray().map { 0.5f * it - time }
                sampler.advance(index, FloatTensor.of(velocity.toFloatArray(), *shape))
            }
            assertEquals(case.texts("bits"), bits(sampler.latent.toFloatArray()), "$case")
        }
    }

    private fun scheduleOf(case: JsonObject) =
        Schedule(case.double("logsnr_start"), case.double("logsnr_end"), defaultSteps = 8)
}
