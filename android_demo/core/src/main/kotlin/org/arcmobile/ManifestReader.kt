package org.arcmobile

import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive

// Reads manifest.json field by field; ManifestChecks.kt then checks that the parts agree.

internal const val SCHEMA_VERSION = 2

private const val BYTE_ORDER_MARK = '\uFEFF'
private val ARITHMETIC = listOf("int8", "fp16", "fp32")

/** The manifest in [text]; [InvalidManifest] says what is wrong with it. */
internal fun readManifest(text: String): Manifest {
    if (text.startsWith(BYTE_ORDER_MARK)) throw InvalidManifest("begins with a byte order mark")
    val document = try {
        checkJson(text, Bounds.MANIFEST_DEPTH)
        Json.parseToJsonElement(text)
    } catch (error: IllegalArgumentException) {
        throw InvalidManifest("not JSON (${error.message.orEmpty().lineSequence().first()})")
    }
    checkVersion(document as? JsonObject ?: throw InvalidManifest("must be a JSON object"))
    return readFields(ManifestField(document)).also(::checkPartsAgree)
}

private fun checkVersion(document: JsonObject) {
    val given = document["schema_version"] as? JsonPrimitive
    val version = given?.takeUnless { it.isString }?.content?.toLongOrNull()
    if (version == SCHEMA_VERSION.toLong()) return
    val problem = "schema_version ${version ?: "is missing or not an integer"}"
    throw when {
        version == null -> InvalidManifest(problem)
        version > SCHEMA_VERSION -> InvalidManifest(
            "$problem is newer than $SCHEMA_VERSION, the newest this app reads",
            "upgrade the app",
        )
        else -> InvalidManifest(
            "$problem is older than $SCHEMA_VERSION, which this app reads",
            "export the bundle again with a newer arcmobile",
        )
    }
}

private fun readFields(root: ManifestField): Manifest {
    val fields = root.record(
        listOf(
            "schema_version", "model_id", "license_notice", "recipe", "backend", "audio",
            "frame_counts", "numbers", "tokenizer", "schedule", "noise", "windowing",
            "components", "provenance",
        ),
        optional = listOf("minimum_runtime", "objective"),
    )
    return Manifest(
        modelId = fields["model_id"].text(),
        licenseNotice = fields["license_notice"].text(),
        recipe = fields["recipe"].text(),
        backend = fields["backend"].text(),
        minimumRuntime = fields.find("minimum_runtime")?.release(),
        objective = fields.find("objective")?.let(::readObjective),
        audio = readAudio(fields["audio"]),
        frameCounts = fields["frame_counts"].list(atLeast = 1).map { it.integer(1, Bounds.FRAMES) },
        numbers = fields["numbers"].list().map(::readNumber),
        tokenizer = readTokenizer(fields["tokenizer"]),
        schedule = readSchedule(fields["schedule"]),
        noise = fields["noise"].choice(NOISE_ID),
        windowing = readWindowing(fields["windowing"]),
        components = fields["components"].members().mapValues { readComponent(it.value) },
        provenance = readProvenance(fields["provenance"]),
    )
}

private fun readObjective(field: ManifestField): Objective {
    val id = field.choice(*Objective.entries.map { it.id }.toTypedArray())
    return Objective.entries.first { it.id == id }
}

private fun readAudio(field: ManifestField): AudioFormat {
    val fields = field.record(
        listOf("sample_rate", "channels", "samples_per_frame", "latent_channels"),
    )
    return AudioFormat(
        sampleRate = fields["sample_rate"].integer(1, Bounds.SAMPLE_RATE),
        channels = fields["channels"].integer(1, Bounds.CHANNELS),
        samplesPerFrame = fields["samples_per_frame"].integer(1, Bounds.SAMPLES_PER_FRAME),
        latentChannels = fields["latent_channels"].integer(1, Bounds.LATENT_CHANNELS),
    )
}

private fun readNumber(field: ManifestField): NumberInput {
    val fields = field.record(listOf("name", "minimum", "maximum"))
    return NumberInput(
        name = fields["name"].text(),
        minimum = fields["minimum"].number(),
        maximum = fields["maximum"].number(),
    )
}

private fun readTokenizer(field: ManifestField): TokenizerSpec {
    val fields = field.record(listOf("kind", "files", "max_length", "pad_id", "eos_id"))
    fields["kind"].choice(TOKENIZER_KIND)
    val files = fields["files"].list(atLeast = 1).map(::readTokenizerFile)
    if (files.none { it.file == TOKENIZER_FILE }) fields["files"].fail("has no $TOKENIZER_FILE")
    return TokenizerSpec(
        files = files,
        maxLength = fields["max_length"].integer(1, Bounds.TOKENS),
        padId = fields["pad_id"].integer(0, Bounds.TOKEN_ID),
        eosId = fields["eos_id"].integer(0, Bounds.TOKEN_ID),
    )
}

private fun readTokenizerFile(field: ManifestField): TokenizerFile {
    val fields = field.record(listOf("file", "sha256", "bytes"))
    return TokenizerFile(
        file = fields["file"].fileName(),
        sha256 = fields["sha256"].digest(),
        bytes = fields["bytes"].long(0, Bounds.TOKENIZER_BYTES.toLong()),
    )
}

private fun readSchedule(field: ManifestField): Schedule {
    val fields = field.record(listOf("kind", "logsnr_start", "logsnr_end", "default_steps"))
    fields["kind"].choice(SCHEDULE_KIND)
    return Schedule(
        logsnrStart = fields["logsnr_start"].number(),
        logsnrEnd = fields["logsnr_end"].number(),
        defaultSteps = fields["default_steps"].integer(1, Bounds.STEPS),
    )
}

private fun readWindowing(field: ManifestField): Windowing {
    val fields = field.record(listOf("decoder", "encoder_context_frames"))
    return Windowing(
        decoder = fields["decoder"].list(atLeast = 1).map(::readDecoderPart),
        encoderContextFrames = fields["encoder_context_frames"].integer(0, Bounds.FRAMES),
    )
}

private fun readDecoderPart(field: ManifestField): DecoderPart {
    val fields = field.record(listOf("component", "frames_per_latent", "context_frames"))
    return DecoderPart(
        component = fields["component"].text(),
        framesPerLatent = fields["frames_per_latent"].integer(1, Bounds.FRAMES),
        contextFrames = fields["context_frames"].integer(0, Bounds.FRAMES),
    )
}

private fun readComponent(field: ManifestField): Component {
    val fields = field.record(
        required = listOf("file", "sha256", "bytes", "precision", "entries", "fidelity"),
        optional = listOf("delegation"),
    )
    fields.find("delegation")?.members()?.values?.forEach { it.long(Long.MIN_VALUE) }
    return Component(
        file = fields["file"].fileName(),
        sha256 = fields["sha256"].digest(),
        bytes = fields["bytes"].long(0),
        precision = fields["precision"].members().mapValues { it.value.text() },
        entries = fields["entries"].list(atLeast = 1).map(::readEntry),
        fidelity = readFidelity(fields["fidelity"]),
    )
}

private fun readEntry(field: ManifestField): Entry {
    val fields = field.record(listOf("name", "inputs", "outputs"), listOf("frames", "work"))
    fields.find("work")?.let(::checkWork)
    return Entry(
        name = fields["name"].text(),
        frames = fields.find("frames")?.integer(1, Bounds.FRAMES),
        inputs = fields["inputs"].list().map(::readTensor),
        outputs = fields["outputs"].list().map(::readTensor),
    )
}

private fun readTensor(field: ManifestField): TensorSpec {
    val fields = field.record(listOf("name", "shape", "dtype"))
    val shape = fields["shape"].list().map { it.long(1, Bounds.TENSOR_ELEMENTS.toLong()) }
    shape.fold(1L) { elements, size ->
        // Both factors fit 30 bits, so their product fits a long.
        (elements * size).also {
            if (it > Bounds.TENSOR_ELEMENTS) fields["shape"].fail("is too large")
        }
    }
    return TensorSpec(fields["name"].text(), shape, fields["dtype"].choice(FLOAT32, INT32))
}

private fun readFidelity(field: ManifestField): Fidelity {
    val fields = field.record(listOf("max_abs_error", "snr_db", "cosine"))
    return Fidelity(
        maxAbsError = fields["max_abs_error"].number(),
        snrDb = fields.find("snr_db")?.number(),
        cosine = fields["cosine"].number(),
    )
}

/** Counts of work are for the benchmark's predictions; here they only must be what they say. */
private fun checkWork(field: ManifestField) {
    val bytes = listOf("product_bytes", "elementwise_bytes", "largest_bytes")
    val macs = listOf("linear_macs", "convolution_macs")
    val fields = field.record(macs + bytes)
    bytes.forEach { fields[it].long(0) }
    for ((arithmetic, count) in macs.flatMap { fields[it].members().entries }) {
        if (arithmetic !in ARITHMETIC) count.fail("is unknown")
        count.long(0)
    }
}

private fun readProvenance(field: ManifestField): Provenance {
    val fields = field.record(listOf("created", "checkpoint_sha256", "tools"))
    return Provenance(
        created = fields["created"].text(),
        checkpointSha256 = fields["checkpoint_sha256"].digest(),
        tools = fields["tools"].members().mapValues { it.value.text() },
    )
}
