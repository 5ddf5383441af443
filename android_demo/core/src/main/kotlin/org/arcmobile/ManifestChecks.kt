package org.arcmobile

// Do the parts of a manifest agree? What Manifest._parts_agree of runtime/bundle_schema.py asks,
// and, since nothing is loaded yet when a bundle is opened, what an engine would find later: types
// of tensors, and that the DiT takes what the conditioner gives.

/** Throws [InvalidManifest] naming the first component that does not fit the others. */
internal fun checkPartsAgree(manifest: Manifest) {
    val parts = manifest.windowing.decoder.map { it.component }
    if (parts != parts.indices.map(::decoderPart)) {
        invalid("windowing.decoder", "its components are $parts, not decoder_1 and on")
    }
    val needed = setOf(CONDITIONER, DIT) + parts
    (needed - manifest.components.keys).firstOrNull()?.let {
        invalid("components.$it", "is missing")
    }
    (manifest.components.keys - needed - ENCODER).firstOrNull()?.let {
        invalid("components.${it.take(60)}", "is unknown")
    }
    val audio = manifest.audio
    if (manifest.frameCounts.max() > Bounds.SAMPLES / audio.samplesPerFrame) {
        invalid("frame_counts", "is out of range")
    }
    checkConditioner(manifest)
    checkDit(manifest)
    manifest.components[ENCODER]?.entries?.forEachIndexed { index, entry ->
        checkEncoder(index, entry, audio)
    }
    manifest.windowing.decoder.indices.forEach { checkDecoderPart(manifest, it) }
    for (frames in manifest.frameCounts) planDecoder(manifest, frames)
}

private fun checkConditioner(manifest: Manifest) {
    val perToken = longArrayOf(1, manifest.tokenizer.maxLength.toLong())
    val numbers = manifest.numbers.map { it.name }
    for ((index, entry) in manifest.components.getValue(CONDITIONER).entries.withIndex()) {
        val check = EntryCheck(CONDITIONER, index, entry)
        check.inputs(listOf(INPUT_IDS, ATTENTION_MASK) + numbers)
        check.tensor(INPUT_IDS, INT32, *perToken)
        check.tensor(ATTENTION_MASK, FLOAT32, *perToken)
        numbers.forEach { check.tensor(it, FLOAT32, 1) }
        check.outputs(entry.outputs.map { it.name }.distinct())
    }
}

private fun checkDit(manifest: Manifest) {
    val dit = manifest.components.getValue(DIT)
    val conditioning = manifest.components.getValue(CONDITIONER).entries.first().outputs
    for ((index, entry) in dit.entries.withIndex()) {
        val check = EntryCheck(DIT, index, entry)
        val latent = manifest.audio.latentShape(check.frames)
        check.inputs(listOf(LATENT, TIMESTEP) + conditioning.map { it.name })
        check.outputs(listOf(VELOCITY))
        check.tensor(LATENT, FLOAT32, *latent)
        check.tensor(TIMESTEP, FLOAT32, 1)
        check.tensor(VELOCITY, FLOAT32, *latent)
        conditioning.forEach { check.tensor(it.name, it.dtype, *it.shape.toLongArray()) }
    }
    (manifest.frameCounts - dit.windows.toSet()).firstOrNull()?.let {
        invalid("components.$DIT", "no entry for $it frames, which frame_counts lists")
    }
}

private fun checkEncoder(index: Int, entry: Entry, audio: AudioFormat) {
    val check = EntryCheck(ENCODER, index, entry)
    val latent = audio.latentShape(check.frames)
    check.inputs(listOf(AUDIO))
    check.outputs(listOf(MEAN, STDEV))
    val samples = check.frames.toLong() * audio.samplesPerFrame
    check.tensor(AUDIO, FLOAT32, 1, audio.channels.toLong(), samples)
    check.tensor(MEAN, FLOAT32, *latent)
    check.tensor(STDEV, FLOAT32, *latent)
}

/** Each part takes what the one before it gives, and gives whole frames of the next. */
private fun checkDecoderPart(manifest: Manifest, index: Int) {
    val chain = manifest.windowing.decoder
    val part = chain[index]
    val last = index == chain.lastIndex
    val perLatent = if (last) manifest.audio.samplesPerFrame else chain[index + 1].framesPerLatent
    if ((index == 0 && part.framesPerLatent != 1) || perLatent % part.framesPerLatent != 0) {
        invalid("windowing.decoder", "${part.component} has odd frames_per_latent")
    }
    val taken = if (index == 0) LATENT else FEATURES
    val given = if (last) AUDIO else NEXT_FEATURES
    val channels = manifest.decoderChannels(index)
    val following = manifest.decoderChannels(index + 1)
    val entries = manifest.components.getValue(part.component).entries
    for ((entryIndex, entry) in entries.withIndex()) {
        val check = EntryCheck(part.component, entryIndex, entry)
        check.inputs(listOf(taken))
        check.outputs(listOf(given))
        check.tensor(taken, FLOAT32, 1, channels, check.frames.toLong())
        val most = check.frames.toLong() * (perLatent / part.framesPerLatent)
        // Odd strides make the sound a few samples shorter than its frames.
        val length = entry.outputs.single().shape.lastOrNull() ?: 0
        check.tensor(given, FLOAT32, 1, following, if (last) minOf(length, most) else most)
    }
}

/** Channels of what part [index] of the decoder takes: what the one before it gives. */
private fun Manifest.decoderChannels(index: Int): Long {
    if (index == 0) return audio.latentChannels.toLong()
    if (index == windowing.decoder.size) return audio.channels.toLong()
    val before = windowing.decoder[index - 1].component
    val outputs = components.getValue(before).entries.first().outputs
    return outputs.firstOrNull()?.shape?.getOrNull(1) ?: 0
}

private fun AudioFormat.latentShape(frames: Int) =
    longArrayOf(1, latentChannels.toLong(), frames.toLong())

/** Compares one entry with what it should be. */
private class EntryCheck(component: String, index: Int, private val entry: Entry) {
    private val where = "components.$component.entries[$index]"

    val frames: Int get() = entry.frames ?: invalid("$where.frames", "is missing")

    fun inputs(names: List<String>) = expectNames("inputs", entry.inputs, names)

    fun outputs(names: List<String>) = expectNames("outputs", entry.outputs, names)

    fun tensor(name: String, dtype: String, vararg shape: Long) {
        val found = entry.spec(name)
        if (found?.shape != shape.toList() || found.dtype != dtype) {
            val shown = found?.let { "${it.dtype} ${it.shape}" } ?: "missing"
            invalid(where, "$name is $shown, not $dtype ${shape.toList()}")
        }
    }

    private fun expectNames(kind: String, specs: List<TensorSpec>, names: List<String>) {
        val found = specs.map { it.name }
        if (found.sorted() != names.sorted()) invalid("$where.$kind", "are $found, not $names")
    }
}

private fun invalid(where: String, problem: String): Nothing =
    throw InvalidManifest("$where: $problem")
