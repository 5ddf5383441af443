package org.arcmobile

import kotlin.time.TimeSource
import kotlinx.coroutines.flow.FlowCollector
import org.arcmobile.ArcMobileException.Kind

/**
 * One run from prompt to sound: text encoder, sampler over the DiT, decoder part by part. Holds one
 * stage's programs in memory at a time, and [emit]s what happens; time the collector takes is in
 * none of the figures.
 */
internal class Generation(
    private val manifest: Manifest,
    private val plan: GenerationPlan,
    private val programs: Programs,
    private val tokenizer: PromptTokenizer,
    private val collector: FlowCollector<GenerationEvent>,
) {
    private val figures = Figures(plan, programs.loadSeconds)

    /** Makes the sound and gives its figures, complete but for what the caller knows. */
    suspend fun run(): Figures {
        plan.warnings.forEach { warn(it) }
        decode(sample(condition(tokenize())))
        return figures
    }

    private suspend fun tokenize(): TokenizedPrompt {
        progress(Stage.TOKENIZE, 0, 1)
        val begin = TimeSource.Monotonic.markNow()
        val tokens = tokenizer.tokenize(plan.prompt)
        figures.tokenizeSeconds = begin.secondsSince()
        progress(Stage.TOKENIZE, 1, 1)
        tokens.warning?.let { warn(it) }
        return tokens
    }

    /** What the DiT takes of the text, by name. */
    private suspend fun condition(tokens: TokenizedPrompt): Map<String, FloatTensor> {
        val entry = manifest.components.getValue(CONDITIONER).entries.first()
        val length = tokens.inputIds.size.toLong()
        val inputs = plan.numbers.mapValues { FloatTensor.of(floatArrayOf(it.value), 1) } + mapOf(
            INPUT_IDS to IntTensor.of(tokens.inputIds, 1, length),
            ATTENTION_MASK to FloatTensor.of(tokens.attentionMask, 1, length),
        )
        return stage(CONDITIONER, mapOf(CONDITIONER to entry)) {
            progress(Stage.CONDITIONER, 0, 1)
            val begin = TimeSource.Monotonic.markNow()
            val outputs = programs.run(CONDITIONER, entry, inputs)
            figures.conditionerSeconds = begin.secondsSince()
            progress(Stage.CONDITIONER, 1, 1)
            entry.outputs.map { it.name }.zip(outputs).toMap()
        }
    }

    /** The latent, `(1, latentChannels, frames)`. */
    private suspend fun sample(conditioning: Map<String, FloatTensor>): FloatTensor {
        val entry = checkNotNull(manifest.components.getValue(DIT).entryFor(plan.frames))
        val shape = longArrayOf(1, manifest.audio.latentChannels.toLong(), plan.frames.toLong())
        return stage(DIT, mapOf(DIT to entry)) {
            progress(Stage.DIT, 0, plan.steps)
            var begin = TimeSource.Monotonic.markNow()
            val sampler = PingPongSampler(plan.times, PhiloxNoise(plan.seed), shape)
            for (index in 0 until sampler.steps) {
                val time = FloatTensor.of(floatArrayOf(sampler.time(index)), 1)
                val inputs = conditioning + mapOf(LATENT to sampler.latent, TIMESTEP to time)
                sampler.advance(index, programs.run(DIT, entry, inputs).single())
                figures.ditStepSeconds += begin.secondsSince()
                progress(Stage.DIT, index + 1, sampler.steps)
                begin = TimeSource.Monotonic.markNow()
            }
            sampler.latent.also { checkFinite(DIT, it.toFloatArray()) }
        }
    }

    private suspend fun decode(latent: FloatTensor) {
        stage(DECODER, plan.decoder.associate { it.component to it.entry }) {
            progress(Stage.DECODE, 0, plan.framesNeeded)
            val chain = DecoderChain(
                latent,
                plan.decoder,
                plan.samples,
                run = { part, window ->
                    val input = part.entry.inputs.single().name
                    programs.run(part.component, part.entry, mapOf(input to window)).single()
                },
                done = { programs.release(it.component) },
            )
            while (true) {
                val begin = TimeSource.Monotonic.markNow()
                val chunk = chain.next() ?: break
                checkFinite(DECODER, chunk)
                figures.decodeCallSeconds += begin.secondsSince()
                give(chunk)
            }
        }
    }

    private suspend fun give(samples: FloatArray) {
        val audio = manifest.audio
        val chunk = AudioChunk(samples, audio.channels, audio.sampleRate)
        figures.samples += chunk.length
        collector.emit(GenerationEvent.Chunk(chunk))
        val frames = (figures.samples + audio.samplesPerFrame - 1) / audio.samplesPerFrame
        progress(Stage.DECODE, minOf(frames, plan.framesNeeded), plan.framesNeeded)
    }

    /** Loads a stage's programs, runs [body] with them, and frees them however that ends. */
    private suspend fun <T> stage(
        name: String,
        entries: Map<String, Entry>,
        body: suspend () -> T,
    ): T {
        val fresh = ProcessMemory.resetPeak()
        try {
            for ((component, entry) in entries) {
                progress(Stage.LOAD, 0, 1, component)
                programs.load(component, entry)
                progress(Stage.LOAD, 1, 1, component)
            }
            val result = body()
            figures.notePeak(name, ProcessMemory.peakBytes(), fresh)
            return result
        } finally {
            entries.keys.forEach(programs::release)
        }
    }

    private suspend fun progress(stage: Stage, done: Int, total: Int, component: String? = null) =
        collector.emit(GenerationEvent.Progress(stage, done, total, component))

    private suspend fun warn(message: String) {
        figures.warnings += message
        collector.emit(GenerationEvent.Warning(message))
    }
}

private fun checkFinite(component: String, values: FloatArray) {
    if (values.all(Float::isFinite)) return
    throw ArcMobileException(
        Kind.ENGINE,
        "$component gave NaN or infinite values; export the bundle again with another recipe",
    )
}
