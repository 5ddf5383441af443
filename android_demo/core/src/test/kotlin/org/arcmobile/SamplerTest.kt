package org.arcmobile

import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.double
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/** The tables are of runtime/schedule.py and runtime/sampler.py, float32 in hex. */
class SamplerTest {
    private val schedule = Schedule(logsnrStart = -6.0, logsnrEnd = 2.0, defaultSteps = 8)

    @Test
    fun `times are those of Python, to the last bit`() {
        val python = listOf(
            "3f800000 00000000",
            "3f800000 3f772e9a 3f292755 00000000",
            "3f800000 3f7e068a 3f79e8b5 3f6dd2f2 3f4e827e 3f12298f 3e988b27 00000000",
            "3f800000 3f7e4961 3f7b6541 3f73dbe6 3f617bea 3f3b26a8 3f000000 3e89b2b1 00000000",
        )
        for (row in python) assertEquals(row, hex(schedule.times(row.count { it == ' ' })))
    }

    @Test
    fun `times are those of the reference`() {
        val file = File(System.getProperty("arcmobile.vectors"), "schedule.json")
        val vectors = Json.parseToJsonElement(file.readText()).jsonObject
        assertEquals(schedule.logsnrStart, vectors.number("logsnr_start"))
        assertEquals(schedule.logsnrEnd, vectors.number("logsnr_end"))
        val cases = vectors.getValue("cases").jsonArray.map { it.jsonObject }
            .filter { it.number("sigma_max") == 1.0 } // without a sound to start from
        assertTrue(cases.size >= 5)
        for (case in cases) {
            val wanted = case.getValue("times").jsonArray.map { it.jsonPrimitive.double }
            val times = schedule.times(wanted.size - 1)
            wanted.zip(times.asIterable()) { a, b ->
                assertEquals(a, b.toDouble(), vectors.number("tolerance"))
            }
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

    private fun JsonObject.number(key: String) = getValue(key).jsonPrimitive.double

    private fun hex(values: FloatArray) = values.joinToString(" ") { "%08x".format(it.toRawBits()) }
}
