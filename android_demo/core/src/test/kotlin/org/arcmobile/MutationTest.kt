package org.arcmobile

import java.nio.file.Files
import kotlin.random.Random
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlinx.serialization.json.Json

/**
 * Corrupted inputs of every reader, the same for a seed: each is read, or refused in one line.
 * Memory is bounded by the options of the test's process.
 */
class MutationTest {
    private val folder = Files.createTempDirectory("mutations").toFile()
    private val given = TestBundle(folder)

    @AfterTest
    fun clean() {
        folder.deleteRecursively()
    }

    @Test
    fun `corrupted manifests`() {
        val mutations = JsonMutations(given.manifest)
        val file = given.file("manifest.json")
        each { random ->
            file.writeBytes(mutations.next(random))
            val manifest = Bundle.open(folder).manifest
            planGeneration(GenerationRequest("rain", seed = 1u), manifest)
        }
    }

    @Test
    fun `corrupted tokenizers`() {
        val mutations = JsonMutations(Json.parseToJsonElement(vectorTokenizer()))
        each { random ->
            val text = mutations.next(random).decodeToString()
            val tokenizer = PromptTokenizer(text, maxLength = 64, padId = 0, eosId = 1)
            for (prompt in PROMPTS) tokenizer.tokenize(prompt)
        }
    }

    private fun each(read: (Random) -> Unit) {
        val count = System.getProperty("arcmobile.mutations").toInt()
        var refused = 0
        for (seed in 0 until count) {
            try {
                read(Random(seed))
            } catch (error: ArcMobileException) {
                refused++
                assertEquals(1, error.message.lines().size, "seed $seed: ${error.message}")
                assertTrue(error.message.length in 20..1_000, "seed $seed: ${error.message}")
            } catch (error: Throwable) {
                throw AssertionError("seed $seed: $error", error)
            }
        }
        assertTrue(refused in count / 4 until count, "$refused of $count were refused")
    }

    private companion object {
        val PROMPTS = listOf("", "warm rain", "</s>  a\u030A \u200D\u0085 ", "🎸 aaaa ".repeat(30))
    }
}
