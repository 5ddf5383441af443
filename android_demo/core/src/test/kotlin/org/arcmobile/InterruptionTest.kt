package org.arcmobile

import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlinx.coroutines.Job
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.arcmobile.ArcMobileException.Kind

/** A generation that ends early, at every point where it can: nothing stays behind. */
class InterruptionTest {
    private val folder = Files.createTempDirectory("interruption").toFile()
    private val bundle = TestBundle(folder).open()
    private val calls: Int
    private val events: Int
    private val sound: FloatArray

    init {
        val engine = ArithmeticEngine(bundle)
        val whole = events(open(engine), request)
        calls = engine.calls.size
        events = whole.size
        sound = whole.chunks().joined()
        assertTrue(calls > 15 && events > 20)
    }

    @AfterTest
    fun clean() {
        folder.deleteRecursively()
    }

    @Test
    fun `cancelled at any event`() {
        for (last in 0 until events) {
            val engine = ArithmeticEngine(bundle)
            val generator = open(engine)
            var seen = 0
            val job = collectUntil(generator) {
                if (seen++ == last) {
                    Thread.sleep(5) // the next event waits to be delivered by then
                    cancel()
                }
            }
            assertTrue(job.isCancelled)
            assertEquals(last + 1, seen, "events after cancelling")
            assertEquals(emptySet(), engine.loaded, "after event $last")
            assertContentEquals(sound, sound(generator, request), "the next sound")
        }
    }

    @Test
    fun `cancelled within any call of the engine`() {
        for (last in 0 until calls) {
            val engine = ArithmeticEngine(bundle)
            val generator = open(engine)
            val job = runBlocking {
                val job = launch { generator.generate(request).collect {} }
                engine.onCall = { if (it == last) job.cancel() }
                job
            }
            assertTrue(job.isCancelled)
            assertEquals(last + 1, engine.calls.size, "the call that runs is the last")
            assertEquals(emptySet(), engine.loaded)
        }
    }

    @Test
    fun `programs that are kept stay when a sound is cancelled`() {
        val engine = ArithmeticEngine(bundle)
        val generator = open(engine, keepLoaded = true)
        collectUntil(generator) { if (it is GenerationEvent.Chunk) cancel() }
        assertEquals(TestBundle.COMPONENTS.toSet(), engine.loaded)
        assertContentEquals(sound, sound(generator, request))
    }

    @Test
    fun `closed within any call of the engine`() {
        for (last in 0 until calls) {
            val engine = ArithmeticEngine(bundle)
            val generator = open(engine)
            engine.onCall = { if (it == last) generator.close() }
            // In the last call everything is computed: the sound is whole.
            val error = runCatching { sound(generator, request) }.exceptionOrNull()
            if (last < calls - 1) assertEquals(Kind.ENGINE, (error as ArcMobileException).kind)
            assertEquals(last + 1, engine.calls.size)
            assertEquals(1, engine.timesClosed)
            generator.close()
            assertEquals(1, engine.timesClosed, "closing again does nothing")
            assertEquals(Kind.ENGINE, failure(generator).kind)
        }
    }

    @Test
    fun `out of memory in any call of the engine`() {
        for (keepLoaded in listOf(false, true)) {
            for (last in 0 until calls) {
                val engine = ArithmeticEngine(bundle)
                engine.onCall = { if (it == last) throw OutOfMemoryError("Java heap space") }
                val error = failure(open(engine, keepLoaded))
                assertEquals(Kind.MEMORY, error.kind)
                assertTrue(engine.calls.last().substringAfter(" ") in error.message, error.message)
                assertEquals(emptySet(), engine.loaded)
            }
        }
    }

    @Test
    fun `failed in any call of the engine`() {
        for (last in 0 until calls) {
            val engine = ArithmeticEngine(bundle)
            val generator = open(engine, keepLoaded = true)
            engine.onCall = { if (it == last) throw IllegalStateException("bad kernel") }
            val error = failure(generator)
            assertEquals(Kind.ENGINE, error.kind)
            assertTrue("bad kernel" in error.message)
            assertEquals(emptySet(), engine.loaded)
            engine.onCall = {}
            assertContentEquals(sound, sound(generator, request), "the next sound")
        }
    }

    @Test
    fun `a network that gives no numbers`() {
        for (component in listOf("dit", "decoder_2")) {
            val error = failure(open(BrokenEngine(ArithmeticEngine(bundle), component)))
            assertEquals(Kind.ENGINE, error.kind)
            assertTrue("NaN" in error.message)
        }
    }

    @Test
    fun `an interrupted sound leaves no file`() {
        val file = folder.resolve("sound.wav")
        for (last in 0 until calls step 3) {
            val engine = ArithmeticEngine(bundle)
            val generator = open(engine)
            engine.onCall = { if (it == last) throw OutOfMemoryError() }
            assertFailsWith<ArcMobileException> {
                runBlocking { generator.generateWav(file, request) }
            }
            engine.onCall = {}
            runBlocking {
                val job = launch { generator.generateWav(file, request) }
                engine.onCall = { if (it == calls - 1) job.cancel() }
            }
            assertEquals(emptyList(), folder.list().orEmpty().filter { "sound" in it })
        }
    }

    @Test
    fun `what a collector throws is its own`() {
        class Mine : Exception()
        val engine = ArithmeticEngine(bundle)
        assertFailsWith<Mine> {
            runBlocking {
                open(engine).generate(request).collect {
                    if (it is GenerationEvent.Chunk) throw Mine()
                }
            }
        }
        assertEquals(emptySet(), engine.loaded)
    }

    /** As [whole], but for a value of what [broken] gives. */
    private class BrokenEngine(
        private val whole: Engine,
        private val broken: String,
    ) : Engine by whole {
        override fun run(component: String, entry: Entry, inputs: List<Tensor>) =
            whole.run(component, entry, inputs)
                .onEach { if (component == broken) it.data.put(1, Float.NaN) }
    }

    private fun collectUntil(
        generator: AudioGenerator,
        action: Job.(GenerationEvent) -> Unit,
    ): Job = runBlocking {
        launch {
            val job = checkNotNull(coroutineContext[Job])
            generator.generate(request).collect { job.action(it) }
        }
    }

    private fun failure(generator: AudioGenerator) =
        assertFailsWith<ArcMobileException> { sound(generator, request) }

    private fun open(engine: Engine, keepLoaded: Boolean = false) = AudioGenerator.open(
        bundle,
        GeneratorOptions(keepLoaded = keepLoaded),
        ArithmeticProvider { engine },
    )

    private companion object {
        val request = GenerationRequest("warm rain", steps = 2, seed = 7u)
    }
}
