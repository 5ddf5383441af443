package org.arcmobile

import java.io.File
import java.nio.charset.Charset
import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlinx.serialization.ExperimentalSerializationApi
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.JsonUnquotedLiteral
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/** The manifests of `runtime/contract`, which Python and C++ read as well. */
class ContractTest {
    private val contract = File(System.getProperty("arcmobile.contract"))
    private val good = read(contract.resolve("good_manifest.json")).jsonObject
    private val bounds = read(contract.resolve("bounds.json")).jsonObject
    private val folder = Files.createTempDirectory("contract").toFile()

    @AfterTest
    fun clean() {
        folder.deleteRecursively()
    }

    @Test
    fun `the good manifest is read`() {
        folder.resolve("manifest.json").writeText(good.toString())
        val files = readManifest(good.toString()).files.map { it.file }
        for (file in files) folder.resolve(file).writeText(file)
        assertEquals(files.toSet(), Bundle.open(folder).manifest.files.map { it.file }.toSet())
    }

    @Test
    fun `every bad manifest is refused with the place of its fault`() {
        val cases = contract.resolve("bad_manifests").listFiles().orEmpty().sorted()
        assertTrue(cases.size > 500, "only ${cases.size}")
        val wrong = cases.mapNotNull { case -> problem(case)?.let { "${case.name}: $it" } }
        assertEquals(emptyList(), wrong)
    }

    /** What is wrong with the refusal of [case]; null: nothing. */
    private fun problem(case: File): String? {
        val spoilt = read(case).jsonObject
        folder.resolve("manifest.json").writeBytes(edited(spoilt.getValue("edits").jsonArray))
        val field = spoilt.text("field")
        return try {
            Bundle.openUnverified(folder)
            "accepted"
        } catch (error: ArcMobileException) {
            val line = error.message
            when {
                line.lines().size != 1 -> "not one line: $line"
                "manifest.json" !in line || field !in line -> "does not name $field: $line"
                else -> null
            }
        }
    }

    private fun edited(edits: JsonArray): ByteArray {
        var document: JsonElement = good
        for (edit in edits.map { it.jsonObject }) {
            if ("at" in edit) document = changed(document, path(edit.text("at")), edit)
        }
        var text = document.toString()
        var charset = Charsets.UTF_8
        for (edit in edits.map { it.jsonObject }) {
            if ("document" in edit) text = edit.text("document")
            if ("before" in edit) text = edit.text("before") + text
            if ("after" in edit) text += edit.text("after")
            if ("pad_above" in edit) text = text.padEnd(bound(edit.text("pad_above")) + 1)
            if ("encoding" in edit) charset = charset(edit.text("encoding"))
        }
        return text.toByteArray(charset)
    }

    private fun changed(from: JsonElement, path: List<String>, edit: JsonObject): JsonElement {
        val key = path.firstOrNull() ?: return value(edit)
        val rest = path.drop(1)
        val isRemoved = rest.isEmpty() && "remove" in edit
        if (from is JsonObject) {
            if (isRemoved) return JsonObject(from - key)
            return JsonObject(from + (key to changed(from[key] ?: from, rest, edit)))
        }
        val items = from.jsonArray.toMutableList()
        val index = key.toInt()
        when {
            isRemoved -> items.removeAt(index)
            index == items.size -> items.add(value(edit))
            else -> items[index] = changed(items[index], rest, edit)
        }
        return JsonArray(items)
    }

    @OptIn(ExperimentalSerializationApi::class)
    private fun value(edit: JsonObject): JsonElement = when {
        edit["text"] == JsonPrimitive("null") -> JsonNull // which is no literal to the library
        "text" in edit -> JsonUnquotedLiteral(edit.text("text"))
        "above" in edit -> JsonPrimitive(bound(edit.text("above")) + 1L)
        else -> edit.getValue("value")
    }

    /** By Python's name. */
    private fun charset(name: String) = Charset.forName(name.replace("16-", "16"))

    private fun path(at: String) = Regex("[^.\\[\\]]+").findAll(at).map { it.value }.toList()

    private fun bound(name: String) = bounds.getValue(name).jsonPrimitive.int

    private fun read(file: File) = Json.parseToJsonElement(file.readText())

    private fun JsonObject.text(key: String) = getValue(key).jsonPrimitive.content
}
