package org.arcmobile

import kotlin.random.Random
import kotlinx.serialization.ExperimentalSerializationApi
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.JsonUnquotedLiteral

/** Ways to spoil a JSON [document]: its values, its structure, its text. */
internal class JsonMutations(private val document: JsonElement) {
    private val places = placesIn(document, emptyList())

    /** The bytes of a spoilt copy. */
    fun next(random: Random): ByteArray {
        var spoilt = document
        repeat(random.nextInt(1, 4)) { spoilt = change(spoilt, random) }
        val text = spoilt.toString()
        return when (random.nextInt(8)) {
            0 -> flip(text.encodeToByteArray(), random)
            1 -> text.encodeToByteArray().let { it.copyOf(random.nextInt(it.size)) }
            2 -> insert(text, random).encodeToByteArray()
            else -> text.encodeToByteArray()
        }
    }

    private fun change(from: JsonElement, random: Random): JsonElement {
        val place = places.random(random)
        return when (random.nextInt(6)) {
            0 -> edited(from, place) { null }
            1 -> edited(from, place) { valueAt(document, places.random(random)) }
            2 -> edited(from, place) { it.repeated(random) }
            else -> edited(from, place) { oddValue(random) }
        }
    }

    private fun flip(bytes: ByteArray, random: Random): ByteArray {
        repeat(random.nextInt(1, 5)) {
            val at = random.nextInt(bytes.size)
            bytes[at] = (bytes[at].toInt() xor (1 shl random.nextInt(8))).toByte()
        }
        return bytes
    }

    private fun insert(text: String, random: Random): String {
        val at = random.nextInt(text.length)
        val piece = when (random.nextInt(4)) {
            0 -> "[".repeat(random.nextInt(1, 100_000))
            1 -> "{\"a\":".repeat(random.nextInt(1, 100_000))
            2 -> text.substring(at, minOf(text.length, at + random.nextInt(1, 200)))
            else -> ODD_TEXTS.random(random)
        }
        return text.substring(0, at) + piece + text.substring(at)
    }

    private fun JsonElement.repeated(random: Random): JsonElement {
        val times = random.nextInt(2, 500)
        return when (this) {
            is JsonArray -> JsonArray(List(times) { this }.flatten())
            is JsonObject -> JsonObject(
                this + entries.associate { "${it.key} " to it.value } + ("" to JsonNull),
            )
            is JsonPrimitive ->
                if (isString) JsonPrimitive(content.repeat(times)) else JsonArray(List(times) { this })
        }
    }

    private fun oddValue(random: Random): JsonElement = when (random.nextInt(4)) {
        0 -> number(ODD_NUMBERS.random(random))
        1 -> JsonPrimitive(ODD_TEXTS.random(random))
        2 -> number(random.nextLong().toString())
        else -> ODD_VALUES.random(random)
    }

    private companion object {
        val ODD_NUMBERS = listOf(
            "0", "-0", "-1", "1", "2", "65", "1025", "1e308", "-1e308", "1e-320", "2.0", "0.5",
            "65536", "1048576", "1048577", "536870911", "2147483647", "2147483648",
            "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1E5",
        )
        val ODD_TEXTS = listOf(
            "", " ", "\u0000", "\n", "\u2028", "\u0085", "..", "../x", "/etc/passwd", "manifest.json",
            "dit", "decoder_1", "é", "e\u0301", "\u200D", "🎸", "\uFEFF", "▁", "NaN", "Infinity", "\"",
            "\\", "\\ud800", "null", "[", "x".repeat(5_000), "a".repeat(100), "\uFFFE",
        )
        val ODD_VALUES = listOf(
            JsonNull, JsonPrimitive(true), JsonPrimitive(false), JsonArray(emptyList()),
            JsonObject(emptyMap()), JsonArray(listOf(JsonNull)), nested(20), nested(200),
            JsonObject(mapOf("" to JsonNull)),
        )

        fun nested(levels: Int): JsonElement =
            (0 until levels).fold(JsonNull as JsonElement) { inner, _ -> JsonArray(listOf(inner)) }

        @OptIn(ExperimentalSerializationApi::class)
        fun number(text: String) = JsonUnquotedLiteral(text)

        /** Keys and indices from the root to every value below it. */
        fun placesIn(element: JsonElement, at: List<Any>): List<List<Any>> = when (element) {
            is JsonObject ->
                element.flatMap { (key, value) -> listOf(at + key) + placesIn(value, at + key) }
            is JsonArray -> element.flatMapIndexed { index, value ->
                listOf(at + index) + placesIn(value, at + index)
            }
            is JsonPrimitive -> emptyList()
        }

        fun valueAt(element: JsonElement, place: List<Any>): JsonElement =
            place.fold(element) { from, step ->
                if (from is JsonObject) from.getValue(step as String) else (from as JsonArray)[step as Int]
            }

        /** A copy with another value at [place], if it is still there; null takes it out. */
        fun edited(
            from: JsonElement,
            place: List<Any>,
            change: (JsonElement) -> JsonElement?,
        ): JsonElement = editedOrNull(from, place, change) ?: JsonNull

        private fun editedOrNull(
            from: JsonElement,
            place: List<Any>,
            change: (JsonElement) -> JsonElement?,
        ): JsonElement? {
            val step = place.firstOrNull() ?: return change(from)
            val rest = place.drop(1)
            return when (from) {
                is JsonObject -> JsonObject(
                    from.mapNotNull { (key, value) ->
                        val kept = if (key == step) editedOrNull(value, rest, change) else value
                        kept?.let { key to it }
                    }.toMap(),
                )
                is JsonArray -> JsonArray(
                    from.mapIndexedNotNull { index, value ->
                        if (index == step) editedOrNull(value, rest, change) else value
                    },
                )
                is JsonPrimitive -> from
            }
        }
    }
}
