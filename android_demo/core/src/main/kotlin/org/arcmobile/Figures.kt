package org.arcmobile

/** What is measured while a sound is made; seconds and bytes. */
internal class Figures(
    private val plan: GenerationPlan,
    private val loadSeconds: Map<String, Double>,
) {
    var tokenizeSeconds = 0.0
    var conditionerSeconds = 0.0
    val ditStepSeconds = mutableListOf<Double>()
    val decodeCallSeconds = mutableListOf<Double>()
    val warnings = mutableListOf<String>()

    /** Samples per channel given so far. */
    var samples = 0

    private val peaks = mutableMapOf<String, Long>()
    private var processPeak: Long? = null

    /** Notes the [peak] after a stage; [fresh]: it was reset when the stage began. */
    fun notePeak(stage: String, peak: Long?, fresh: Boolean) {
        if (peak == null) return
        if (fresh) peaks[stage] = peak
        processPeak = maxOf(processPeak ?: 0, peak)
    }

    fun report(manifest: Manifest, runtime: String, threads: Int?): GenerationReport {
        val compute = tokenizeSeconds + conditionerSeconds + ditStepSeconds.sum() +
            decodeCallSeconds.sum()
        val total = compute + loadSeconds.values.sum()
        return GenerationReport(
            prompt = plan.prompt,
            seed = plan.seed,
            model = manifest.modelId,
            recipe = manifest.recipe,
            backend = manifest.backend,
            runtime = runtime,
            threads = threads,
            steps = plan.steps,
            seconds = samples.toDouble() / manifest.audio.sampleRate,
            sampleRate = manifest.audio.sampleRate,
            loadSeconds = loadSeconds.toMap(),
            tokenizeSeconds = tokenizeSeconds,
            conditionerSeconds = conditionerSeconds,
            ditStepSeconds = ditStepSeconds.toList(),
            decodeCallSeconds = decodeCallSeconds.toList(),
            firstAudioSeconds = total - decodeCallSeconds.drop(1).sum(),
            computeSeconds = compute,
            totalSeconds = total,
            peakMemoryBytes = peaks.toMap(),
            processPeakBytes = processPeak,
            frames = plan.frames,
            decoderWindows = plan.decoder.map { it.window },
            warnings = warnings.toList(),
        )
    }
}
