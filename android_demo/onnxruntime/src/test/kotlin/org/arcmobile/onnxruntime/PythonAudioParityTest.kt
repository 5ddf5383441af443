package org.arcmobile.onnxruntime

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.arcmobile.AudioGenerator
import org.arcmobile.EngineOptions
import org.arcmobile.GenerationEvent

/** The same bundle, prompt, steps and seed give the same sound here and in the Python runtime. */
class PythonAudioParityTest {
    private val bundle = File(System.getProperty("arcmobile.bundle"))
    private val reference = File(System.getProperty("arcmobile.reference"))

    @Test
    fun `sounds are those of the Python runtime`() {
        val cases = Json.parseToJsonElement(reference.resolve("audio.json").readText())
            .jsonObject.getValue("cases").jsonArray.map { it.jsonObject }
        assertTrue(cases.size >= 3)
        AudioGenerator.open(bundle, EngineOptions(threads = 1)).use { generator ->
            for (case in cases) {
                val expected = floats(reference.resolve(case.text("file")))
                val found = sound(generator, case)
                assertEquals(expected.size, found.size)
                val difference = expected.indices.maxOf { abs(expected[it] - found[it]) }
                println("max-abs against Python: $difference (peak ${expected.maxOf { abs(it) }})")
                assertTrue(difference <= BOUND, "differs by $difference from the Python runtime")
            }
        }
    }

    private fun sound(generator: AudioGenerator, case: JsonObject): FloatArray = runBlocking {
        var samples = FloatArray(0)
        generator.generate(
            prompt = case.text("prompt"),
            seconds = case.text("seconds").toDouble(),
            steps = case.text("steps").toInt(),
            seed = case.text("seed").toULong(),
        ).collect { if (it is GenerationEvent.Chunk) samples += it.audio.samples }
        samples
    }

    private fun floats(file: File): FloatArray {
        val values = ByteBuffer.wrap(file.readBytes()).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
        return FloatArray(values.remaining()).also(values::get)
    }

    private fun JsonObject.text(key: String): String = getValue(key).jsonPrimitive.content

    private companion object {
        const val BOUND = 1e-3f
    }
}
