package org.arcmobile

/** Events of a generation: warnings, progress and chunks, then one [Finished]. */
public sealed interface GenerationEvent {
    /**
     * [done] of [total] parts of a [stage]: sampler steps, latent frames decoded, else 0 or 1.
     * [component] is what is being loaded in the stage LOAD.
     */
    public data class Progress(
        val stage: Stage,
        val done: Int,
        val total: Int,
        val component: String? = null,
    ) : GenerationEvent

    /** The request is carried out, but not as the user may expect, e.g. with a cut prompt. */
    public data class Warning(val message: String) : GenerationEvent

    /** The next samples: interleaved float32, neither normalised nor clipped. */
    public class Chunk(public val audio: AudioChunk) : GenerationEvent

    /** The end: every sample has been given. */
    public data class Finished(val report: GenerationReport) : GenerationEvent
}

/** Steps of a generation, in order. Loads come between them. */
public enum class Stage { LOAD, TOKENIZE, CONDITIONER, DIT, DECODE }

/** Interleaved float32 [samples] of [channels] channels at [sampleRate] Hz. */
public class AudioChunk(
    public val samples: FloatArray,
    public val channels: Int,
    public val sampleRate: Int,
) {
    /** Samples per channel. */
    public val length: Int get() = samples.size / channels
}

/**
 * Figures of one generation, in seconds and bytes; the same as those of `arcmobile generate
 * --stats-json` and of the native runner.
 *
 * @property seed the seed used, random or of the request.
 * @property seconds of sound made.
 * @property loadSeconds by component, in order of loading.
 * @property decodeCallSeconds one per chunk of sound, with all the parts' windows it needed.
 * @property firstAudioSeconds of loading and computing until the first chunk was there.
 * @property computeSeconds without loading, and without what the collector of the flow did.
 * @property totalSeconds computing and loading.
 * @property peakMemoryBytes resident memory of the process, the peak of each stage (`conditioner`,
 *   `dit`, `decoder`); empty where the system does not let an app start a new peak.
 * @property processPeakBytes the highest of these, else the peak since the process began; null
 *   where the system does not report it.
 * @property frames of the latent, all that the sampler worked on.
 * @property decoderWindows frames per call of each part of the decoder.
 * @property warnings all that were given as [GenerationEvent.Warning].
 */
public data class GenerationReport(
    val prompt: String,
    val seed: ULong,
    val model: String,
    val recipe: String,
    val backend: String,
    val runtime: String,
    val threads: Int?,
    val steps: Int,
    val seconds: Double,
    val sampleRate: Int,
    val loadSeconds: Map<String, Double>,
    val tokenizeSeconds: Double,
    val conditionerSeconds: Double,
    val ditStepSeconds: List<Double>,
    val decodeCallSeconds: List<Double>,
    val firstAudioSeconds: Double,
    val computeSeconds: Double,
    val totalSeconds: Double,
    val peakMemoryBytes: Map<String, Long>,
    val processPeakBytes: Long? = null,
    val frames: Int? = null,
    val decoderWindows: List<Int> = emptyList(),
    val warnings: List<String> = emptyList(),
) {
    /** Real-time factor: seconds of computing (without loading) per second of sound. */
    val rtf: Double get() = computeSeconds / seconds

    /**
     * A JSON object with the keys of a record of `arcmobile generate --stats-json`, and those of
     * the native runner that apply; a JSON list of such objects is a file of that format.
     */
    public fun toJson(): String = json().toString()
}
