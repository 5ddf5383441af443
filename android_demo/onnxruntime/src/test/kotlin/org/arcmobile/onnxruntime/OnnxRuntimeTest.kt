package org.arcmobile.onnxruntime

import java.io.File
import java.nio.file.Files
import kotlin.math.abs
import kotlin.math.min
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.arcmobile.ArcMobileException
import org.arcmobile.ArcMobileException.Kind
import org.arcmobile.AudioGenerator
import org.arcmobile.EngineOptions
import org.arcmobile.GenerationEvent
import org.arcmobile.GenerationRequest
import org.arcmobile.GeneratorOptions
import org.arcmobile.SampleFormat
import org.arcmobile.generateWav

/** The whole Kotlin path on a real bundle: what comes between two sounds, and what may go wrong. */
class OnnxRuntimeTest {
    private val folder = File(System.getProperty("arcmobile.bundle").orEmpty())
    private val scratch = Files.createTempDirectory("onnx").toFile()

    @AfterTest
    fun clean() {
        scratch.deleteRecursively()
    }

    @Test
    fun `programs that are kept, and threads, change nothing but time`() {
        val single = AudioGenerator.open(folder, EngineOptions(threads = 1))
            .use { events(it, request).samples() }
        val options = GeneratorOptions(EngineOptions(threads = 2), keepLoaded = true)
        AudioGenerator.open(folder, options).use { generator ->
            val sounds = List(2) { events(generator, request).samples() }
            assertTrue(sounds[0].contentEquals(sounds[1]))
            val difference = single.indices.maxOf { abs(single[it] - sounds[0][it]) }
            assertTrue(difference < 1e-3f, "max-abs $difference")
        }
    }

    @Test
    fun `a sound goes to a file`() = runBlocking {
        val file = scratch.resolve("sound.wav")
        AudioGenerator.open(folder).use { generator ->
            val report = generator.generateWav(file, request, SampleFormat.FLOAT32)
            assertEquals(request.seed, report.seed)
            assertEquals("onnx", report.backend)
            assertTrue(report.runtime.startsWith("ONNX Runtime 1."), report.runtime)
            val samples = Math.rint(report.seconds * report.sampleRate).toLong()
            assertEquals(44 + samples * 2 * Float.SIZE_BYTES, file.length())
        }
    }

    @Test
    fun `cancelled at any event, the next sound is whole`() {
        AudioGenerator.open(folder).use { generator ->
            val whole = events(generator, request)
            for (last in whole.indices) {
                var seen = 0
                runBlocking {
                    launch {
                        generator.generate(request).collect { if (seen++ == last) cancel() }
                    }
                }
                assertEquals(last + 1, seen)
            }
            val again = events(generator, request)
            assertTrue(whole.samples().contentEquals(again.samples()))
        }
    }

    @Test
    fun `closed while a sound is made`() {
        for (last in 0 until 20 step 3) {
            val generator = AudioGenerator.open(folder)
            var seen = 0
            val error = assertFailsWith<ArcMobileException> {
                runBlocking {
                    generator.generate(request).collect {
                        if (seen++ == last) generator.close()
                    }
                }
            }
            assertEquals(Kind.ENGINE, error.kind)
        }
    }

    @Test
    fun `an altered program is reported, not run`() {
        val copy = scratch.resolve("altered").also { folder.copyRecursively(it) }
        val generator = AudioGenerator.open(copy)
        val program = copy.resolve("dit.onnx")
        val bytes = program.readBytes()
        bytes.fill(-1, 0, min(bytes.size, 1 shl 12))
        program.writeBytes(bytes)
        val opened = assertFailsWith<ArcMobileException> { AudioGenerator.open(copy) }
        val running = assertFailsWith<ArcMobileException> { events(generator, request) }
        generator.close()
        for (error in listOf(opened, running)) {
            assertEquals(Kind.BUNDLE, error.kind)
            assertTrue("dit.onnx: sha256 differs" in error.message, error.message)
        }
    }

    @Test
    fun `a bundle for another engine names the module that is missing`() {
        val copy = scratch.resolve("other").also { folder.copyRecursively(it) }
        val manifest = copy.resolve("manifest.json")
        manifest.writeText(
            manifest.readText().replace("\"backend\": \"onnx\"", "\"backend\": \"executorch\""),
        )
        val error = assertFailsWith<ArcMobileException> { AudioGenerator.open(copy) }
        assertEquals(Kind.ENGINE, error.kind)
        assertTrue("module 'executorch'" in error.message, error.message)
        assertTrue("--backend onnx" in error.message, error.message)
    }

    private fun events(generator: AudioGenerator, request: GenerationRequest) =
        runBlocking { generator.generate(request).toList() }

    private fun List<GenerationEvent>.samples(): FloatArray =
        filterIsInstance<GenerationEvent.Chunk>().flatMap { it.audio.samples.asList() }
            .toFloatArray()

    private companion object {
        val request = GenerationRequest("slow drums", seconds = 0.3, steps = 3, seed = 42u)
    }
}
