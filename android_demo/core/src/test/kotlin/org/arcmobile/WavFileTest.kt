package org.arcmobile

import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class WavFileTest {
    private val folder = Files.createTempDirectory("wav").toFile()
    private val file = folder.resolve("sound.wav")

    @AfterTest
    fun clean() {
        folder.deleteRecursively()
    }

    @Test
    fun `integers are those of Python, and the clipped ones are counted`() {
        val step = 1f / 32768
        val samples =
            floatArrayOf(0f, 1f, -1f, 1.5f, -2f, 0.5f, 1.9f * step, -1.1f * step, -1e-30f, step)
        val writer = writer(SampleFormat.PCM16).apply { write(chunk(samples)) }
        writer.use { it.finish() }
        val data = data()
        assertEquals(
            listOf<Short>(0, 32767, -32768, 32767, -32768, 16384, 1, -2, 0, 1),
            List(samples.size) { data.getShort() },
        )
        assertEquals(2, writer.clipped)
        assertEquals(5, writer.samples)
    }

    @Test
    fun `floats stay as they are`() {
        val samples = floatArrayOf(0.1f, -3f, Float.MIN_VALUE, -0f)
        val writer = writer(SampleFormat.FLOAT32).apply { write(chunk(samples)) }
        writer.use { it.finish() }
        val data = data()
        assertEquals(samples.toList(), List(samples.size) { data.getFloat() })
        assertEquals(0, writer.clipped)
    }

    @Test
    fun `the header fits however the samples came`() {
        for (format in SampleFormat.entries) {
            writer(format).use {
                it.write(chunk(FloatArray(100_000)))
                it.write(chunk(FloatArray(0)))
                it.write(chunk(FloatArray(6)))
                it.finish()
            }
            val bytes = 100_006 * format.bytes
            val header = ByteBuffer.wrap(file.readBytes()).order(ByteOrder.LITTLE_ENDIAN)
            assertEquals(44 + bytes, header.limit())
            assertEquals("RIFF", header.tag())
            assertEquals(36 + bytes, header.getInt())
            assertEquals("WAVEfmt ", header.tag() + header.tag())
            assertEquals(16, header.getInt())
            assertEquals(if (format == SampleFormat.PCM16) 1 else 3, header.getShort())
            assertEquals(2, header.getShort())
            assertEquals(44_100, header.getInt())
            assertEquals(44_100 * 2 * format.bytes, header.getInt())
            assertEquals((2 * format.bytes).toShort(), header.getShort())
            assertEquals((8 * format.bytes).toShort(), header.getShort())
            assertEquals("data", header.tag())
            assertEquals(bytes, header.getInt())
        }
    }

    @Test
    fun `the file appears with its end, in place of an older one`() {
        file.writeText("older")
        writer(SampleFormat.PCM16).use {
            it.write(chunk(floatArrayOf(0f, 0f)))
            assertEquals("older", file.readText())
            it.finish()
        }
        assertEquals(48, file.length())
        assertEquals(listOf(file), folder.listFiles()?.toList())
    }

    @Test
    fun `an interrupted thread does not break the file`() {
        writer(SampleFormat.PCM16).use {
            Thread.currentThread().interrupt()
            it.write(chunk(floatArrayOf(0f, 0f)))
            it.finish()
        }
        assertTrue(Thread.interrupted())
        assertEquals(48, file.length())
    }

    @Test
    fun `a finished file takes nothing more`() {
        val writer = writer(SampleFormat.PCM16).apply { finish() }
        assertFailsWith<IllegalStateException> { writer.write(chunk(floatArrayOf(0f, 0f))) }
        assertFailsWith<IllegalStateException> { writer.finish() }
        assertEquals(44, file.length())
    }

    @Test
    fun `nothing is left of a file that is given up`() {
        writer(SampleFormat.PCM16).use { it.write(chunk(floatArrayOf(0f, 0f))) }
        assertEquals(0, folder.listFiles()?.size)
    }

    @Test
    fun `full storage is told of, and nothing is left`() {
        val partial = folder.resolve("partial").apply { writeText("half") }
        val full = RandomAccessFile("/dev/full", "rw")
        val writer = WavWriter(file, partial, full, 44_100, 2, SampleFormat.PCM16)
        val error = assertFailsWith<ArcMobileException> { writer.write(chunk(FloatArray(2))) }
        assertEquals(ArcMobileException.Kind.OUTPUT, error.kind)
        assertTrue("$file" in error.message && "free some space" in error.message, error.message)
        assertEquals(0, folder.listFiles()?.size)
    }

    @Test
    fun `places where nothing can be written`() {
        val taken = folder.resolve("taken").apply { writeText("a file") }
        for (place in listOf(folder, taken.resolve("sound.wav"))) {
            val error = assertFailsWith<ArcMobileException> {
                WavWriter.create(place, 44_100, 2, SampleFormat.PCM16)
            }
            assertEquals(ArcMobileException.Kind.OUTPUT, error.kind)
            assertTrue(error.message.startsWith("$place: "), error.message)
        }
    }

    @Test
    fun `folders are made`() {
        val deep = folder.resolve("a/b/sound.wav")
        WavWriter.create(deep, 44_100, 2).use { it.finish() }
        assertEquals(44, deep.length())
    }

    private fun writer(format: SampleFormat) = WavWriter.create(file, 44_100, 2, format)

    private fun chunk(samples: FloatArray) = AudioChunk(samples, channels = 2, sampleRate = 44_100)

    private fun data(): ByteBuffer =
        ByteBuffer.wrap(file.readBytes().drop(44).toByteArray()).order(ByteOrder.LITTLE_ENDIAN)

    private fun ByteBuffer.tag() = ByteArray(4).also(::get).decodeToString()
}
