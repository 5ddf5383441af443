package org.arcmobile

/**
 * What `manifest.json` says of a bundle, schema version 2; the Python side writes it, see
 * `runtime/bundle_schema.py`. An instance read by [Bundle.open] is consistent: components, tensor
 * names, shapes and windows fit together.
 *
 * @property minimumRuntime oldest release of the backend's runtime that computes the programs as
 *   they were checked at export, e.g. `1.3.0`; null where the bundle does not say.
 * @property objective what the model was trained for; null where the bundle does not say.
 * @property frameCounts latent lengths the DiT was exported for.
 * @property noise id of the noise generator.
 * @property components program files by name: `conditioner`, `dit`, `decoder_1` and on, and
 *   `encoder` where the bundle has one.
 */
public data class Manifest(
    val modelId: String,
    val licenseNotice: String,
    val recipe: String,
    val backend: String,
    val minimumRuntime: String?,
    val objective: Objective?,
    val audio: AudioFormat,
    val frameCounts: List<Int>,
    val numbers: List<NumberInput>,
    val tokenizer: TokenizerSpec,
    val schedule: Schedule,
    val noise: String,
    val windowing: Windowing,
    val components: Map<String, Component>,
    val provenance: Provenance,
) {
    /** Every file of the bundle but the manifest: the tokenizer's, then the programs. */
    val files: List<FileRecord> get() = tokenizer.files + components.values

    /** Length in seconds of the longest sound the bundle can make. */
    val longestSeconds: Double
        get() = frameCounts.max().toDouble() * audio.samplesPerFrame / audio.sampleRate
}

/** What a model was trained for; [id] is the manifest's word for it. */
public enum class Objective(internal val id: String) {
    /** Sounds in few steps, as ARC post-training makes it. */
    RF_DENOISER(FEW_STEP_OBJECTIVE),

    /** A flow model before post-training: it needs many steps and guidance. */
    RECTIFIED_FLOW(FLOW_OBJECTIVE),
}

/** A file of the bundle: a plain name in its folder, sha256 in hex, size in bytes. */
public sealed interface FileRecord {
    public val file: String
    public val sha256: String
    public val bytes: Long
}

/** A file of the text front end. */
public data class TokenizerFile(
    override val file: String,
    override val sha256: String,
    override val bytes: Long,
) : FileRecord

/**
 * One program file.
 *
 * @property precision of each part of the network in it, by name.
 */
public data class Component(
    override val file: String,
    override val sha256: String,
    override val bytes: Long,
    val precision: Map<String, String>,
    val entries: List<Entry>,
    val fidelity: Fidelity,
) : FileRecord {
    /** The entry that works on exactly [frames] frames, or null. */
    public fun entryFor(frames: Int): Entry? = entries.firstOrNull { it.frames == frames }

    /** Frame counts of the entries, ascending. */
    val windows: List<Int> get() = entries.mapNotNull { it.frames }.sorted()
}

/**
 * One callable of a program file: an ExecuTorch method, an ONNX graph. Inputs and outputs are
 * listed in call order.
 *
 * @property frames that it works on: of the latent, or of the features that a later part of the
 *   decoder takes; null for the conditioner.
 */
public data class Entry(
    val name: String,
    val frames: Int?,
    val inputs: List<TensorSpec>,
    val outputs: List<TensorSpec>,
) {
    /** The input or output called [tensor], or null. */
    public fun spec(tensor: String): TensorSpec? =
        inputs.firstOrNull { it.name == tensor } ?: outputs.firstOrNull { it.name == tensor }
}

/** One input or output of an entry; shapes are fixed. [dtype] is `float32` or `int32`. */
public data class TensorSpec(val name: String, val shape: List<Long>, val dtype: String) {
    /** Number of values. */
    val elements: Long get() = shape.fold(1L) { product, size -> product * size }
}

/** How far a lowered program is from the float32 network; [snrDb] null: identical. */
public data class Fidelity(val maxAbsError: Double, val snrDb: Double?, val cosine: Double)

/** The sound a bundle makes; [samplesPerFrame] samples per channel for each latent frame. */
public data class AudioFormat(
    val sampleRate: Int,
    val channels: Int,
    val samplesPerFrame: Int,
    val latentChannels: Int,
)

/** A number the model is conditioned on; the program clamps it to [minimum] .. [maximum]. */
public data class NumberInput(val name: String, val minimum: Double, val maximum: Double)

/** The text front end; `tokenizer.json` is among its [files]. */
public data class TokenizerSpec(
    val files: List<TokenizerFile>,
    val maxLength: Int,
    val padId: Int,
    val eosId: Int,
)

/** The line of log-SNR that the ping-pong sampler follows. */
public data class Schedule(
    val logsnrStart: Double,
    val logsnrEnd: Double,
    val defaultSteps: Int,
)

/** The decoder's parts in order, and the context of the encoder. */
public data class Windowing(val decoder: List<DecoderPart>, val encoderContextFrames: Int)

/**
 * One part of the decoder: its input has [framesPerLatent] frames for each latent frame, and what
 * comes out closer than [contextFrames] of them to a window's inner edge is dropped.
 */
public data class DecoderPart(
    val component: String,
    val framesPerLatent: Int,
    val contextFrames: Int,
)

/** Where a bundle comes from: ISO 8601 time, digest of the checkpoint, tools and their versions. */
public data class Provenance(
    val created: String,
    val checkpointSha256: String,
    val tools: Map<String, String>,
)
