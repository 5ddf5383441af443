package org.arcmobile

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
        val cases = vectors("pcm16.json").let { it.dropLast(it.size % 2) } // two channels
        val samples = cases.map { Float.fromBits(it.text("bits").toUInt(16).toInt()) }
        val writer = writer(SampleFormat.PCM16).apply { write(chunk(samples.toFloatArray())) }
        writer.use { it.finish() }
        val data = data()
        assertEquals(cases.map { it.int("sample") }, cases.map { data.getShort().toInt() })
        assertEquals(cases.count { it.text("clipped") == "true" }.toLong(), writer.clipped)
        assertEquals(cases.size / 2L, writer.samples)
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
            file.delete()
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
    fun `the file appears with its end, in place of an older one where that is asked for`() {
        file.writeText("older")
        assertTrue("ask to overwrite" in refusal { writer(SampleFormat.PCM16) })
        assertEquals(listOf(file), folder.listFiles()?.toList())
        WavWriter.create(file, 44_100, 2, overwrite = true).use {
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
    fun `a name that is taken meanwhile stays taken`() {
        writer(SampleFormat.PCM16).use {
            file.writeText("somebody else's")
            assertTrue("already there" in refusal { it.finish() })
        }
        assertEquals("somebody else's", file.readText())
        assertEquals(listOf(file), folder.listFiles()?.toList())
    }

    @Test
    fun `two writers of one file are not both let in`() {
        writer(SampleFormat.PCM16).use { first ->
            assertTrue("another writer" in refusal { writer(SampleFormat.PCM16) })
            val link = folder.resolve("link")
            Files.createSymbolicLink(link.toPath(), folder.toPath())
            assertTrue(
                "another writer" in refusal {
                    WavWriter.create(link.resolve(file.name), 44_100, 2)
                },
            )
            first.write(chunk(floatArrayOf(0f, 0f)))
            first.finish()
        }
        assertEquals(48, file.length())
        WavWriter.create(file, 44_100, 2, overwrite = true).close()
        assertEquals(48, file.length())
    }

    @Test
    fun `what a dead writer left is removed, a link that somebody laid is not followed`() {
        val precious = folder.resolve("precious").apply { writeText("precious") }
        val partial = folder.resolve(".sound.wav.arcmobile-partial")
        partial.writeText("half of another sound, much longer than the new one will be")
        writer(SampleFormat.PCM16).use { it.finish() }
        assertEquals(44, file.length())
        file.delete()
        Files.createSymbolicLink(partial.toPath(), precious.toPath())
        writer(SampleFormat.PCM16).use { it.finish() }
        assertEquals(44, file.length())
        assertEquals("precious", precious.readText())
        assertEquals(setOf(file, precious), folder.listFiles()?.toSet())
    }

    @Test
    fun `a sound of more than 4 GB is refused at the start, or where it gets so long`() {
        val most = (0xFFFFFFFFL - 44) / 4
        WavWriter.create(file, 44_100, 2, expectedSamples = most).close()
        val message = refusal { WavWriter.create(file, 44_100, 2, expectedSamples = most + 1) }
        assertTrue("ends at 4 GB" in message, message)
        assertEquals(0, folder.listFiles()?.size)
    }

    @Test
    fun `places where nothing can be written`() {
        val taken = folder.resolve("taken").apply { writeText("a file") }
        val fifo = folder.resolve("pipe.wav")
        ProcessBuilder("mkfifo", fifo.path).start().waitFor()
        val names = listOf(
            folder.resolve("a.wav").apply { mkdir() }, taken.resolve("sound.wav"), fifo,
            folder.resolve("sound.flac"), folder.resolve("sound"), folder.resolve("nul\u0000.wav"),
            folder.resolve("x".repeat(250) + ".wav"),
        )
        for (place in names) {
            val message = refusal { WavWriter.create(place, 44_100, 2) }
            assertTrue(message.startsWith("$folder"), message)
        }
        assertTrue(fifo.exists())
    }

    @Test
    fun `folders are made`() {
        val deep = folder.resolve("a/b/sound.wav")
        WavWriter.create(deep, 44_100, 2).use { it.finish() }
        assertEquals(44, deep.length())
    }

    private fun refusal(action: () -> Unit): String {
        val error = assertFailsWith<ArcMobileException> { action() }
        assertEquals(ArcMobileException.Kind.OUTPUT, error.kind)
        assertEquals(1, error.message.lines().size)
        return error.message
    }

    private fun writer(format: SampleFormat) = WavWriter.create(file, 44_100, 2, format)

    private fun chunk(samples: FloatArray) = AudioChunk(samples, channels = 2, sampleRate = 44_100)

    private fun data(): ByteBuffer =
        ByteBuffer.wrap(file.readBytes().drop(44).toByteArray()).order(ByteOrder.LITTLE_ENDIAN)

    private fun ByteBuffer.tag() = ByteArray(4).also(::get).decodeToString()
}
