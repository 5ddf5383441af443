package org.arcmobile.demo

import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** The sounds that were made, as WAV files of 16-bit samples in [folder]; the newest are kept. */
internal class SoundStore(val folder: File) {
    /** Makes the folder and removes the unfinished files of a process that died. */
    fun prepare() {
        folder.mkdirs()
        folder.listFiles { file -> file.name.startsWith(UNFINISHED) }
            .orEmpty()
            .forEach { it.delete() }
    }

    /** A file that is not there yet, named after what it will hold. */
    fun newFile(prompt: String, seed: ULong): File {
        val words = prompt.lowercase().map { if (it.isLetterOrDigit()) it else '-' }
            .joinToString("")
            .split('-')
            .filter { it.isNotEmpty() }
        val plain = words.joinToString("-").take(LONGEST_NAME).trimEnd('-').ifEmpty { "sound" }
        return generateSequence(1) { it + 1 }
            .map { if (it == 1) "$plain-$seed" else "$plain-$seed-$it" }
            .map { folder.resolve("$it.${SoundProvider.EXTENSION}") }
            .first { !it.exists() }
    }

    /** The file called [name], or null if it is gone. */
    fun find(name: String): File? = folder.resolve(File(name).name).takeIf { it.isFile }

    /** Deletes all but the newest sounds; another app may still be reading one that was shared. */
    fun prune() {
        folder.listFiles { file -> file.extension == SoundProvider.EXTENSION }
            .orEmpty()
            .sortedByDescending { it.lastModified() }
            .drop(MOST_KEPT)
            .forEach { it.delete() }
    }

    /** Reads a file of this folder; [IOException] if it is not one of ours. */
    fun read(file: File): Sound {
        if (file.length() > MOST_BYTES) throw IOException("${file.name}: too long")
        val bytes = ByteBuffer.wrap(file.readBytes()).order(ByteOrder.LITTLE_ENDIAN)
        val known = bytes.limit() > HEADER_BYTES && bytes.getInt(0) == RIFF &&
            bytes.getShort(FORMAT_AT) == PCM && bytes.getShort(BITS_AT) == PCM_BITS
        val channels = if (known) bytes.getShort(CHANNELS_AT).toInt() else 0
        val rate = if (known) bytes.getInt(RATE_AT) else 0
        if (channels <= 0 || rate <= 0) throw IOException("${file.name}: not a sound of this app")
        bytes.position(HEADER_BYTES)
        val values = bytes.slice().order(ByteOrder.LITTLE_ENDIAN).asShortBuffer()
        val frames = values.remaining() / channels
        return Sound(rate, channels, frames).apply {
            append(FloatArray(frames * channels) { values.get(it) / FULL_SCALE })
            end()
        }
    }

    private companion object {
        const val LONGEST_NAME = 48
        const val MOST_KEPT = 10
        const val MOST_BYTES = 256L shl 20

        const val FULL_SCALE = 32768f
        const val RIFF = 0x46464952 // "RIFF"
        const val FORMAT_AT = 20
        const val CHANNELS_AT = 22
        const val RATE_AT = 24
        const val BITS_AT = 34
        const val HEADER_BYTES = 44
        const val PCM: Short = 1
        const val PCM_BITS: Short = 16
    }
}
