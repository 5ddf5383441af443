package org.arcmobile.demo

import android.media.AudioAttributes
import android.media.AudioFormat
import android.media.AudioTrack
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.min

/** Where samples go to be heard: interleaved float32, in order. */
internal interface AudioOutput : AutoCloseable {
    /** Frames heard since the output was opened. */
    val framesPlayed: Int

    /**
     * Takes as many of the [count] values at [offset] as there is room for now, and gives their
     * number. Throws [IOException] if the output has failed.
     */
    fun write(samples: FloatArray, offset: Int, count: Int): Int

    /** Silences it at once. */
    override fun close()
}

/** Android's output in its streaming mode: sound starts while later samples are still unknown. */
internal class AudioTrackOutput(sampleRate: Int, channels: Int) : AudioOutput {
    private val track: AudioTrack = open(sampleRate, channels).apply { play() }
    private val piece = ByteBuffer.allocateDirect(PIECE * Float.SIZE_BYTES)
        .order(ByteOrder.nativeOrder())

    override val framesPlayed: Int get() = track.playbackHeadPosition

    override fun write(samples: FloatArray, offset: Int, count: Int): Int {
        val block = min(count, PIECE)
        piece.clear()
        piece.asFloatBuffer().put(samples, offset, block)
        val bytes = track.write(piece, block * Float.SIZE_BYTES, AudioTrack.WRITE_NON_BLOCKING)
        if (bytes < 0) throw IOException("AudioTrack error $bytes")
        return bytes / Float.SIZE_BYTES
    }

    override fun close() {
        // pause and flush stop at once; stop alone would play what is still in the buffer.
        track.pause()
        track.flush()
        track.release()
    }

    private companion object {
        /** Values given to the track in one call. */
        const val PIECE = 4096

        fun open(sampleRate: Int, channels: Int): AudioTrack {
            val mask = when (channels) {
                1 -> AudioFormat.CHANNEL_OUT_MONO
                2 -> AudioFormat.CHANNEL_OUT_STEREO
                else -> throw IOException("$channels channels")
            }
            val least =
                AudioTrack.getMinBufferSize(sampleRate, mask, AudioFormat.ENCODING_PCM_FLOAT)
            if (least <= 0) throw IOException("no $channels channels at $sampleRate Hz")
            return try {
                AudioTrack.Builder()
                    .setAudioAttributes(MEDIA)
                    .setAudioFormat(
                        AudioFormat.Builder()
                            .setEncoding(AudioFormat.ENCODING_PCM_FLOAT)
                            .setSampleRate(sampleRate)
                            .setChannelMask(mask)
                            .build(),
                    )
                    .setTransferMode(AudioTrack.MODE_STREAM)
                    .setBufferSizeInBytes(2 * least)
                    .build()
            } catch (error: UnsupportedOperationException) {
                throw IOException(error.message, error)
            }
        }
    }
}

/** Attributes of what this app plays. */
internal val MEDIA: AudioAttributes = AudioAttributes.Builder()
    .setUsage(AudioAttributes.USAGE_MEDIA)
    .setContentType(AudioAttributes.CONTENT_TYPE_MUSIC)
    .build()
