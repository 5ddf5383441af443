package org.arcmobile.demo

import android.content.Context
import android.content.Intent
import android.media.AudioManager
import java.io.IOException
import java.util.concurrent.CopyOnWriteArrayList
import kotlin.math.min
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertTrue
import org.arcmobile.demo.PlayerState.Problem
import org.robolectric.Shadows.shadowOf
import org.robolectric.shadows.ShadowAudioTrack

class PlayerTest : AppTest() {
    private val sound = Sound(sampleRate = 8000, channels = 2, expectedFrames = 6000)

    /** Takes samples in odd pieces, and has played all but what lies in its buffer. */
    private class Tape(private val room: Int = Int.MAX_VALUE) : AudioOutput {
        val heard = CopyOnWriteArrayList<Float>()

        @Volatile
        var closed = false

        override val framesPlayed: Int get() = heard.size / 2 / BUFFER * BUFFER

        override fun write(samples: FloatArray, offset: Int, count: Int): Int {
            val taken = min(min(count, PIECE), room - heard.size).coerceAtLeast(0)
            heard += samples.asList().subList(offset, offset + taken)
            return taken
        }

        override fun close() {
            closed = true
        }

        private companion object {
            const val PIECE = 354
            const val BUFFER = 500
        }
    }

    private fun player(output: AudioOutput) =
        Player(app.scope, AudioFocus(app)) { _, _ -> output }

    private fun ramp(from: Int, frames: Int) =
        FloatArray(2 * frames) { (2 * from + it) / 20_000f }

    @Test
    fun `what is there is played at once, and the rest as it comes`() {
        val tape = Tape()
        val player = player(tape)

        player.play(sound)
        sound.append(ramp(0, 2500))
        await("the first chunk") { tape.heard.size >= 5000 }
        assertTrue(player.state.value.playing)
        sound.append(ramp(2500, 3500))
        sound.end()
        await("the end") { !player.state.value.playing }

        assertEquals(ramp(0, 6000).asList(), tape.heard.take(12_000))
        assertTrue(tape.heard.drop(12_000).all { it == 0f })
        assertTrue(tape.closed)
        assertEquals(PlayerState(sound, frame = 0), player.state.value)
    }

    @Test
    fun `the place is kept when it stops, and moved by seeking`() {
        sound.append(ramp(0, 6000))
        sound.end()
        val player = player(Tape(room = 4000))

        player.play(sound)
        await("2000 frames") { player.state.value.frame == 2000 }
        player.stop()
        assertEquals(PlayerState(sound, frame = 2000), player.state.value)
        player.seek(sound, 99_999)
        assertEquals(PlayerState(sound, frame = 6000), player.state.value)
        player.seek(sound, -5)
        assertEquals(PlayerState(sound, frame = 0), player.state.value)
    }

    @Test
    fun `seeking while it plays goes on from there`() {
        sound.append(ramp(0, 6000))
        sound.end()
        val tapes = ArrayDeque(listOf(Tape(room = 1000), Tape()))
        val last = tapes.last()
        val player = Player(app.scope, AudioFocus(app)) { _, _ -> tapes.removeFirst() }

        player.play(sound)
        await("some of it") { player.state.value.frame == 500 }
        player.seek(sound, 5000)
        await("the end") { !player.state.value.playing }

        assertEquals(ramp(5000, 1000).asList(), last.heard.take(2000))
    }

    @Test
    fun `it falls silent when headphones are pulled out`() {
        sound.append(ramp(0, 6000))
        val player = player(Tape(room = 1000))

        player.play(sound)
        await("sound") { player.state.value.frame > 0 }
        app.sendBroadcast(Intent(AudioManager.ACTION_AUDIO_BECOMING_NOISY))
        await("silence") { !player.state.value.playing }

        assertEquals(500, player.state.value.frame)
    }

    @Test
    fun `it takes the audio focus, falls silent when it is lost, and gives it back`() {
        val audio = shadowOf(app.getSystemService(Context.AUDIO_SERVICE) as AudioManager)
        val player = player(Tape(room = 1000))

        player.play(sound)
        val listener = audio.lastAudioFocusRequest.listener
        listener.onAudioFocusChange(AudioManager.AUDIOFOCUS_LOSS_TRANSIENT_CAN_DUCK)
        assertTrue(player.state.value.playing)
        listener.onAudioFocusChange(AudioManager.AUDIOFOCUS_LOSS)

        assertFalse(player.state.value.playing)
        assertTrue(audio.lastAbandonedAudioFocusRequest != null)
    }

    @Test
    fun `a call that must not be interrupted is a message`() {
        shadowOf(app.getSystemService(Context.AUDIO_SERVICE) as AudioManager)
            .setNextFocusRequestResponse(AudioManager.AUDIOFOCUS_REQUEST_FAILED)
        val player = player(Tape())

        player.play(sound)

        assertEquals(PlayerState(sound, problem = Problem.NoFocus), player.state.value)
    }

    @Test
    fun `an output that fails is a message`() {
        val player = Player(app.scope, AudioFocus(app)) { _, _ -> throw IOException("no output") }

        player.play(sound)
        await("the failure") { !player.state.value.playing }

        assertEquals(Problem.Output("no output"), player.state.value.problem)
    }

    @Test
    fun `Android's own output gets the samples`() {
        val played = CopyOnWriteArrayList<Int>()
        val listener = ShadowAudioTrack.OnAudioDataWrittenListener { _, data, _ ->
            played += data.size
        }
        ShadowAudioTrack.addAudioDataListener(listener)
        sound.append(ramp(0, 6000))
        sound.end()

        val player = Player(app.scope, AudioFocus(app))
        player.play(sound)
        await("all of it") { played.sum() >= 6000 * 2 * Float.SIZE_BYTES }
        player.stop()
        ShadowAudioTrack.removeAudioDataListener(listener)

        assertEquals(null, player.state.value.problem)
    }
}
