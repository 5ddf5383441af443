package org.arcmobile

import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import org.arcmobile.ArcMobileException.Kind

class ManifestTest {
    private val folder = Files.createTempDirectory("manifest").toFile()
    private val given = TestBundle(folder)

    @AfterTest
    fun clean() {
        folder.deleteRecursively()
    }

    @Test
    fun `everything an app asks for is there`() {
        val manifest = given.open().manifest
        assertEquals("arithmetic", manifest.modelId)
        assertEquals(AudioFormat(100, 2, 16, 2), manifest.audio)
        assertEquals(3.84, manifest.longestSeconds)
        assertEquals(DecoderPart("decoder_2", 4, 3), manifest.windowing.decoder[1])
        assertEquals(listOf(12, 24), manifest.components.getValue("dit").windows)
        assertNull(manifest.components.getValue("dit").fidelity.snrDb)
        assertNull(manifest.components.getValue("conditioner").entries.single().frames)
    }

    @Test
    fun `a field that is missing is named`() {
        var removed = 0
        for (path in paths(given.manifest)) {
            val key = path.last() as? String ?: continue
            if (key in OPTIONAL || path.dropLast(1).lastOrNull() in FREE_KEYS) continue
            val message = refusal(edit(given.manifest, path) { null })
            assertTrue(key in message, "$path: $message")
            removed++
        }
        assertTrue(removed > 100, "only $removed")
    }

    @Test
    fun `whatever a field holds, it is read or refused`() {
        val values = listOf(
            JsonNull, JsonPrimitive(true), JsonPrimitive(-1), JsonPrimitive(0), JsonPrimitive(3.5),
            JsonPrimitive("5"), JsonPrimitive("../x"), JsonPrimitive(Long.MAX_VALUE),
            JsonArray(emptyList()), JsonObject(emptyMap()), JsonArray(listOf(JsonPrimitive(1))),
        )
        var refused = 0
        for (path in paths(given.manifest)) {
            for (value in values) {
                try {
                    readManifest(edit(given.manifest, path) { value }.toString())
                } catch (error: InvalidManifest) {
                    assertEquals(1, error.message.orEmpty().lines().size, error.message)
                    refused++
                }
            }
        }
        assertTrue(refused > 1500, "only $refused")
    }

    @Test
    fun `values of the wrong type or range are refused`() {
        val wrong = mapOf<List<Any>, JsonElement>(
            listOf("audio", "sample_rate") to JsonPrimitive("100"),
            listOf("audio", "channels") to JsonPrimitive(2.0),
            listOf("schedule", "logsnr_end") to JsonPrimitive("2"),
            listOf("schedule", "default_steps") to JsonPrimitive(65),
            listOf("schedule", "kind") to JsonPrimitive("euler"),
            listOf("noise") to JsonPrimitive("mt19937"),
            listOf("model_id") to JsonPrimitive(5),
            listOf("frame_counts", 0) to JsonPrimitive(13),
            listOf("tokenizer", "files", 0, "sha256") to JsonPrimitive("A".repeat(64)),
            listOf("windowing", "decoder", 1, "component") to JsonPrimitive("decoder_3"),
            listOf("windowing", "decoder", 0, "context_frames") to JsonPrimitive(5),
            listOf("components", "dit", "entries", 0, "inputs", 0, "shape", 1) to JsonPrimitive(4),
            listOf("components", "dit", "entries", 1, "frames") to JsonPrimitive(23),
            listOf("components", "dit", "entries", 1, "frames") to JsonPrimitive(1_048_577),
            listOf("components", "dit", "bytes") to JsonPrimitive(15.0),
            listOf("tokenizer", "files", 0, "bytes") to JsonPrimitive(true),
            listOf("tokenizer", "eos_id") to JsonPrimitive(-1),
            listOf("tokenizer", "pad_id") to JsonPrimitive(2_147_483_648),
            listOf("minimum_runtime") to JsonPrimitive("latest"),
            listOf("minimum_runtime") to JsonPrimitive(1.5),
            listOf("components", "decoder_2", "entries", 0, "work", "linear_macs", "fp32") to
                JsonPrimitive(-1),
        )
        for ((path, value) in wrong) {
            val message = refusal(edit(full, path) { value })
            assertTrue(message.endsWith("export the bundle again"), "$path: $message")
        }
    }

    @Test
    fun `the place of a fault is named as Python and C++ name it`() {
        val places = mapOf(
            listOf("audio", "channels") to "audio.channels: ",
            listOf("frame_counts", 1) to "frame_counts[1]: ",
            listOf("components", "dit", "entries", 0, "frames") to
                "components.dit.entries[0].frames: ",
            listOf("components", "dit", "entries", 1, "inputs", 2, "shape", 0) to
                "components.dit.entries[1].inputs[2].shape[0]: ",
            listOf("tokenizer", "files", 0, "sha256") to "tokenizer.files[0].sha256: ",
        )
        for ((path, place) in places) {
            assertTrue(place in refusal(edit(full, path) { JsonPrimitive("x") }), place)
        }
        val without = edit(full, listOf("components", "decoder_1", "entries", 0, "frames")) { null }
        assertTrue("components.decoder_1.entries[0].frames: is missing" in refusal(without))
    }

    @Test
    fun `what JSON does not allow, or says twice, is refused`() {
        val text = full.toString()
        val edits = mapOf(
            "{\"schema" to "\uFEFF{\"schema",
            "\"recipe\":" to "\"recipe\":\"fp32\",\"recipe\":",
            "\"channels\":2" to "\"channels\":2,\"ch\\u0061nnels\":2",
            "\"pad_id\":0" to "\"pad_id\":00",
            "\"pad_id\":0 " to "\"pad_id\":+0",
            "\"minimum\":0.0" to "\"minimum\":NaN",
            "\"maximum\":3.0" to "\"maximum\":Infinity",
            "\"maximum\":180.0" to "\"maximum\":1e999",
            "\"arithmetic\"" to "\"arith\\ud800metic\"",
            "\"recipe\":\"fp32\"" to "\"recipe\":fp32",
            "\"none\"" to "\"no\nne\"",
            "\"pad_id\":0," to "\"pad_id\":0,,",
            "\"schema_version\":2" to "\"schema_version\":2.0",
        )
        readManifest(text)
        for ((old, new) in edits) {
            val edited = text.replaceFirst(old.trim(), new)
            assertTrue(edited != text, old)
            refusal(edited)
        }
        assertTrue("byte order mark" in refusal("\uFEFF$text"))
        assertTrue("'recipe' is there twice" in refusal(text.replaceFirst("{", "{\"recipe\":1,")))
    }

    @Test
    fun `what the manifest quotes does not break the line`() {
        val breaks = JsonPrimitive("a\nb\u2028c\u0085" + "x".repeat(5_000))
        for (path in listOf(listOf("noise"), listOf("components", "dit", "file"))) {
            assertTrue(refusal(edit(full, path) { breaks }).length < 1_000)
        }
        refusal(JsonObject(full + ("a\nb" to breaks)))
        val entry = listOf<Any>("components", "dit", "entries", 0, "inputs", 0, "name")
        refusal(edit(full, entry) { breaks })
    }

    @Test
    fun `the oldest runtime and the objective are read`() {
        val manifest = readManifest(full.toString())
        assertEquals("1.3.0", manifest.minimumRuntime)
        assertEquals(Objective.RECTIFIED_FLOW, manifest.objective)
        val silent = given.open().manifest
        assertNull(silent.minimumRuntime)
        assertNull(silent.objective)
        val other = edit(full, listOf("objective")) { JsonPrimitive("diffusion") }
        assertTrue("upgrade the app" in refusal(other))
    }

    /** The manifest with all that is optional. */
    private val full = JsonObject(
        given.manifest + mapOf(
            "minimum_runtime" to JsonPrimitive("1.3.0"),
            "objective" to JsonPrimitive("rectified_flow"),
        ),
    )

    @Test
    fun `a field that is not known is named`() {
        val more = JsonObject(given.manifest + ("extra" to JsonPrimitive(1)))
        assertTrue("extra: is unknown" in refusal(more))
    }

    @Test
    fun `versions say who has to move`() {
        fun version(value: JsonElement) =
            refusal(edit(given.manifest, listOf("schema_version")) { value })

        assertTrue("upgrade the app" in version(JsonPrimitive(3)))
        assertTrue("export the bundle again with a newer" in version(JsonPrimitive(1)))
        assertTrue("schema_version is missing" in version(JsonPrimitive("2")))
        // What a newer version says elsewhere does not matter.
        assertTrue("upgrade the app" in refusal("{\"schema_version\": 9}"))
    }

    @Test
    fun `what is no JSON object is refused`() {
        val deep = "[".repeat(100_000)
        val texts = listOf("", "{", "[]", "null", "\"x\"", "{\"a\":}", "{} {}", "\u0000", deep)
        for (text in texts) refusal(text)
        val noUtf8 = "{\"".encodeToByteArray() + 0x80.toByte() + "\":1}".encodeToByteArray()
        given.file("manifest.json").writeBytes(noUtf8)
        assertFailsWith<ArcMobileException> { given.open() }
        given.replaceManifest(" ".repeat(5 shl 20))
        assertTrue("more than" in assertFailsWith<ArcMobileException> { given.open() }.message)
    }

    private fun refusal(manifest: JsonObject): String = refusal(manifest.toString())

    private fun refusal(text: String): String {
        given.replaceManifest(text)
        val error = assertFailsWith<ArcMobileException>(text.take(80)) { given.open() }
        assertEquals(Kind.BUNDLE, error.kind)
        assertTrue("manifest.json: " in error.message, error.message)
        assertEquals(1, error.message.lines().size, error.message)
        return error.message
    }

    private companion object {
        val OPTIONAL = setOf("frames", "work", "delegation")
        val FREE_KEYS = setOf("precision", "tools", "linear_macs")

        /** Every place in a document: keys and indices from the root. */
        fun paths(element: JsonElement, at: List<Any> = emptyList()): List<List<Any>> {
            val places = when (element) {
                is JsonObject -> element.toMap()
                is JsonArray -> element.withIndex().associate { it.index to it.value }
                else -> emptyMap()
            }
            return places.flatMap { (key, value) ->
                val path = at + key
                listOf(path) + paths(value, path)
            }
        }

        /** A copy with another value at [path]; null takes the place out. */
        fun edit(document: JsonObject, path: List<Any>, change: () -> JsonElement?): JsonObject =
            edited(document, path, change) as JsonObject

        private fun edited(
            at: JsonElement,
            path: List<Any>,
            change: () -> JsonElement?,
        ): JsonElement? {
            if (path.isEmpty()) return change()
            val rest = path.drop(1)
            return when (at) {
                is JsonObject -> JsonObject(
                    at.mapNotNull { (key, value) ->
                        val kept = if (key == path[0]) edited(value, rest, change) else value
                        kept?.let { key to it }
                    }.toMap(),
                )
                is JsonArray -> JsonArray(
                    at.mapIndexedNotNull { index, value ->
                        if (index == path[0]) edited(value, rest, change) else value
                    },
                )
                else -> error("no such place")
            }
        }
    }
}
