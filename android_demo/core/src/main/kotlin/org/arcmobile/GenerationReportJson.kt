package org.arcmobile

import java.math.BigInteger
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonObjectBuilder
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonObject

// The keys are those of cli/generation_stats.py; frames, decoder_windows, steps, threads and
// process_peak_bytes those of runtime/native/src/stats_report.cc.

internal fun GenerationReport.json(): JsonObject = buildJsonObject {
    put("prompt", prompt)
    put("seed", JsonPrimitive(BigInteger(seed.toString())))
    put("model", model)
    put("recipe", recipe)
    put("backend", backend)
    put("runtime", runtime)
    threads?.let { put("threads", it) }
    put("steps", steps)
    frames?.let { put("frames", it) }
    if (decoderWindows.isNotEmpty()) putNumbers("decoder_windows", decoderWindows)
    put("seconds", seconds)
    put("sample_rate", sampleRate)
    putJsonObject("load_seconds") { loadSecondsByStage().forEach { (stage, s) -> put(stage, s) } }
    put("tokenize_seconds", tokenizeSeconds)
    put("conditioner_seconds", conditionerSeconds)
    put("encoder_seconds", 0.0)
    putNumbers("dit_step_seconds", ditStepSeconds)
    putNumbers("decode_window_seconds", decodeCallSeconds)
    put("first_audio_seconds", firstAudioSeconds)
    put("compute_seconds", computeSeconds)
    put("total_seconds", totalSeconds)
    put("rtf", rtf)
    putJsonObject("peak_memory_bytes") { peakMemoryBytes.forEach { (stage, b) -> put(stage, b) } }
    processPeakBytes?.let { put("process_peak_bytes", it) }
    put("warnings", JsonArray(warnings.map(::JsonPrimitive)))
}

/** The decoder's parts are one stage there. */
private fun GenerationReport.loadSecondsByStage(): Map<String, Double> =
    loadSeconds.entries
        .groupBy { if (it.key.startsWith("${DECODER}_")) DECODER else it.key }
        .mapValues { (_, loads) -> loads.sumOf { it.value } }

private fun JsonObjectBuilder.putNumbers(key: String, values: List<Number>) {
    put(key, JsonArray(values.map(::JsonPrimitive)))
}
