package org.arcmobile.demo

import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals

class SoundTest {
    @Test
    fun `a sound is read while it grows, also beyond what was expected`() {
        val sound = Sound(sampleRate = 100, channels = 2, expectedFrames = 3)
        val block = FloatArray(4)

        assertEquals(0, sound.read(0, block))
        sound.append(floatArrayOf(1f, 2f, 3f, 4f, 5f, 6f))
        assertEquals(2, sound.read(0, block))
        assertContentEquals(floatArrayOf(1f, 2f, 3f, 4f), block)
        assertEquals(1, sound.read(2, block))
        assertEquals(5f, block[0])
        sound.append(floatArrayOf(7f, 8f, 9f, 10f))
        assertEquals(2, sound.read(3, block))
        assertContentEquals(floatArrayOf(7f, 8f, 9f, 10f), block)
    }

    @Test
    fun `its length is what is expected until it has ended`() {
        val sound = Sound(sampleRate = 10, channels = 1, expectedFrames = 40)
        sound.append(FloatArray(10))

        assertEquals(4.0, sound.seconds)
        sound.end()
        assertEquals(1.0, sound.seconds)
    }
}
