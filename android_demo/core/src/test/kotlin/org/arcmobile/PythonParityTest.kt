package org.arcmobile

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.arcmobile.tokenizer.GRAPHEME_BREAKS
import org.arcmobile.tokenizer.WORD_CHARACTERS

/** Against what check/reference.py had Python compute on the same machine. */
class PythonParityTest {
    @Test
    fun `ids of many prompts`() {
        val manifest = bundleFile("manifest.json").readText()
        val spec = Json.parseToJsonElement(manifest).jsonObject.getValue("tokenizer").jsonObject
        fun number(key: String) = spec.getValue(key).jsonPrimitive.int
        val tokenizer = PromptTokenizer(
            bundleFile("tokenizer.json").readText(),
            maxLength = number("max_length"),
            padId = number("pad_id"),
            eosId = number("eos_id"),
        )
        val cases = reference("tokens.jsonl").readLines()
            .map { Json.decodeFromString(TokensCase.serializer(), it) }
        assertTrue(cases.size >= 4000, "only ${cases.size} prompts")
        for (case in cases) {
            val what = "\"${case.prompt}\""
            assertEquals(case.ids, tokenizer.encode(case.prompt).toList(), what)
            val prompt = tokenizer.tokenize(case.prompt)
            assertEquals(case.inputIds, prompt.inputIds.toList(), what)
            assertEquals(case.count, prompt.count, what)
            assertEquals(case.warning, prompt.warning, what)
            val tokens = minOf(case.count, case.inputIds.size)
            assertContentEquals(
                FloatArray(case.inputIds.size) { if (it < tokens) 1f else 0f },
                prompt.attentionMask,
                what,
            )
        }
    }

    @Test
    fun `noise of many seeds`() {
        val text = reference("noise.json").readText()
        val cases = Json.decodeFromString(NoiseFile.serializer(), text).cases
        assertTrue(cases.isNotEmpty())
        for (case in cases) {
            val what = "seed ${case.seed}, step ${case.step}, ${case.count} values"
            val noise = with(PhiloxNoise(case.seed.toULong())) {
                if (case.step == 0) initial(case.count) else step(case.step, case.count)
            }
            assertEquals(case.bits, bits(noise).take(case.bits.size), what)
            assertEquals(case.sha256, sha256(noise), what)
        }
    }

    @Test
    fun `Unicode is that of the library`() {
        val text = reference("unicode.json").readText()
        val tables = Json.decodeFromString(UnicodeFile.serializer(), text)
        val wayOut = "tokenizers has another Unicode now: run check/unicode_tables.py"
        assertEquals(tables.graphemes, GRAPHEME_BREAKS, wayOut)
        assertEquals(tables.words, WORD_CHARACTERS, wayOut)
    }

    private fun sha256(values: FloatArray): String {
        val bytes = ByteBuffer.allocate(Float.SIZE_BYTES * values.size)
            .order(ByteOrder.LITTLE_ENDIAN)
        values.forEach(bytes::putFloat)
        return MessageDigest.getInstance("SHA-256").digest(bytes.array())
            .joinToString("") { "%02x".format(it) }
    }

    private fun reference(name: String) = given("arcmobile.reference", name)

    private fun bundleFile(name: String) = given("arcmobile.bundle", name)

    private fun given(property: String, name: String): File {
        val file = File(System.getProperty(property).orEmpty(), name)
        check(file.isFile) { "$property: no \"$file\" to compare with; run: make android-check" }
        return file
    }

    @Serializable
    private class TokensCase(
        val prompt: String,
        val ids: List<Int>,
        val count: Int,
        @SerialName("input_ids") val inputIds: List<Int>,
        val warning: String?,
    )

    @Serializable
    private class NoiseFile(val cases: List<NoiseCase>)

    @Serializable
    private class NoiseCase(
        val seed: String,
        val step: Int,
        val count: Int,
        val bits: List<String>,
        val sha256: String,
    )

    @Serializable
    private class UnicodeFile(val graphemes: String, val words: String)
}
