package org.arcmobile.demo

import android.content.Context
import java.io.IOException
import kotlin.math.ceil
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.withContext
import org.arcmobile.ArcMobileException
import org.arcmobile.ArcMobileException.Kind
import org.arcmobile.AudioGenerator
import org.arcmobile.GenerationEvent
import org.arcmobile.GenerationReport
import org.arcmobile.GenerationRequest
import org.arcmobile.GeneratorOptions
import org.arcmobile.WavWriter
import org.arcmobile.demo.SessionState.Phase

/**
 * Makes sounds, one at a time, for as long as the app's process lives: screens come and go and
 * only show [state]. Call it on the main thread; [scope] must run there, too.
 *
 * @param computing held by whoever uses the processor: this or a benchmark.
 */
internal class GenerationSession(
    private val context: Context,
    private val scope: CoroutineScope,
    private val library: BundleLibrary,
    private val sounds: SoundStore,
    private val settings: Settings,
    private val device: Device,
    private val player: Player,
    private val failures: Failures,
    private val computing: Mutex,
) {
    private class Opened(
        val entry: BundleEntry,
        val generator: AudioGenerator,
        val keepsAll: Boolean,
    )

    private val mutableState = MutableStateFlow(SessionState(seedUsed = settings.seedUsed))
    private var job: Job? = null
    private var restoring: Job? = null
    private var opened: Opened? = null
    private var unloadAfter = false

    val state: StateFlow<SessionState> = mutableState.asStateFlow()

    /** Brings back the last sound of an earlier process. */
    fun restore() {
        restoring = scope.launch(Dispatchers.IO) {
            sounds.prepare()
            val file = settings.sound?.let(sounds::find) ?: return@launch
            val sound = try {
                sounds.read(file)
            } catch (_: IOException) {
                return@launch
            }
            mutableState.update {
                if (it.recording == null) it.copy(recording = Recording(sound, file)) else it
            }
        }
    }

    /** Makes the sound of [request] with the chosen bundle; nothing to do while one is made. */
    fun generate(request: GenerationRequest) {
        if (mutableState.value.busy) return
        if (!computing.tryLock()) {
            val error = context.getString(R.string.error_benchmark_runs)
            mutableState.update { it.copy(error = error) }
            return
        }
        val before = mutableState.value.recording
        mutableState.update {
            it.copy(phase = Phase.Opening, warnings = emptyList(), error = null)
        }
        job = scope.launch {
            try {
                val error = failures.of {
                    withContext(Dispatchers.Default) { make(request) }
                }
                mutableState.update { it.copy(error = error) }
            } finally {
                conclude(before)
            }
        }
    }

    /** Stops the generation in progress as soon as the engine lets go; nothing is left of it. */
    fun cancel() {
        if (!mutableState.value.busy) return
        mutableState.update { it.copy(phase = Phase.Stopping) }
        job?.cancel()
    }

    /** Frees what the engine holds in memory: now, or when the generation in progress is over. */
    fun unload() {
        if (mutableState.value.busy) {
            unloadAfter = true
        } else {
            close()
        }
    }

    /** Shows what went wrong with the sound afterwards, e.g. when it was saved. */
    fun showError(message: String): Unit = mutableState.update { it.copy(error = message) }

    fun dismissError(): Unit = mutableState.update { it.copy(error = null) }

    fun dismissWarnings(): Unit = mutableState.update { it.copy(warnings = emptyList()) }

    private fun conclude(before: Recording?) {
        computing.unlock()
        if (unloadAfter) close()
        unloadAfter = false
        val unfinished = mutableState.value.recording?.takeIf { it.file == null }
        unfinished?.sound?.end()
        if (unfinished != null && player.state.value.sound === unfinished.sound) player.stop()
        mutableState.update {
            it.copy(
                phase = Phase.Idle,
                recording = if (unfinished == null) it.recording else before,
            )
        }
    }

    private suspend fun make(request: GenerationRequest) {
        restoring?.join() // it removes unfinished files
        val entry = library.state.value.chosen ?: throw ArcMobileException(
            Kind.BUNDLE,
            context.getString(R.string.error_no_bundle),
        )
        val generator = open(entry)
        val audio = generator.bundle.manifest.audio
        val seconds = request.seconds ?: generator.longestSeconds
        val frames = ceil(seconds * audio.sampleRate).toInt()
        device.requireSpace(sounds.folder, frames.toLong() * audio.channels * Short.SIZE_BYTES)
        val sound = Sound(audio.sampleRate, audio.channels, frames)
        val seed = request.seed ?: rollSeed()
        val file = sounds.newFile(request.prompt, seed)
        WavWriter.create(
            file, audio.sampleRate, audio.channels, expectedSamples = frames.toLong(),
        ).use { writer ->
            generator.generate(request.copy(seed = seed)).collect { event ->
                when (event) {
                    is GenerationEvent.Progress -> progress(event)
                    is GenerationEvent.Warning -> warn(event.message)
                    is GenerationEvent.Chunk -> {
                        writer.write(event.audio)
                        sound.append(event.audio.samples)
                        if (sound.made.value.frames == event.audio.length) appear(sound)
                    }
                    is GenerationEvent.Finished -> {
                        writer.finish()
                        if (writer.clipped > 0) warn(clipped(writer.clipped))
                        finish(Recording(sound, file), event.report)
                    }
                }
            }
        }
    }

    /** The generator for [entry]: the one of the last sound, if its bundle is still the same. */
    private fun open(entry: BundleEntry): AudioGenerator {
        opened?.takeIf { it.entry == entry && it.keepsAll }?.let { return it.generator }
        close()
        val facts = entry.facts ?: throw ArcMobileException(Kind.BUNDLE, entry.problem.orEmpty())
        device.requireMemory(facts)
        val roomy = device.memory > ALL_IN_MEMORY * facts.bytes
        val options = GeneratorOptions(keepLoaded = roomy, verifiedCache = context.cacheDir)
        val generator = AudioGenerator.open(entry.folder, options)
        opened = Opened(entry, generator, roomy)
        return generator
    }

    private fun close() {
        opened?.generator?.close()
        opened = null
    }

    private fun progress(event: GenerationEvent.Progress) = mutableState.update {
        if (it.phase == Phase.Stopping) it else it.copy(phase = Phase.Running(event))
    }

    private fun warn(message: String) =
        mutableState.update { it.copy(warnings = it.warnings + message) }

    private fun clipped(count: Long): String = context.resources.getQuantityString(
        R.plurals.warning_clipped,
        count.coerceAtMost(Int.MAX_VALUE.toLong()).toInt(),
        count,
    )

    /** The first samples are there. */
    private fun appear(sound: Sound) {
        mutableState.update { it.copy(recording = Recording(sound, file = null)) }
        if (settings.playWhileMade) scope.launch { player.play(sound) }
    }

    private fun finish(recording: Recording, report: GenerationReport) {
        recording.sound.end()
        sounds.prune()
        settings.sound = recording.file?.name
        settings.seedUsed = report.seed
        mutableState.update {
            it.copy(recording = recording, report = report, seedUsed = report.seed)
        }
    }

    private companion object {
        /** Memory, in sizes of the bundle, from which on all programs stay loaded. */
        const val ALL_IN_MEMORY = 4L
    }
}
