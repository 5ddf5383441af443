package org.arcmobile

import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNotEquals
import kotlin.test.assertTrue
import org.arcmobile.ArcMobileException.Kind

class GenerationPlanTest {
    private val folder = Files.createTempDirectory("plan").toFile()
    private val manifest = TestBundle(folder).open().manifest

    @AfterTest
    fun clean() {
        folder.deleteRecursively()
    }

    @Test
    fun `what is left out is settled`() {
        val plan = plan(GenerationRequest("rain"))
        assertEquals(384, plan.samples)
        assertEquals(listOf(24, 24), listOf(plan.frames, plan.framesNeeded))
        assertEquals(3, plan.steps)
        assertEquals(mapOf("seconds_total" to 3.84f, "speed" to 60f), plan.numbers)
        assertEquals(listOf(9, 20), plan.decoder.map { it.window })
        assertNotEquals(plan.seed, plan(GenerationRequest("rain")).seed)
    }

    @Test
    fun `a short sound takes the shorter latent`() {
        val plan = plan(GenerationRequest("", seconds = 1.77, steps = 1, seed = ULong.MAX_VALUE))
        assertEquals(177, plan.samples)
        assertEquals(listOf(12, 12), listOf(plan.frames, plan.framesNeeded))
        assertEquals(ULong.MAX_VALUE, plan.seed)
        assertEquals(5, plan(GenerationRequest("", seconds = 0.8)).framesNeeded)
    }

    @Test
    fun `the longest sound may be said with fewer digits`() {
        assertEquals(384, plan(GenerationRequest("", seconds = 3.9)).samples)
    }

    @Test
    fun `what is out of range is named, with the range`() {
        val wrong = mapOf(
            GenerationRequest("", seconds = 4.0) to "at most 3.84",
            GenerationRequest("", seconds = 0.001) to "more than 0",
            GenerationRequest("", seconds = -1.0) to "more than 0",
            GenerationRequest("", seconds = Double.NaN) to "more than 0",
            GenerationRequest("", seconds = Double.POSITIVE_INFINITY) to "at most 3.84",
            GenerationRequest("", steps = 0) to "1 to 64",
            GenerationRequest("", steps = 65) to "1 to 64",
            GenerationRequest("", numbers = mapOf("tempo" to 1f)) to "tempo",
            GenerationRequest("", numbers = mapOf("speed" to Float.NaN)) to "finite",
            GenerationRequest("half \uD83C of a pair") to "prompt",
        )
        for ((request, word) in wrong) {
            val error = assertFailsWith<ArcMobileException> { plan(request) }
            assertEquals(Kind.REQUEST, error.kind)
            assertTrue(word in error.message, error.message)
        }
    }

    @Test
    fun `numbers that the model clamps are warned of`() {
        val plan = plan(GenerationRequest("", seconds = 3.5, numbers = mapOf("speed" to 200f)))
        assertEquals(200f, plan.numbers.getValue("speed"))
        assertEquals(
            listOf(
                "seconds_total 3.5 is outside 0 .. 3; the model takes the nearest value",
                "speed 200 is outside 60 .. 180; the model takes the nearest value",
            ),
            plan.warnings,
        )
    }

    private fun plan(request: GenerationRequest) = planGeneration(request, manifest)
}
