package org.arcmobile

import java.io.File
import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.test.StandardTestDispatcher
import kotlinx.coroutines.test.runTest
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.double
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.arcmobile.ArcMobileException.Kind

class AudioGeneratorTest {
    private val folder = Files.createTempDirectory("generator").toFile()
    private val bundle = TestBundle(folder).open()
    private val engine = ArithmeticEngine(bundle)

    @AfterTest
    fun clean() {
        folder.deleteRecursively()
    }

    @Test
    fun `a sound comes in chunks, with progress, and its figures at the end`() {
        val events = events(open(), request)
        val chunks = events.chunks()
        assertEquals(384, chunks.sumOf { it.length })
        assertTrue(chunks.size > 3)
        assertTrue(chunks.all { it.channels == 2 && it.sampleRate == 100 })
        val progress = events.filterIsInstance<GenerationEvent.Progress>()
        assertEquals(
            listOf(
                "TOKENIZE 0/1", "TOKENIZE 1/1", "LOAD 0/1 conditioner", "LOAD 1/1 conditioner",
                "CONDITIONER 0/1", "CONDITIONER 1/1", "LOAD 0/1 dit", "LOAD 1/1 dit",
                "DIT 0/2", "DIT 1/2", "DIT 2/2", "LOAD 0/1 decoder_1", "LOAD 1/1 decoder_1",
                "LOAD 0/1 decoder_2", "LOAD 1/1 decoder_2", "DECODE 0/24",
            ),
            progress.map(::words).take(16),
        )
        assertEquals("DECODE 24/24", words(progress.last()))
        val report = (events.last() as GenerationEvent.Finished).report
        assertEquals(request.seed, report.seed)
        assertEquals(3.84, report.seconds)
        assertEquals(TestBundle.COMPONENTS, report.loadSeconds.keys.toList())
        assertEquals(2, report.ditStepSeconds.size)
        assertEquals(chunks.size, report.decodeCallSeconds.size)
        assertEquals(listOf(9, 20), report.decoderWindows)
        assertTrue(report.firstAudioSeconds < report.totalSeconds)
        assertTrue(report.computeSeconds < report.totalSeconds)
    }

    @Test
    fun `the sound is that of one call of each network`() {
        assertContentEquals(soundInOneCall(bundle, request), sound(open(), request))
    }

    @Test
    fun `a shorter sound is the beginning of what its latent gives`() {
        val short = request.copy(seconds = 1.0)
        assertContentEquals(
            soundInOneCall(bundle, short).copyOf(200),
            sound(open(), short),
        )
    }

    @Test
    fun `a stage is freed before the next is loaded`() {
        engine.onCall = { assertTrue(engine.loaded.size <= 1 || "decoder_1" in engine.loaded) }
        sound(open(), request)
        assertEquals(emptySet(), engine.loaded)
    }

    @Test
    fun `programs that are kept are loaded once`() {
        val generator = open(GeneratorOptions(keepLoaded = true))
        val first = sound(generator, request)
        assertEquals(TestBundle.COMPONENTS.toSet(), engine.loaded)
        assertContentEquals(first, sound(generator, request))
        generator.close()
        assertEquals(emptySet(), engine.loaded)
    }

    @Test
    fun `a flow is cold, and can be collected again`() {
        val flow = open().generate(request)
        assertEquals(emptyList(), engine.calls)
        val sounds = List(2) { runBlocking { flow.toList() }.chunks().joined() }
        assertContentEquals(sounds[0], sounds[1])
    }

    @Test
    fun `no chunk is computed before it is asked for`() = runTest {
        val dispatcher = StandardTestDispatcher(testScheduler)
        val generator = open(GeneratorOptions(dispatcher = dispatcher))
        var received = 0
        generator.generate(request).collect { event ->
            if (event !is GenerationEvent.Chunk) return@collect
            delay(1000) // virtual: all that does not wait for this collector is done meanwhile
            received++
            assertTrue(engine.calls.count { it == "run decoder_2" } <= received + 1)
        }
        assertTrue(received > 3)
    }

    @Test
    fun `sounds that are asked for together are made one after the other`() = runBlocking {
        val generator = open()
        val requests = List(4) { request.copy(seed = it.toULong()) }
        val sounds = requests.map { async { generator.generate(it).toList().chunks().joined() } }
        requests.zip(sounds.awaitAll()) { one, sound ->
            assertContentEquals(soundInOneCall(bundle, one), sound)
        }
        assertEquals(emptySet(), engine.loaded)
    }

    @Test
    fun `a long prompt is warned of, in the flow and in the figures`() {
        val events = events(open(), request.copy(prompt = "rain ".repeat(50)))
        val warnings = events.filterIsInstance<GenerationEvent.Warning>().map { it.message }
        assertTrue(warnings.any { "cut off" in it }, "$warnings")
        assertEquals(warnings, (events.last() as GenerationEvent.Finished).report.warnings)
    }

    @Test
    fun `a flow model is told of with every sound`() {
        val flow = TestBundle(folder.resolve("flow"))
        val more = "objective" to JsonPrimitive("rectified_flow")
        flow.replaceManifest(JsonObject(flow.manifest + more).toString())
        val opened = flow.open()
        val generator = AudioGenerator.open(
            opened,
            provider = ArithmeticProvider { ArithmeticEngine(opened) },
        )
        repeat(2) {
            val events = events(generator, request)
            val warning = events.filterIsInstance<GenerationEvent.Warning>().first().message
            assertTrue("a flow model: 2 steps without guidance" in warning, warning)
            assertTrue(warning in (events.last() as GenerationEvent.Finished).report.warnings)
        }
        val silent = events(open(), request).filterIsInstance<GenerationEvent.Warning>()
        assertTrue(silent.none { "flow model" in it.message })
    }

    @Test
    fun `threads have a range`() {
        for (threads in listOf(-1, 0, 1025, 100_000)) {
            val error = assertFailsWith<ArcMobileException> {
                open(GeneratorOptions(EngineOptions(threads)))
            }
            assertEquals(Kind.REQUEST, error.kind)
            assertEquals("threads $threads: give 1 to 1024", error.message)
        }
        open(GeneratorOptions(EngineOptions(1024)))
    }

    @Test
    fun `a file that is there, or a name that is none, is told before anything is computed`() {
        val file = folder.resolve("rain.wav").apply { writeText("precious") }
        for (place in listOf(file, folder.resolve("rain.flac"))) {
            val error = assertFailsWith<ArcMobileException> {
                runBlocking { open().generateWav(place, request) }
            }
            assertEquals(Kind.OUTPUT, error.kind)
        }
        assertEquals("precious", file.readText())
        assertEquals(emptyList(), engine.calls)
        runBlocking { open().generateWav(file, request, overwrite = true) }
        assertEquals(44L + 384 * 2 * 2, file.length())
    }

    @Test
    fun `a request out of range fails before anything is loaded`() {
        val error = assertFailsWith<ArcMobileException> { sound(open(), request.copy(steps = 99)) }
        assertEquals(Kind.REQUEST, error.kind)
        assertEquals(emptyList(), engine.calls)
    }

    @Test
    fun `an engine is found by the backend, or the message says what to add`() {
        fun message(backend: String, provider: EngineProvider? = null): String {
            val other = TestBundle(folder.resolve(backend), backend).open()
            val error = assertFailsWith<ArcMobileException> {
                AudioGenerator.open(other, provider = provider)
            }
            assertEquals(Kind.ENGINE, error.kind)
            return error.message
        }
        assertTrue("module 'executorch'" in message("executorch"))
        assertTrue("module 'onnxruntime'" in message("onnx", ArithmeticProvider()))
        assertTrue("--backend arithmetic" in message("onnx", ArithmeticProvider()))
        assertTrue("'litert'" in message("litert"))
    }

    @Test
    fun `a native library for another processor is no crash`() {
        val provider = ArithmeticProvider { throw UnsatisfiedLinkError("no libengine.so") }
        val error = assertFailsWith<ArcMobileException> {
            AudioGenerator.open(bundle, provider = provider)
        }
        assertEquals(Kind.ENGINE, error.kind)
    }

    @Test
    fun `a tokenizer that is none is told when the bundle is opened`() {
        val file = bundle.folder.resolve("tokenizer.json")
        file.writeText("x".repeat(file.length().toInt()))
        val error = assertFailsWith<ArcMobileException> { open() }
        assertEquals(Kind.BUNDLE, error.kind)
    }

    @Test
    fun `figures are a record of the harness`() {
        val finished = events(open(), request).last() as GenerationEvent.Finished
        val record = Json.parseToJsonElement(finished.report.toJson()).jsonObject
        val keys = setOf(
            "prompt", "seed", "model", "recipe", "backend", "seconds", "sample_rate",
            "load_seconds", "tokenize_seconds", "conditioner_seconds", "encoder_seconds",
            "dit_step_seconds", "decode_window_seconds", "first_audio_seconds", "compute_seconds",
            "total_seconds", "rtf", "peak_memory_bytes", "warnings",
        )
        assertEquals(emptySet(), keys - record.keys)
        assertEquals("18446744073709551615", record.getValue("seed").toString())
        val loads = record.getValue("load_seconds").jsonObject
        assertEquals(listOf("conditioner", "dit", "decoder"), loads.keys.toList())
        assertEquals(2, record.getValue("dit_step_seconds").jsonArray.size)
        val load = loads.values.sumOf { it.jsonPrimitive.double }
        val compute = record.number("compute_seconds")
        assertEquals(record.number("total_seconds"), load + compute, 1e-9)
    }

    @Test
    fun `a sound goes to a file`() = runBlocking {
        val file = folder.resolve("new/rain.wav")
        val stages = mutableSetOf<Stage>()
        val report = open().generateWav(file, request, SampleFormat.FLOAT32) { stages += it.stage }
        assertEquals(44L + 384 * 2 * 4, file.length())
        assertEquals(3.84, report.seconds)
        assertEquals(Stage.entries.toSet(), stages)
    }

    @Test
    fun `samples beyond full scale are told`() = runBlocking {
        val report = open().generateWav(folder.resolve("rain.wav"), request)
        assertTrue(report.warnings.any { "clipped" in it }, "${report.warnings}")
    }

    @Test
    fun `taking one chunk is enough`() = runBlocking {
        val first = open().generate(request).first { it is GenerationEvent.Chunk }
        assertTrue((first as GenerationEvent.Chunk).audio.length > 0)
        assertEquals(emptySet(), engine.loaded)
    }

    private fun open(options: GeneratorOptions = GeneratorOptions()) =
        AudioGenerator.open(bundle, options, ArithmeticProvider { engine })

    private fun words(one: GenerationEvent.Progress) =
        "${one.stage} ${one.done}/${one.total} ${one.component.orEmpty()}".trim()

    private fun JsonObject.number(key: String) = getValue(key).jsonPrimitive.double

    private companion object {
        val request = GenerationRequest("warm rain", steps = 2, seed = ULong.MAX_VALUE)
    }
}

internal fun events(generator: AudioGenerator, request: GenerationRequest): List<GenerationEvent> =
    runBlocking { generator.generate(request).toList() }

internal fun sound(generator: AudioGenerator, request: GenerationRequest): FloatArray =
    events(generator, request).chunks().joined()

internal fun List<GenerationEvent>.chunks(): List<AudioChunk> =
    filterIsInstance<GenerationEvent.Chunk>().map { it.audio }

internal fun List<AudioChunk>.joined(): FloatArray =
    flatMap { it.samples.asList() }.toFloatArray()

/** The longest sound of a latent by the engine alone: no stages, no windows, no flow. */
internal fun soundInOneCall(bundle: Bundle, request: GenerationRequest): FloatArray {
    val engine = ArithmeticEngine(bundle)
    val plan = planGeneration(request, bundle.manifest)
    val spec = bundle.manifest.tokenizer
    val json = File(bundle.folder, "tokenizer.json").readText()
    val tokens = PromptTokenizer(json, spec.maxLength, spec.padId, spec.eosId)
        .tokenize(request.prompt)
    fun run(component: String, frames: Int?, vararg inputs: Tensor): FloatTensor {
        val program = bundle.manifest.components.getValue(component)
        val entry = program.entries.first { it.frames == frames }
        engine.load(component, entry)
        return engine.run(component, entry, inputs.toList()).single()
    }
    val length = tokens.inputIds.size.toLong()
    val conditioning = run(
        "conditioner",
        null,
        IntTensor.of(tokens.inputIds, 1, length),
        FloatTensor.of(tokens.attentionMask, 1, length),
        FloatTensor.of(floatArrayOf(plan.numbers.getValue("seconds_total")), 1),
        FloatTensor.of(floatArrayOf(plan.numbers.getValue("speed")), 1),
    )
    val shape = longArrayOf(1, 2, plan.frames.toLong())
    val sampler = PingPongSampler(plan.times, PhiloxNoise(plan.seed), shape)
    for (step in 0 until sampler.steps) {
        val time = FloatTensor.of(floatArrayOf(sampler.time(step)), 1)
        sampler.advance(step, run("dit", plan.frames, conditioning, time, sampler.latent))
    }
    val features = convolve("decoder_1", sampler.latent)
    val audio = convolve("decoder_2", FloatTensor.of(features, 1, 3, plan.frames * 4L))
    val samples = audio.size / 2
    return FloatArray(audio.size) { audio[it % 2 * samples + it / 2] }
}
