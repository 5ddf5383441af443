package org.arcmobile

import java.io.File
import kotlin.coroutines.cancellation.CancellationException
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.cancellable
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import org.arcmobile.ArcMobileException.Kind

/**
 * Makes sound from text with the programs of one bundle.
 *
 * ```
 * AudioGenerator.open(folder).use { generator ->
 *     generator.generate("warm rain on a tin roof", seconds = 5.0).collect { event ->
 *         when (event) {
 *             is GenerationEvent.Chunk -> player.write(event.audio.samples)
 *             is GenerationEvent.Progress -> show(event.stage, event.done, event.total)
 *             is GenerationEvent.Warning -> show(event.message)
 *             is GenerationEvent.Finished -> show(event.report)
 *         }
 *     }
 * }
 * ```
 *
 * Thread-safe. One sound is made at a time: a second waits for the first. Close it when it is not
 * needed, also to give memory back when the system asks for it.
 */
public class AudioGenerator private constructor(
    public val bundle: Bundle,
    private val options: GeneratorOptions,
    private val tokenizer: PromptTokenizer,
    opened: OpenEngine,
) : AutoCloseable {
    private val engine = opened.engine
    private val turn = Mutex()

    @Volatile
    private var closed = false
    private var engineClosed = false // belongs to whoever has the turn

    /** Length in seconds of the longest sound. */
    public val longestSeconds: Double get() = bundle.manifest.longestSeconds

    /** Sampler steps that the model was made for. */
    public val defaultSteps: Int get() = bundle.manifest.schedule.defaultSteps

    /** Name and version of the runtime that runs the bundle, for people. */
    public val runtime: String = opened.runtime

    /** As the other [generate], from a [GenerationRequest] with these values. */
    public fun generate(
        prompt: String,
        seconds: Double? = null,
        steps: Int? = null,
        seed: ULong? = null,
        numbers: Map<String, Float> = emptyMap(),
    ): Flow<GenerationEvent> = generate(GenerationRequest(prompt, seconds, steps, seed, numbers))

    /**
     * A cold flow: each collection makes the sound, on [GeneratorOptions.dispatcher]. Chunks come
     * as they are decoded; while the collector handles one the next is computed, and no more than
     * that. To compute further ahead, add [buffer].
     *
     * Cancelling the collector stops it before the next load, sampler step or decoder window, and
     * frees what it had loaded, unless programs are kept; no event follows. Collecting within a
     * collection of the same generator waits for itself.
     *
     * Fails with [ArcMobileException]: REQUEST before anything is loaded; ENGINE, BUNDLE or MEMORY
     * from the programs, after which nothing stays loaded; ENGINE if the generator is closed.
     */
    public fun generate(request: GenerationRequest): Flow<GenerationEvent> = flow {
        val plan = planGeneration(request, bundle.manifest)
        try {
            turn.withLock { generate(plan) }
        } finally {
            closeIfIdle()
        }
    }.buffer(Channel.RENDEZVOUS).flowOn(options.dispatcher)
        .cancellable() // an event that already waits in the channel would come after a cancel

    private suspend fun FlowCollector<GenerationEvent>.generate(plan: GenerationPlan) {
        val context = currentCoroutineContext()
        val programs = Programs(engine, bundle.manifest, options.keepLoaded) {
            context.ensureActive()
            checkOpen()
        }
        checkOpen()
        val figures = try {
            Generation(bundle.manifest, plan, programs, tokenizer, this).run()
        } catch (error: CancellationException) {
            throw error
        } catch (error: OutOfMemoryError) {
            programs.freeAll()
            throw ArcMobileException(
                Kind.MEMORY,
                "not enough memory while ${programs.activity}; close other apps, or use a " +
                    "smaller bundle or a shorter sound",
                error,
            )
        } catch (error: ArcMobileException) {
            programs.freeAll()
            throw error
        }
        val report = figures.report(bundle.manifest, runtime, options.engine.threads)
        emit(GenerationEvent.Finished(report))
    }

    /**
     * Frees everything; safe at any time, from any thread. A sound being made fails with kind
     * ENGINE as soon as the call of the engine that is running returns.
     */
    override fun close() {
        closed = true
        closeIfIdle()
    }

    /** Whoever holds the turn last closes the engine: nothing runs in it then. */
    private fun closeIfIdle() {
        if (!closed || !turn.tryLock()) return
        try {
            if (!engineClosed) engine.close()
        } finally {
            engineClosed = true
            turn.unlock()
        }
    }

    private fun checkOpen() {
        if (closed) throw ArcMobileException(Kind.ENGINE, "the generator is closed; open it again")
    }

    public companion object {
        /**
         * Opens the bundle in [folder] and finds its engine on the class path. Checks the manifest,
         * the presence, size and sha256 of the files, and the tokenizer; loads no program. Takes a
         * fraction of a second, but for the first time, when all files are read: not for the main
         * thread.
         *
         * @throws ArcMobileException of kind BUNDLE, ENGINE, REQUEST (threads) or MEMORY.
         */
        public fun open(folder: File, options: EngineOptions = EngineOptions()): AudioGenerator =
            open(folder, GeneratorOptions(options))

        /** As above, with all options. */
        public fun open(folder: File, options: GeneratorOptions): AudioGenerator =
            open(Bundle.openUnverified(folder), options)

        /**
         * As above, for a bundle that is open already; verifies it if that was not done.
         *
         * @param provider of the engine; null: the one on the class path that runs the bundle.
         */
        public fun open(
            bundle: Bundle,
            options: GeneratorOptions = GeneratorOptions(),
            provider: EngineProvider? = null,
        ): AudioGenerator {
            bundle.verify(VerifiedFiles(options.verifiedCache))
            val spec = bundle.manifest.tokenizer
            val tokenizer = try {
                PromptTokenizer(bundle.tokenizerJson(), spec.maxLength, spec.padId, spec.eosId)
            } catch (error: OutOfMemoryError) {
                throw ArcMobileException(
                    Kind.MEMORY,
                    "not enough memory for the tokenizer of ${bundle.folder}; close other apps, " +
                        "or use a smaller bundle",
                    error,
                )
            }
            val engine = openEngine(bundle, options.engine, provider)
            return AudioGenerator(bundle, options, tokenizer, engine)
        }

        /**
         * Name and version of the runtime on the class path that runs [bundle], for a list of what
         * can be used; nothing is verified or loaded.
         *
         * @throws ArcMobileException of kind ENGINE if there is none, or it is too old.
         */
        public fun runtimeOf(bundle: Bundle): String {
            val opened = openEngine(bundle, EngineOptions(), given = null)
            opened.engine.close()
            return opened.runtime
        }
    }
}
