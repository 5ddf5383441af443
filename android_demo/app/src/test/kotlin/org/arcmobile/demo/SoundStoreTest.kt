package org.arcmobile.demo

import java.io.File
import java.io.IOException
import kotlin.random.Random
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue
import org.arcmobile.AudioChunk
import org.arcmobile.WavWriter
import org.junit.Rule
import org.junit.rules.TemporaryFolder

class SoundStoreTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val store by lazy { SoundStore(temporary.root.resolve("sounds")).apply { prepare() } }

    @Test
    fun `a sound that core wrote is read back`() {
        val file = store.newFile("Rain, softly!", seed = 7u)
        val samples = floatArrayOf(0f, 1f, -1f, 0.5f)
        WavWriter.create(file, sampleRate = 44100, channels = 2).use {
            it.write(AudioChunk(samples, channels = 2, sampleRate = 44100))
            it.finish()
        }

        val sound = store.read(file)
        val read = FloatArray(4)
        assertEquals("rain-softly-7.wav", file.name)
        assertEquals(2, sound.read(0, read))
        assertEquals(44100, sound.sampleRate)
        assertContentEquals(samples, read.map { Math.round(it * 1000) / 1000f }.toFloatArray())
        assertTrue(sound.made.value.ended)
    }

    @Test
    fun `names are new and never lead out of the folder`() {
        store.newFile("../../etc", 1u).writeBytes(ByteArray(1))

        assertEquals("etc-1-2.wav", store.newFile("../../etc", 1u).name)
        assertEquals("sound-1.wav", store.newFile("***", 1u).name)
        assertEquals(store.folder, store.newFile("x/".repeat(99), ULong.MAX_VALUE).parentFile)
        assertEquals(null, store.find("../settings.xml"))
    }

    @Test
    fun `unfinished files of a dead process go, finished ones stay`() {
        val unfinished = store.folder.resolve(".rain-7.wav.partial-1a2b").apply { writeText("x") }
        val finished = store.folder.resolve("rain-7.wav").apply { writeText("x") }

        store.prepare()

        assertFalse(unfinished.exists())
        assertTrue(finished.exists())
    }

    @Test
    fun `only the newest sounds are kept`() {
        val files = (1L..12L).map { age ->
            store.folder.resolve("$age.wav").apply {
                writeText("x")
                setLastModified(1_000_000_000_000 - age * 60_000)
            }
        }

        store.prune()

        assertEquals(files.take(10), files.filter(File::exists))
    }

    @Test
    fun `other files are refused`() {
        val text = store.folder.resolve("a.wav").apply { writeText("no sound ".repeat(20)) }
        val short = store.folder.resolve("b.wav").apply { writeText("RIFF") }

        assertFailsWith<IOException> { store.read(text) }
        assertFailsWith<IOException> { store.read(short) }
    }

    @Test
    fun `a corrupted file is read or refused`() {
        val file = store.newFile("rain", seed = 7u)
        WavWriter.create(file, sampleRate = 44100, channels = 2).use {
            it.write(AudioChunk(FloatArray(200), channels = 2, sampleRate = 44100))
            it.finish()
        }
        val whole = file.readBytes()
        for (seed in 0 until System.getProperty("arcmobile.mutations").toInt()) {
            val random = Random(seed)
            val spoilt = whole.copyOf(random.nextInt(whole.size + 1))
            repeat(random.nextInt(4)) {
                if (spoilt.isNotEmpty()) {
                    spoilt[random.nextInt(minOf(48, spoilt.size))] = random.nextInt(256).toByte()
                }
            }
            file.writeBytes(spoilt)
            try {
                store.read(file)
            } catch (_: IOException) {
                continue
            }
        }
    }
}
