package org.arcmobile

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.Json

/** Against the vectors that every runtime is checked with. */
class PhiloxNoiseTest {
    private val format = Json { ignoreUnknownKeys = true }
    private val vectors =
        format.decodeFromString(Vectors.serializer(), contractFile("vectors/noise.json").readText())

    @Test
    fun `Philox gives its known answers`() {
        for (known in vectors.philox) {
            val key = known.key[0].toULong() or (known.key[1].toULong() shl 32)
            val words = philox4x32(known.counter.map { it.toInt() }.toIntArray(), key)
            assertEquals(known.words, words.map { it.toUInt() })
        }
    }

    @Test
    fun `normals are the same bit for bit`() {
        for (known in vectors.normals) {
            val noise = PhiloxNoise(known.seed.toULong(), known.item)
                .normals(known.stream, known.bits.size, known.first)
            assertEquals(known.bits, bits(noise))
        }
    }

    @Test
    fun `a shorter tensor is the beginning of a longer one`() {
        val noise = PhiloxNoise(7u)
        val long = noise.step(3, 19).toList()
        for (count in 0..19) assertEquals(long.take(count), noise.step(3, count).toList())
        assertEquals(long.subList(6, 13), noise.normals(3u, 7, first = 6).toList())
    }

    @Serializable
    private class Vectors(val philox: List<Words>, val normals: List<Normals>)

    @Serializable
    private class Words(val counter: List<UInt>, val key: List<UInt>, val words: List<UInt>)

    @Serializable
    private class Normals(
        val seed: String,
        val stream: UInt,
        val item: UInt,
        val first: Long,
        val bits: List<String>,
    )
}
