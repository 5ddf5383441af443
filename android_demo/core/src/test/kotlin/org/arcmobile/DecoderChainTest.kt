package org.arcmobile

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

class DecoderChainTest {
    @Test
    fun `windows are those of Python`() {
        for (case in vectors("windows.json", "windows")) {
            val windows = planWindows(case.int("frames"), case.int("window"), case.int("context"))
            assertEquals(
                case.list("windows").map { row -> row.jsonArray.map { it.jsonPrimitive.int } },
                windows.map { listOf(it.start, it.stop, it.keepStart, it.keepStop) },
                "$case",
            )
        }
        for (case in vectors("windows.json", "choices")) {
            val window =
                chooseWindow(case.int("frames"), case.ints("available"), case.int("context"))
            assertEquals(case.int("window"), window, "$case")
        }
    }

    @Test
    fun `no more windows are computed than in Python`() {
        for (case in vectors("windows.json", "chains")) {
            val plans = plansOf(case)
            val calls = IntArray(plans.size)
            val frames = case.int("frames")
            val latent = FloatTensor.of(FloatArray(frames), 1, 1, frames.toLong())
            val chain = DecoderChain(
                latent,
                plans,
                case.int("samples"),
                run = { part, _ ->
                    calls[plans.indexOf(part)]++
                    val length = part.window * part.ratio
                    FloatTensor.of(FloatArray(length), 1, 1, length.toLong())
                },
                done = {},
            )
            val samples = generateSequence { chain.next() }.sumOf { it.size }
            assertEquals(case.int("samples"), samples, "$case")
            assertEquals(case.ints("calls"), calls.toList(), "$case")
        }
    }

    @Test
    fun `windows that cannot decode are refused`() {
        assertFailsWith<InvalidManifest> { planWindows(7, 8, 2) }
        assertFailsWith<InvalidManifest> { planWindows(9, 8, 4) }
        assertFailsWith<InvalidManifest> { chooseWindow(9, listOf(8, 12), 4) }
        assertEquals(8, chooseWindow(9, listOf(5, 8, 12), 2))
        assertEquals(12, chooseWindow(12, listOf(5, 8, 12), 7))
    }

    @Test
    fun `any windows give the sound of one call`() {
        val latent = latent(24)
        val whole = oneCall(latent)
        for (first in listOf(5, 6, 9, 24)) {
            for (second in listOf(7, 8, 20, 96)) {
                val plans = listOf(plan(0, 24, first), plan(1, 96, second))
                val run = Run(latent, plans, whole.size / 2)
                assertEquals(whole.toList(), run.sound, "windows of $first and $second frames")
                assertEquals(listOf("decoder_1", "decoder_2"), run.done)
            }
        }
    }

    @Test
    fun `the sound ends where it was asked to`() {
        val latent = latent(24)
        val whole = oneCall(latent)
        val plans = listOf(plan(0, 24, 9), plan(1, 96, 20))
        for (samples in listOf(1, 67, 68, 69, 383, 384)) {
            val run = Run(latent, plans, samples)
            assertEquals(whole.take(2 * samples), run.sound)
            assertEquals(listOf("decoder_1", "decoder_2"), run.done)
        }
    }

    @Test
    fun `the first samples need one window of each part, if it is long enough`() {
        val chain = Run(latent(24), listOf(plan(0, 24, 9), plan(1, 96, 20)), 384, chunks = 1)
        assertEquals(listOf("decoder_1", "decoder_2"), chain.calls)
    }

    @Test
    fun `a sound may end a little early, but no window inside it`() {
        val latent = latent(24)
        val plans = listOf(plan(0, 24, 9), plan(1, 96, 20))
        val whole = oneCall(latent).toList()
        val short = Run(latent, plans, 384, missing = 2)
        assertEquals(whole.take(2 * 382), short.sound)
        val error = assertFailsWith<ArcMobileException> { Run(latent, plans, 384, missing = 13) }
        assertEquals(ArcMobileException.Kind.BUNDLE, error.kind)
        assertTrue("decoder_2" in error.message)
    }

    /** Everything a chain gives; the last part gives [missing] samples too few at each end. */
    private class Run(
        latent: FloatTensor,
        plans: List<PartPlan>,
        samples: Int,
        private val missing: Int = 0,
        chunks: Int = Int.MAX_VALUE,
    ) {
        val calls = mutableListOf<String>()
        val done = mutableListOf<String>()
        val sound: List<Float>

        init {
            val chain = DecoderChain(latent, plans, samples, ::call) { done += it.component }
            sound = generateSequence { chain.next() }.take(chunks).flatMap { it.asList() }.toList()
        }

        private fun call(part: PartPlan, window: FloatTensor): FloatTensor {
            calls += part.component
            val values = convolve(part.component, window)
            val channels = part.entry.outputs.single().shape[1].toInt()
            val length = values.size / channels
            val kept = if (part.component == "decoder_2") length - missing else length
            val shorter = values.toList().chunked(length).flatMap { it.take(kept) }
            return FloatTensor.of(shorter.toFloatArray(), 1, channels.toLong(), kept.toLong())
        }
    }

    private fun latent(frames: Int) = FloatTensor.of(
        FloatArray(2 * frames) { (it * 37 % 19 - 9) / 8f },
        1,
        2,
        frames.toLong(),
    )

    /** The whole, interleaved, without windows. */
    private fun oneCall(latent: FloatTensor): FloatArray {
        val features = convolve("decoder_1", latent)
        val length = features.size / 3
        val tensor = FloatTensor.of(features, 1, 3, length.toLong())
        val audio = convolve("decoder_2", tensor)
        val samples = audio.size / 2
        return FloatArray(audio.size) { audio[it % 2 * samples + it / 2] }
    }

    private fun plan(index: Int, frames: Int, window: Int): PartPlan {
        val channels = listOf(2L, 3L, 2L)
        fun tensor(at: Int) = TensorSpec("t", listOf(1, channels[at], window.toLong()), "float32")
        val entry = Entry("e", window, listOf(tensor(index)), listOf(tensor(index + 1)))
        val context = TestBundle.CONTEXTS[index]
        return PartPlan("decoder_${index + 1}", entry, frames, window, context, ratio = 4)
    }

    /** The parts of a case of the vectors, with one channel everywhere. */
    private fun plansOf(case: JsonObject): List<PartPlan> {
        val parts = case.list("parts").map { it.jsonObject }
        val windows = case.ints("windows")
        val rates = parts.map { it.int("frames_per_latent") } + case.int("samples_per_frame")
        return parts.mapIndexed { index, part ->
            val tensor = TensorSpec("t", listOf(1, 1, windows[index].toLong()), FLOAT32)
            PartPlan(
                component = decoderPart(index),
                entry = Entry("e", windows[index], listOf(tensor), listOf(tensor)),
                frames = case.int("frames") * rates[index],
                window = windows[index],
                context = part.int("context_frames"),
                ratio = rates[index + 1] / rates[index],
            )
        }
    }
}
