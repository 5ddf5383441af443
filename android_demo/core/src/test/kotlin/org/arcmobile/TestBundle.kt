package org.arcmobile

import java.io.File
import java.security.MessageDigest
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.addJsonObject
import kotlinx.serialization.json.buildJsonArray
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonArray
import kotlinx.serialization.json.putJsonObject

/**
 * A small bundle on disk for [ArithmeticEngine]: two latent channels, 16 samples per frame, sounds
 * of 12 or 24 frames, a decoder in two parts with windows shorter than the sound.
 */
internal class TestBundle(val folder: File, backend: String = BACKEND) {
    val manifest: JsonObject = writeManifest(backend)

    fun open(): Bundle = Bundle.open(folder)

    fun file(name: String): File = folder.resolve(name)

    /** Puts another manifest in the place of the valid one. */
    fun replaceManifest(text: String) = file("manifest.json").writeText(text)

    private fun writeManifest(backend: String): JsonObject {
        folder.mkdirs()
        file("tokenizer.json").writeText(vectorTokenizer())
        for (name in COMPONENTS) file("$name.bin").writeText("the program $name")
        return manifest(backend).also { replaceManifest(it.toString()) }
    }

    private fun manifest(backend: String) = buildJsonObject {
        put("schema_version", 2)
        put("model_id", "arithmetic")
        put("license_notice", "none")
        put("recipe", "fp32")
        put("backend", backend)
        putJsonObject("audio") {
            put("sample_rate", 100)
            put("channels", 2)
            put("samples_per_frame", 16)
            put("latent_channels", 2)
        }
        put("frame_counts", numbers(12, 24))
        putJsonArray("numbers") {
            addJsonObject {
                put("name", "seconds_total")
                put("minimum", 0.0)
                put("maximum", 3.0)
            }
            addJsonObject {
                put("name", "speed")
                put("minimum", 60.0)
                put("maximum", 180.0)
            }
        }
        putJsonObject("tokenizer") {
            put("kind", "t5-unigram")
            put("files", buildJsonArray { add(record("tokenizer.json")) })
            put("max_length", MAX_LENGTH)
            put("pad_id", 0)
            put("eos_id", 1)
        }
        putJsonObject("schedule") {
            put("kind", "logsnr-pingpong")
            put("logsnr_start", -6.0)
            put("logsnr_end", 2.0)
            put("default_steps", 3)
        }
        put("noise", "philox4x32-10-boxmuller-1")
        putJsonObject("windowing") {
            put("decoder", buildJsonArray { add(part(0)); add(part(1)) })
            put("encoder_context_frames", 1)
        }
        putJsonObject("components") {
            put("conditioner", component("conditioner", listOf(conditionerEntry())))
            put("dit", component("dit", listOf(ditEntry(12), ditEntry(24))))
            put("decoder_1", component("decoder_1", listOf(decoderEntry(0, 9), decoderEntry(0, 5))))
            put("decoder_2", component("decoder_2", listOf(decoderEntry(1, 20))))
        }
        putJsonObject("provenance") {
            put("created", "2026-01-01T00:00:00+00:00")
            put("checkpoint_sha256", "0".repeat(64))
            putJsonObject("tools") { put("arcmobile", "0.1.0") }
        }
    }

    private fun record(name: String, more: Map<String, JsonElement> = emptyMap()) = JsonObject(
        mapOf(
            "file" to JsonPrimitive(name),
            "sha256" to JsonPrimitive(sha256(file(name).readBytes())),
            "bytes" to JsonPrimitive(file(name).length()),
        ) + more,
    )

    private fun component(name: String, entries: List<JsonObject>) = record(
        "$name.bin",
        mapOf(
            "precision" to buildJsonObject { put(name, "fp32") },
            "entries" to JsonArray(entries),
            "fidelity" to buildJsonObject {
                put("max_abs_error", 0.0)
                put("snr_db", JsonNull)
                put("cosine", 1.0)
            },
            "delegation" to JsonNull,
        ),
    )

    companion object {
        const val BACKEND = "arithmetic"
        const val MAX_LENGTH = 8
        val COMPONENTS = listOf("conditioner", "dit", "decoder_1", "decoder_2")

        /** Of the decoder's parts: frames of its input for each latent frame, spoilt edge. */
        val RATES = listOf(1, 4)
        val CONTEXTS = listOf(2, 3)

        fun sha256(bytes: ByteArray): String = MessageDigest.getInstance("SHA-256").digest(bytes)
            .joinToString("") { "%02x".format(it) }
    }
}

private fun numbers(vararg values: Int) = JsonArray(values.map(::JsonPrimitive))

private fun part(index: Int) = buildJsonObject {
    put("component", "decoder_${index + 1}")
    put("frames_per_latent", TestBundle.RATES[index])
    put("context_frames", TestBundle.CONTEXTS[index])
}

private fun tensor(name: String, vararg shape: Int, dtype: String = "float32") = buildJsonObject {
    put("name", name)
    put("shape", numbers(*shape))
    put("dtype", dtype)
}

private fun entry(name: String, frames: Int?, inputs: List<JsonObject>, output: JsonObject) =
    buildJsonObject {
        put("name", name)
        put("frames", JsonPrimitive(frames))
        put("inputs", JsonArray(inputs))
        put("outputs", JsonArray(listOf(output)))
        putJsonObject("work") {
            putJsonObject("linear_macs") { put("fp32", 7) }
            putJsonObject("convolution_macs") {}
            put("product_bytes", 1)
            put("elementwise_bytes", 2)
            put("largest_bytes", 3)
        }
    }

private fun conditionerEntry() = entry(
    "main",
    null,
    listOf(
        tensor("input_ids", 1, TestBundle.MAX_LENGTH, dtype = "int32"),
        tensor("attention_mask", 1, TestBundle.MAX_LENGTH),
        tensor("seconds_total", 1),
        tensor("speed", 1),
    ),
    tensor("global_cond", 1, 3),
)

private fun ditEntry(frames: Int) = entry(
    "frames_$frames",
    frames,
    // Not in the order in which they are made: the engine is given them in the entry's order.
    listOf(tensor("global_cond", 1, 3), tensor("timestep", 1), tensor("latent", 1, 2, frames)),
    tensor("velocity", 1, 2, frames),
)

private fun decoderEntry(index: Int, frames: Int) = entry(
    "frames_$frames",
    frames,
    listOf(tensor(if (index == 0) "latent" else "features", 1, if (index == 0) 2 else 3, frames)),
    if (index == 0) {
        tensor("next_features", 1, 3, frames * 4)
    } else {
        tensor("audio", 1, 2, frames * 4)
    },
)
