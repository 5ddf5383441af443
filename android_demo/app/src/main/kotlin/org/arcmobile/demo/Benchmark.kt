package org.arcmobile.demo

import android.content.Context
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
import org.arcmobile.EngineOptions
import org.arcmobile.GenerationEvent
import org.arcmobile.GenerationReport
import org.arcmobile.GenerationRequest
import org.arcmobile.GeneratorOptions

/** @property running where the benchmark stands; null: none is running. */
internal data class BenchmarkState(
    val running: Running? = null,
    val record: BenchmarkRecord? = null,
    val error: String? = null,
) {
    /** [run] counts from 1; 0 is the warm-up. */
    data class Running(
        val run: Int,
        val repeats: Int,
        val progress: GenerationEvent.Progress? = null,
        val stopping: Boolean = false,
    )
}

/**
 * Generates the same sound several times and measures. Programs are loaded for every run,
 * as by `arcmobile bench run`. Call it on the main thread; [scope] must run there, too.
 *
 * @param unload frees what the session holds: ExecuTorch has one number of threads per process,
 *   and occupied memory would distort the results.
 */
internal class Benchmark(
    private val context: Context,
    private val scope: CoroutineScope,
    private val library: BundleLibrary,
    private val device: Device,
    private val failures: Failures,
    private val computing: Mutex,
    private val unload: () -> Unit,
) {
    private val mutableState = MutableStateFlow(BenchmarkState())
    private var job: Job? = null

    val state: StateFlow<BenchmarkState> = mutableState.asStateFlow()

    /** Runs [repeats] times after a warm-up; [threads] null: as many as the engine takes. */
    fun run(repeats: Int, threads: Int?) {
        if (mutableState.value.running != null) return
        if (!computing.tryLock()) {
            val error = context.getString(R.string.error_generation_runs)
            mutableState.update { it.copy(error = error) }
            return
        }
        mutableState.value = BenchmarkState(BenchmarkState.Running(0, repeats))
        unload()
        job = scope.launch {
            try {
                val error = failures.of {
                    withContext(Dispatchers.Default) { measure(repeats, threads) }
                }
                mutableState.update { it.copy(error = error) }
            } finally {
                computing.unlock()
                mutableState.update { it.copy(running = null) }
            }
        }
    }

    /** Stops as soon as the engine lets go. */
    fun cancel() {
        mutableState.update { it.copy(running = it.running?.copy(stopping = true)) }
        job?.cancel()
    }

    fun dismissError(): Unit = mutableState.update { it.copy(error = null) }

    private suspend fun measure(repeats: Int, threads: Int?) {
        val entry = library.state.value.chosen
        val facts = entry?.facts ?: throw ArcMobileException(
            Kind.BUNDLE,
            context.getString(R.string.error_no_bundle),
        )
        device.requireMemory(facts)
        val before = device.thermalStatus
        val options = GeneratorOptions(EngineOptions(threads), verifiedCache = context.cacheDir)
        val reports = AudioGenerator.open(entry.folder, options).use { generator ->
            (0..repeats).map { run ->
                mutableState.update { it.copy(running = it.running?.copy(run = run)) }
                once(generator)
            }
        }
        val record = BenchmarkRecord(
            reports = reports.drop(1),
            bundleBytes = facts.bytes,
            device = DeviceFacts.of(device),
            thermalBefore = before,
            thermalAfter = device.thermalStatus,
        )
        mutableState.update { it.copy(record = record) }
    }

    private suspend fun once(generator: AudioGenerator): GenerationReport {
        var report: GenerationReport? = null
        generator.generate(REQUEST).collect { event ->
            when (event) {
                is GenerationEvent.Progress -> mutableState.update {
                    it.copy(running = it.running?.copy(progress = event))
                }
                is GenerationEvent.Finished -> report = event.report
                is GenerationEvent.Chunk, is GenerationEvent.Warning -> Unit
            }
        }
        return checkNotNull(report) { "a generation ended without a report" }
    }

    companion object {
        /** The longest sound of the bundle in its own number of steps. */
        val REQUEST: GenerationRequest =
            GenerationRequest(prompt = "128 BPM tech house drum loop", seed = 1u)
    }
}
