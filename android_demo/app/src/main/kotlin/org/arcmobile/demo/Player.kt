package org.arcmobile.demo

import java.io.IOException
import kotlin.math.min
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/** What is heard: [frame] of [sound]. */
internal data class PlayerState(
    val sound: Sound? = null,
    val frame: Int = 0,
    val playing: Boolean = false,
    val problem: Problem? = null,
) {
    /** Why nothing is heard. */
    sealed interface Problem {
        /** Another app must not be interrupted. */
        data object NoFocus : Problem

        /** The output failed. */
        data class Output(val reason: String) : Problem
    }
}

/**
 * Plays one sound at a time, also one that is still being made: it plays what there is and waits
 * for more. Call it on the main thread; [scope] must run there, too.
 */
internal class Player(
    private val scope: CoroutineScope,
    private val focus: AudioFocus,
    private val openOutput: (sampleRate: Int, channels: Int) -> AudioOutput = ::AudioTrackOutput,
) {
    private val mutableState = MutableStateFlow(PlayerState())
    private var feeding: Job? = null

    val state: StateFlow<PlayerState> = mutableState.asStateFlow()

    /** Plays [sound] from where it was left, or from its beginning. */
    fun play(sound: Sound) {
        val left = mutableState.value
        start(sound, if (left.sound === sound) left.frame else 0)
    }

    /** Falls silent and keeps the place. */
    fun stop() {
        feeding?.cancel()
        feeding = null
        focus.giveBack()
        mutableState.update { it.copy(playing = false) }
    }

    /** Goes to [frame] of [sound], and plays on from there if it was playing. */
    fun seek(sound: Sound, frame: Int) {
        val place = frame.coerceIn(0, sound.made.value.frames)
        val playing = mutableState.value.let { it.playing && it.sound === sound }
        stop()
        if (playing) {
            start(sound, place)
        } else {
            mutableState.value = PlayerState(sound, place)
        }
    }

    fun dismissProblem(): Unit = mutableState.update { it.copy(problem = null) }

    private fun start(sound: Sound, from: Int) {
        stop()
        if (!focus.take(onLost = ::stop)) {
            mutableState.value = PlayerState(sound, from, problem = PlayerState.Problem.NoFocus)
            return
        }
        mutableState.value = PlayerState(sound, from, playing = true)
        feeding = scope.launch {
            val end = try {
                withContext(Dispatchers.Default) { feed(sound, from) }
                PlayerState(sound)
            } catch (error: IOException) {
                val reason = error.message ?: error.javaClass.simpleName
                PlayerState(sound, from, problem = PlayerState.Problem.Output(reason))
            }
            feeding = null
            focus.giveBack()
            mutableState.value = end
        }
    }

    private suspend fun feed(sound: Sound, from: Int) {
        openOutput(sound.sampleRate, sound.channels).use { output ->
            val block = FloatArray(BLOCK_FRAMES * sound.channels)
            var next = from
            while (true) {
                // Asked in this order: samples that come between the two questions are not lost.
                val ended = sound.made.value.ended
                val ready = sound.read(next, block)
                if (ready == 0 && ended) break
                write(sound, output, block, ready * sound.channels, from)
                next += ready
                if (ready == 0) delay(POLL_MILLIS)
            }
            playOut(sound, output, block.apply { fill(0f) }, from, next)
        }
    }

    /** An output plays only full buffers: silence pushes the end of the sound through. */
    private suspend fun playOut(
        sound: Sound,
        output: AudioOutput,
        silence: FloatArray,
        from: Int,
        end: Int,
    ) {
        var stalled = 0
        while (from + output.framesPlayed < end && stalled < MOST_STALLS) {
            val before = output.framesPlayed
            output.write(silence, 0, silence.size)
            delay(POLL_MILLIS)
            tell(sound, output, from)
            stalled = if (output.framesPlayed == before) stalled + 1 else 0
        }
    }

    private suspend fun write(
        sound: Sound,
        output: AudioOutput,
        block: FloatArray,
        count: Int,
        from: Int,
    ) {
        var written = 0
        while (written < count) {
            val taken = output.write(block, written, count - written)
            written += taken
            tell(sound, output, from)
            if (taken == 0) delay(POLL_MILLIS)
        }
    }

    private fun tell(sound: Sound, output: AudioOutput, from: Int) {
        val frame = min(from + output.framesPlayed, sound.made.value.frames)
        mutableState.update { if (it.playing && it.sound === sound) it.copy(frame = frame) else it }
    }

    private companion object {
        const val BLOCK_FRAMES = 1024
        const val POLL_MILLIS = 20L
        const val MOST_STALLS = 100
    }
}
