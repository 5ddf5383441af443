package org.arcmobile

import java.io.File
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.file.Files
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardCopyOption.REPLACE_EXISTING
import java.security.SecureRandom
import kotlin.math.abs

/** How a WAV file holds its samples. */
public enum class SampleFormat(internal val bytes: Int, internal val formatTag: Short) {
    /** 16-bit integers, little-endian: what is beyond full scale is cut. */
    PCM16(bytes = 2, formatTag = 1),

    /** 32-bit floats, little-endian, as the model made them. */
    FLOAT32(bytes = 4, formatTag = 3),
}

/**
 * Writes a WAV file as chunks arrive. The file appears under its name only with [finish]; until
 * then it grows under a hidden name in the same folder, which [close] removes. Not thread-safe.
 *
 * Samples are written as they are, neither normalised nor dithered. In [SampleFormat.PCM16] they
 * are clipped to full scale and cut down to multiples of 2^-15, which gives the very integers that
 * `runtime/audio.py` writes.
 */
public class WavWriter internal constructor(
    private val file: File,
    private val partial: File,
    private val output: RandomAccessFile, // a channel would break when a coroutine is interrupted
    private val sampleRate: Int,
    private val channels: Int,
    private val format: SampleFormat,
) : AutoCloseable {
    private val buffer = ByteBuffer.allocate(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN)
    private val frameBytes = channels * format.bytes
    private var open = true

    /** Samples written per channel. */
    public var samples: Long = 0
        private set

    /** Samples of any channel that were beyond full scale and had to be cut; PCM16 only. */
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
        if (written > (MOST_BYTES - HEADER_BYTES) / frameBytes) {
            fail("a WAV file ends at 4 GB; make a shorter sound")
        }
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
     * Completes the file and gives it its name, in place of a file that has it.
     *
     * @throws ArcMobileException of kind OUTPUT if that fails; the file is given up.
     */
    public fun finish() {
        storing {
            writeHeader()
            output.fd.sync()
            output.close()
            Files.move(partial.toPath(), file.toPath(), ATOMIC_MOVE, REPLACE_EXISTING)
            open = false
        }
    }

    /** Gives the file up unless it is finished: nothing is left of it. */
    override fun close() {
        open = false
        try {
            output.close()
        } catch (_: IOException) {
            // What could not be written is deleted anyway.
        }
        partial.delete()
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
        // As libsndfile: to 32 bits, and of those the upper half.
        val wide = Math.rint(sample * FULL_SCALE).coerceIn(LEAST_INT, MOST_INT)
        buffer.putShort((wide.toInt() shr Short.SIZE_BITS).toShort())
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
        throw ArcMobileException(
            ArcMobileException.Kind.OUTPUT,
            "$file: $problem",
            cause,
        )
    }

    public companion object {
        private const val FULL_SCALE = 2147483648.0
        private const val LEAST_INT = Int.MIN_VALUE.toDouble()
        private const val MOST_INT = Int.MAX_VALUE.toDouble()
        private const val BUFFER_BYTES = 1 shl 16
        private const val RIFF_BYTES = 8
        private const val FMT_BYTES = 16
        private const val HEADER_BYTES = 44
        private const val MOST_BYTES = 0xFFFFFFFFL

        private val RIFF = "RIFF".encodeToByteArray()
        private val WAVE = "WAVE".encodeToByteArray()
        private val FMT = "fmt ".encodeToByteArray()
        private val DATA = "data".encodeToByteArray()
        private val random = SecureRandom()

        /**
         * Begins [file], whose folder is made if need be.
         *
         * @param sampleRate in Hz.
         * @throws ArcMobileException of kind OUTPUT if nothing can be written there.
         */
        public fun create(
            file: File,
            sampleRate: Int,
            channels: Int,
            format: SampleFormat = SampleFormat.PCM16,
        ): WavWriter {
            require(sampleRate > 0 && channels in 1..UShort.MAX_VALUE.toInt() / format.bytes)
            val target = file.absoluteFile
            if (target.isDirectory) throw notWritable(file, "is a folder")
            val suffix = random.nextInt().toUInt().toString(radix = 16)
            val partial = target.resolveSibling(".${target.name}.partial-$suffix")
            return try {
                target.parentFile?.let { Files.createDirectories(it.toPath()) }
                val output = RandomAccessFile(partial, "rw")
                WavWriter(target, partial, output, sampleRate, channels, format)
                    .apply { storing { writeHeader() } }
            } catch (error: IOException) {
                throw notWritable(file, "cannot be written", error)
            }
        }

        private fun notWritable(file: File, problem: String, cause: IOException? = null) =
            ArcMobileException(
                ArcMobileException.Kind.OUTPUT,
                "$file: $problem; choose another place",
                cause,
            )
    }
}
