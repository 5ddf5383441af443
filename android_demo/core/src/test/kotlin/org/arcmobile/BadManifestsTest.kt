package org.arcmobile

import java.io.File
import java.nio.charset.Charset
import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/** The bad manifests of `runtime/contract`, which Python and the native runner refuse as well. */
class BadManifestsTest {
    private val bounds = contractJson("bounds.json")
    private val good = contractJson("good_manifest.json")
    private val folder = Files.createTempDirectory("contract").toFile()

    init {
        // The text of each file is its name.
        val components = good.getValue("components").jsonObject.values
        val tokenizer = good.getValue("tokenizer").jsonObject.getValue("files").jsonArray
        for (record in components + tokenizer) {
            val name = record.jsonObject.getValue("file").jsonPrimitive.content
            folder.resolve(name).writeText(name)
        }
    }

    @AfterTest
    fun clean() {
        folder.deleteRecursively()
    }

    @Test
    fun `the good manifest is accepted`() {
        assertEquals(null, refusal(good.toString().encodeToByteArray()))
    }

    @Test
    fun `each bad manifest is refused in one line that names the field`() {
        val files = contractFile("bad_manifests").listFiles().orEmpty().sorted()
        assertEquals(true, files.size > 500)
        assertEquals(emptyList(), files.mapNotNull(::problem))
    }

    /** What is wrong with the refusal of one bad manifest; null where it is right. */
    private fun problem(file: File): String? {
        val case = Json.parseToJsonElement(file.readText()).jsonObject
        val field = case.getValue("field").jsonPrimitive.content
        val edits = case.getValue("edits").jsonArray.map { it.jsonObject }
        val line = try {
            refusal(bytes(edits))
        } catch (error: Exception) {
            "$error"
        }
        return when {
            line == null -> "${file.name}: accepted"
            line.any { it.isISOControl() || it in "\u2028\u2029" } -> "${file.name}: odd line: $line"
            "manifest.json" !in line || field !in line -> "${file.name}: not $field: $line"
            else -> null
        }
    }

    private fun refusal(manifest: ByteArray): String? {
        folder.resolve("manifest.json").writeBytes(manifest)
        return try {
            Bundle.open(folder)
            null
        } catch (error: ArcMobileException) {
            error.message
        }
    }

    private fun bytes(edits: List<JsonObject>): ByteArray {
        val texts = mutableListOf<String>()
        var document: JsonElement = good
        for (edit in edits) {
            val at = edit["at"]?.jsonPrimitive?.content ?: continue
            val path = PART.findAll(at).map { it.value }.toList()
            document = edited(document, path) { value(edit, texts) }
        }
        var text = document.toString()
        texts.forEachIndexed { index, written -> text = text.replace("\"$MARK$index\"", written) }
        var encoding = Charsets.UTF_8
        for (edit in edits) {
            fun given(key: String) = edit[key]?.jsonPrimitive?.content
            text = given("before").orEmpty() + (given("document") ?: text) + given("after").orEmpty()
            given("pad_above")?.let { text = text.padEnd(bound(it) + 1) }
            given("encoding")?.let { encoding = Charset.forName(it) }
        }
        return text.toByteArray(encoding)
    }

    /** What an edit puts at its place; null to take the place away. */
    private fun value(edit: JsonObject, texts: MutableList<String>): JsonElement? {
        fun given(key: String) = edit[key]?.jsonPrimitive?.content
        return when {
            "remove" in edit -> null
            "above" in edit -> JsonPrimitive(bound(given("above")!!) + 1L)
            "text" in edit -> JsonPrimitive("$MARK${texts.size}").also { texts += given("text")!! }
            else -> edit.getValue("value")
        }
    }

    private fun edited(
        at: JsonElement,
        path: List<String>,
        change: () -> JsonElement?,
    ): JsonElement {
        val key = path.first()
        val rest = path.drop(1)
        fun next(child: JsonElement?) = if (rest.isEmpty()) change() else edited(child!!, rest, change)
        return when (at) {
            is JsonObject -> {
                val changed = next(at[key])
                JsonObject(if (changed == null) at - key else at + (key to changed))
            }
            is JsonArray -> {
                val changed = next(at.getOrNull(key.toInt()))
                JsonArray(at.take(key.toInt()) + listOfNotNull(changed) + at.drop(key.toInt() + 1))
            }
            else -> error("no such place")
        }
    }

    private fun bound(name: String) = bounds.int(name)

    private companion object {
        const val MARK = '\ue000' // stands for text that is written as it is
        val PART = Regex("[^.\\[\\]]+")
    }
}
