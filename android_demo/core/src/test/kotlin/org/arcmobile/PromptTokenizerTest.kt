package org.arcmobile

import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue

class PromptTokenizerTest {
    private val json = vectorTokenizer()
    private val tokenizer = tokenizer(json)

    @Test
    fun `ids are those of the Python library`() {
        for (case in vectors("tokenizer_ids.json")) {
            val prompt = case.text("prompt")
            assertEquals(case.ints("ids"), tokenizer.encode(prompt).toList(), "\"$prompt\"")
        }
    }

    @Test
    fun `a short prompt is padded and masked`() {
        val prompt = tokenizer.tokenize("warm rain")
        assertContentEquals(intArrayOf(6, 7, EOS, PAD, PAD, PAD, PAD, PAD), prompt.inputIds)
        assertContentEquals(floatArrayOf(1f, 1f, 1f, 0f, 0f, 0f, 0f, 0f), prompt.attentionMask)
        assertEquals(3, prompt.count)
        assertNull(prompt.warning)
    }

    @Test
    fun `a literal pad token is a token like any other`() {
        val prompt = tokenizer.tokenize("<pad>")
        assertEquals(listOf(PAD, EOS), prompt.inputIds.take(2))
        assertEquals(2f, prompt.attentionMask.sum())
    }

    @Test
    fun `a long prompt is cut, closed, and told of`() {
        val prompt = tokenizer.tokenize("rain ".repeat(20))
        assertContentEquals(intArrayOf(7, 7, 7, 7, 7, 7, 7, EOS), prompt.inputIds)
        assertEquals(21, prompt.count)
        assertEquals(
            "the prompt has 21 tokens; the model reads the first 7, the rest was cut off",
            prompt.warning,
        )
        assertNull(tokenizer.tokenize("rain ".repeat(7)).warning)
    }

    @Test
    fun `half of a surrogate pair is refused by its place`() {
        for (prompt in listOf("rain \uD83C on", "🎸🎸🎸🎸 \uDFB8", "abcde\uDFB8\uD83C")) {
            val error = assertFailsWith<ArcMobileException> { tokenizer.tokenize(prompt) }
            assertEquals(ArcMobileException.Kind.REQUEST, error.kind)
            assertEquals(
                "prompt: character 6 is not valid Unicode; give UTF-8 text",
                error.message,
            )
        }
    }

    @Test
    fun `a prompt of more than 64 KB is refused`() {
        tokenizer.tokenize("é".repeat(32_768))
        for (prompt in listOf("é".repeat(32_768) + "e", "🎸".repeat(16_385))) {
            val error = assertFailsWith<ArcMobileException> { tokenizer.tokenize(prompt) }
            assertEquals(ArcMobileException.Kind.REQUEST, error.kind)
            assertTrue("give at most 65536" in error.message, error.message)
        }
    }

    @Test
    fun `unknown text is spelt in bytes where the file says so`() {
        val pieces = (0..0xFF).joinToString("") { ",[\"<0x%02X>\",-9]".format(it) }
        val bytes = tokenizer(
            edited("\"byte_fallback\": false", "\"byte_fallback\": true")
                .replace("]], \"byte_", "]$pieces], \"byte_"),
        )
        val first = bytes.encode("<extra_id_0>")[0] + 1
        assertEquals(
            listOf(3, first + 0xE6, first + 0x97, first + 0xA5, EOS),
            bytes.encode("日").toList(),
        )
    }

    @Test
    fun `flags of added tokens`() {
        val plain = "\"single_word\": false, \"lstrip\": false, \"rstrip\": false"
        fun encode(prompt: String, vararg set: String): List<Int> {
            val flags = set.fold(plain) { all, flag ->
                all.replace("$flag\": false", "$flag\": true")
            }
            val text = edited("\"<extra_id_0>\", $plain", "\"[x]\", $flags")
                .replace("{\"type\": \"WhitespaceSplit\"}, ", "") // to see the spaces
            return tokenizer(text).encode(prompt).toList()
        }
        val token = 73 // the next free id: no piece reads so
        assertEquals(listOf(4, 3, token, 3, 3, 26, EOS), encode("a [x]  -"))
        assertEquals(listOf(4, token, 3, 3, 26, EOS), encode("a [x]  -", "lstrip"))
        assertEquals(listOf(4, 3, token, 3, 26, EOS), encode("a [x]  -", "rstrip"))
        assertEquals(listOf(4, token, token, EOS), encode("a [x]  [x] ", "lstrip", "rstrip"))
        assertTrue(token in encode("-[x].", "single_word"))
        assertTrue(token !in encode("-[x]é", "single_word"))
    }

    @Test
    fun `a space is put before the beginning of the prompt only, where the file says so`() {
        val first = tokenizer(
            edited("\"prepend_scheme\": \"always\"", "\"prepend_scheme\": \"first\""),
        )
        assertEquals(tokenizer.encode("ha").toList(), first.encode("ha").toList())
        assertEquals(tokenizer.encode("\u00ADha").toList(), first.encode("\u00ADha").toList())
        val (always, once) = listOf(tokenizer, first).map { it.encode("</s>ha").size }
        assertEquals(always, once)
        assertTrue(tokenizer.encode("</s>ha")[1] != first.encode("</s>ha")[1])
    }

    @Test
    fun `what is not known is refused, never passed over`() {
        val edits = mapOf(
            "\"type\": \"Precompiled\"" to "\"type\": \"NFKC\"",
            "\"type\": \"WhitespaceSplit\"" to "\"type\": \"Digits\"",
            "\"prepend_scheme\": \"always\"" to "\"prepend_scheme\": \"never\", \"new\": 1",
            "\"type\": \"TemplateProcessing\"" to "\"type\": \"RobertaProcessing\"",
            "\"type\": \"Unigram\"" to "\"type\": \"BPE\"",
            "\"unk_id\": 2" to "\"unk_id\": null",
            "\"byte_fallback\": false" to "\"alpha\": 0.1",
            "\"version\": \"1.0\"" to "\"version\": \"2.0\"",
            "\"truncation\": null" to "\"dropout\": 0.1",
        )
        for ((old, new) in edits) assertRefused(edited(old, new), new)
    }

    @Test
    fun `a broken file is refused`() {
        val normalizer = Regex("\\{\"type\": \"Precompiled\"[^}]*\\}").find(json)!!.value
        val charsmap = Regex("\"precompiled_charsmap\": \"[^\"]*\"").find(normalizer)!!.value
        val edits = mapOf(
            "\"unk_id\": 2" to "\"unk_id\": 99999",
            "[\"<unk>\", 0.0]" to "[\"<unk>\", \"0.0\"]",
            "[\"</s>\", 0.0]" to "[\"</s>\", 1e999]",
            "[\"<pad>\", 0.0]" to "[\"\\ud83c\", 0.0]",
            "\"ids\": [1]" to "\"ids\": [\"one\"]",
            "{\"Sequence\": {\"id\": \"A\"" to "{\"Sequence\": {\"id\": \"B\"",
            "{\"SpecialToken\": {\"id\": \"</s>\"" to "{\"SpecialToken\": {\"id\": \"<s>\"",
            "\"content\": \"<extra_id_0>\"" to "\"text\": \"<extra_id_0>\"",
            "\"decoder\": " to "\"decoder\": ${"[".repeat(9_999) + "]".repeat(9_998)}, \"",
            normalizer to "{\"type\": \"Sequence\", \"normalizers\": [".repeat(9_999) +
                normalizer + "]}".repeat(9_999),
            charsmap to "\"precompiled_charsmap\": \"!\"",
            charsmap to "\"precompiled_charsmap\": \"\"",
            charsmap to "\"precompiled_charsmap\": \"////fw==\"",
        )
        for ((old, new) in edits) assertRefused(edited(old, new), new.take(SHOWN))
        for (text in listOf("", "{}", "[]", "null", json.dropLast(1), "$json}", "[".repeat(9999))) {
            assertRefused(text, text.take(SHOWN))
        }
    }

    @Test
    fun `a damaged normalizer is an error, not a crash`() {
        // One unit whose children lie far outside the table.
        val damaged = edited(
            Regex("\"precompiled_charsmap\": \"[^\"]*\"").find(json)!!.value,
            "\"precompiled_charsmap\": \"BAAAAAD8//8A\"",
        )
        val error = assertFailsWith<ArcMobileException> { tokenizer(damaged).encode("rain") }
        assertEquals(ArcMobileException.Kind.BUNDLE, error.kind)
    }

    @Test
    fun `ids that the vocabulary does not have are refused`() {
        fun message(pad: Int, eos: Int) = assertFailsWith<ArcMobileException> {
            PromptTokenizer(json, maxLength = 8, padId = pad, eosId = eos)
        }.message
        assertTrue("tokenizer.pad_id: is 1000000, and the vocabulary ends" in message(1_000_000, 1))
        assertTrue("tokenizer.eos_id: is -1" in message(0, -1))
        val last = Regex("ends at (\\d+)").find(message(0, 99_999))!!.groupValues[1].toInt()
        PromptTokenizer(json, maxLength = 8, padId = last, eosId = last)
        message(0, last + 1)
    }

    @Test
    fun `an empty added token is passed over`() {
        val token = Regex("\\{\"id\": 0,[^}]*\\}").find(json)!!.value
        val empty = token.replace(Regex("\"content\": \"[^\"]*\""), "\"content\": \"\"")
        val more = tokenizer(edited(token, "$token, $empty"))
        for (prompt in listOf("", "warm rain", "<pad> a")) {
            assertEquals(tokenizer.encode(prompt).toList(), more.encode(prompt).toList())
        }
    }

    @Test
    fun `what would take minutes or gigabytes is refused`() {
        val normalizer = Regex("\\{\"type\": \"Precompiled\"[^}]*\\}").find(json)!!.value
        fun sequence(step: String, count: Int) =
            "{\"type\": \"Sequence\", \"normalizers\": [${List(count) { step }.joinToString()}]}"
        val tenfold = "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, " +
            "\"content\": \"${"a".repeat(10)}\"}"
        val bomb = tokenizer(edited(normalizer, sequence(tenfold, 12)))
        val error = assertFailsWith<ArcMobileException> { bomb.encode("aaa") }
        assertEquals(ArcMobileException.Kind.BUNDLE, error.kind)
        assertRefused(edited(normalizer, sequence(tenfold, 33)), "33 normalizers")
        assertRefused(
            edited("[\"<pad>\", 0.0]", "[\"<pad>\", 0.0], [\"${"x".repeat(5_000_000)}\", -1]"),
            "a piece of 5 million characters",
        )
        assertRefused(
            edited("\"ids\": [1]", "\"ids\": [${List(70_000) { 1 }.joinToString()}]"),
            "a long template",
        )
        assertRefused(edited("\"ids\": [1]", "\"ids\": [1000000]"), "an id outside")
    }

    @Test
    fun `half of a surrogate pair, and a key that is there twice, are refused`() {
        val edits = mapOf(
            "\"<extra_id_0>\"" to "\"\\ud83c\"",
            "\"version\": \"1.0\"" to "\"version\": \"1.0\", \"version\": \"1.0\"",
            "\"truncation\": null" to "\"truncation\": nul",
            "\"truncation\": null " to "\"truncation\": 01",
        )
        for ((old, new) in edits) assertRefused(edited(old.trim(), new), new)
    }

    private fun assertRefused(text: String, what: String) {
        val error = assertFailsWith<ArcMobileException>(what) { tokenizer(text) }
        assertEquals(ArcMobileException.Kind.BUNDLE, error.kind, what)
        assertTrue(error.message.startsWith("tokenizer.json: "), error.message)
        assertTrue("export the bundle" in error.message, error.message)
        assertTrue('\n' !in error.message, error.message)
    }

    private fun edited(old: String, new: String): String {
        assertTrue(old in json, old)
        return json.replaceFirst(old, new)
    }

    private fun tokenizer(text: String) =
        PromptTokenizer(text, maxLength = 8, padId = PAD, eosId = EOS)

    private companion object {
        const val SHOWN = 80
        const val PAD = 0
        const val EOS = 1
    }
}
