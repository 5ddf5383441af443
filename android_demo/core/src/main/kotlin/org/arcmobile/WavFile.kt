package org.arcmobile

import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs

/** How a WAV file holds its samples. */
public enum class SampleFormat(internal val bytes: Int, internal val formatTag: Short) {
    /** 16-bit integers, little-endian: what is beyond full scale is clipped. */
    PCM16(bytes = 2, formatTag = 1),

    /** 32-bit floats, little-endian, as the model made them. */
    FLOAT32(bytes = 4, formatTag = 3),
}

/**
 * Writes a WAV file as chunks arrive. The file appears under its name only with [finish]; until
 * then it grows under a hidden name in the same folder, which [close] removes. Not thread-safe.
 *
 * Samples are written as they are, neither normalised nor dithered. In [SampleFormat.PCM16] they
 * are rounded to the nearest multiple of 2^-15, ties to even, and held to full scale: the very
 * integers that Python and C++ write (`runtime/contract/README.md`).
 */
public class WavWriter private constructor(
    private val partial: PartialFile,
    private val sampleRate: Int,
    private val channels: Int,
    private val format: SampleFormat,
) : AutoCloseable {
    private val file = partial.target
    private val output = partial.output
    private val buffer = ByteBuffer.allocate(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN)
    private val frameBytes = channels * format.bytes
    private var open = true

    /** Samples written per channel. */
    public var samples: Long = 0
        private set

    /** Samples of any channel that were beyond full scale and were clipped; PCM16 only. */
    public var clipped: Long = 0
        private set

    /**
     * Appends the samples of [chunk], which has this file's channels and sample rate.
     *
     * @throws ArcMobileException of kind OUTPUT when the storage is full; the file is given up.
     */
    public fun write(chunk: AudioChunk) {
        require(chunk.channels == channels && chunk.sampleRate == sampleRate) {
            "${chunk.channels} channels at ${chunk.sampleRate} Hz for a file of $channels at " +
                "$sampleRate Hz"
        }
        require(chunk.samples.size % channels == 0) { "${chunk.samples.size} samples in all" }
        val written = samples + chunk.length
        if (written > mostSamples(channels, format)) fail(TOO_LONG)
        storing {
            for (sample in chunk.samples) {
                if (buffer.remaining() < format.bytes) flush()
                put(sample)
            }
            flush()
        }
        samples = written
    }

    /**
     * Completes the file and gives it its name.
     *
     * @throws ArcMobileException of kind OUTPUT if that fails; the file is given up.
     */
    public fun finish() {
        storing {
            writeHeader()
            output.fd.sync()
            try {
                partial.finish()
            } catch (error: ArcMobileException) { // the name was taken meanwhile
                close()
                throw error
            }
            open = false
        }
    }

    /** Gives the file up unless it is finished: nothing is left of it. */
    override fun close() {
        open = false
        partial.close()
    }

    private fun writeHeader() {
        val data = samples * frameBytes
        buffer.put(RIFF).putInt((HEADER_BYTES - RIFF_BYTES + data).toInt()).put(WAVE)
        buffer.put(FMT).putInt(FMT_BYTES).putShort(format.formatTag).putShort(channels.toShort())
        buffer.putInt(sampleRate).putInt(sampleRate * frameBytes)
        buffer.putShort(frameBytes.toShort()).putShort((8 * format.bytes).toShort())
        buffer.put(DATA).putInt(data.toInt())
        output.seek(0)
        flush()
    }

    private fun put(sample: Float) {
        if (format == SampleFormat.FLOAT32) {
            buffer.putFloat(sample)
            return
        }
        if (abs(sample) > 1f) clipped++
        val nearest = Math.rint(sample * FULL_SCALE).coerceIn(LEAST_SHORT, MOST_SHORT)
        buffer.putShort(nearest.toInt().toShort())
    }

    private fun flush() {
        output.write(buffer.array(), 0, buffer.position())
        buffer.clear()
    }

    private inline fun storing(action: () -> Unit) {
        check(open) { "$file is finished or closed" }
        try {
            action()
        } catch (error: IOException) {
            fail(
                "only a part could be written, the storage may be full; free some space or " +
                    "choose another place",
                error,
            )
        }
    }

    private fun fail(problem: String, cause: IOException? = null): Nothing {
        close()
        throw unwritten(file, problem, cause)
    }

    public companion object {
        private const val FULL_SCALE = 32768.0
        private const val LEAST_SHORT = Short.MIN_VALUE.toDouble()
        private const val MOST_SHORT = Short.MAX_VALUE.toDouble()
        private const val BUFFER_BYTES = 1 shl 16
        private const val RIFF_BYTES = 8
        private const val FMT_BYTES = 16
        private const val HEADER_BYTES = 44
        private const val MOST_BYTES = 0xFFFFFFFFL
        private const val TOO_LONG = "a WAV file ends at 4 GB; make a shorter sound"
        private const val EXTENSION = ".wav"

        private val RIFF = "RIFF".encodeToByteArray()
        private val WAVE = "WAVE".encodeToByteArray()
        private val FMT = "fmt ".encodeToByteArray()
        private val DATA = "data".encodeToByteArray()

        /**
         * Begins [file], whose name ends in `.wav` and whose folder is made if need be.
         *
         * Until [finish] it is `.NAME.arcmobile-partial` beside it: never a file or link that was
         * there, and locked, so that a second writer of the same file is refused. What a process
         * that died has left under that name is removed.
         *
         * @param sampleRate in Hz.
         * @param overwrite replaces a file that has the name; else that is refused.
         * @param expectedSamples per channel, where they are known: a sound that is too long for a
         *     WAV file is then refused before it is made.
         * @throws ArcMobileException of kind OUTPUT if nothing can be written there.
         */
        public fun create(
            file: File,
            sampleRate: Int,
            channels: Int,
            format: SampleFormat = SampleFormat.PCM16,
            overwrite: Boolean = false,
            expectedSamples: Long = 0,
        ): WavWriter {
            require(sampleRate > 0 && channels in 1..UShort.MAX_VALUE.toInt() / format.bytes)
            if (!file.name.endsWith(EXTENSION, ignoreCase = true)) {
                throw unwritten(file, "is not the name of a WAV file; it must end in $EXTENSION")
            }
            if (expectedSamples > mostSamples(channels, format)) throw unwritten(file, TOO_LONG)
            val partial = PartialFile.create(file, overwrite)
            return WavWriter(partial, sampleRate, channels, format)
                .apply { storing { writeHeader() } }
        }

        private fun mostSamples(channels: Int, format: SampleFormat): Long =
            (MOST_BYTES - HEADER_BYTES) / (channels * format.bytes)
    }
}
