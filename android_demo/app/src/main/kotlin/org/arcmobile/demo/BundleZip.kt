package org.arcmobile.demo

import java.io.EOFException
import java.io.File
import java.io.FilterInputStream
import java.io.IOException
import java.io.InputStream
import java.io.OutputStream
import java.util.zip.ZipEntry
import java.util.zip.ZipException
import java.util.zip.ZipInputStream
import org.arcmobile.ArcMobileException
import org.arcmobile.ArcMobileException.Kind
import org.arcmobile.Bundle

/**
 * Takes a bundle out of a zip from anywhere. The zip may hold the bundle's files or one folder of
 * them. Names that lead elsewhere, and sizes beyond a bundle's, are refused whatever the zip says
 * of itself; skipped entries count like kept ones, for they are unpacked as well.
 *
 * @param verifiedCache where it is remembered that the files are right, see [Bundle.open].
 * @param mostBytes of all entries together, unpacked.
 * @param bytesBeforeRatio from here on, what is unpacked may be [MOST_RATIO] times what was read.
 */
internal class BundleZip(
    private val verifiedCache: File? = null,
    private val mostBytes: Long = MOST_BYTES,
    private val bytesBeforeRatio: Long = BYTES_BEFORE_RATIO,
) {
    /**
     * Unpacks [input] to [destination], whole or not at all; [onBytes] gets the bytes unpacked, and
     * what it throws ends the work.
     *
     * @throws ArcMobileException for a zip that is none, holds no bundle, or is not to be trusted.
     */
    fun place(input: InputStream, destination: File, onBytes: (Long) -> Unit): Unit =
        placeBundle(destination) { folder ->
            val unpacked = try {
                Unpacking(Counted(input), folder, onBytes).run()
            } catch (error: ZipException) {
                throw refusal("is damaged or not a zip (${error.message})", error)
            } catch (error: EOFException) {
                throw refusal("is cut short", error)
            } catch (error: IllegalArgumentException) { // a name in an unknown encoding
                throw refusal("holds a name that is not text (${error.message})", error)
            }
            Bundle.open(folder, verifiedCache) { _, _ -> onBytes(unpacked) }
        }

    /** One pass over a zip into [folder]. */
    private inner class Unpacking(
        private val input: Counted,
        private val folder: File,
        private val onBytes: (Long) -> Unit,
    ) {
        private val zip = ZipInputStream(input)
        private var parent: String? = null
        private var entries = 0
        private var files = 0
        private var bytes = 0L

        /** Bytes unpacked. */
        fun run(): Long {
            while (true) {
                val entry = zip.nextEntry ?: break
                if (++entries > MOST_ENTRIES) throw refusal("holds more than $MOST_ENTRIES entries")
                // Made on Windows, some have its separators.
                val path = entry.name.replace('\\', '/')
                if (path.endsWith('/') || isOfFinder(path)) pour(Nowhere) else keep(path)
            }
            if (files == 0) throw refusal("holds no files, or is not a zip")
            return bytes
        }

        private fun keep(path: String) {
            val name = plainName(path)
            val from = path.dropLast(name.length)
            if (from != (parent ?: from)) throw refusal("holds more than one folder")
            parent = from
            if (++files > MOST_FILES) throw refusal("holds more than $MOST_FILES files")
            val file = folder.resolve(name)
            if (!file.createNewFile()) throw refusal("holds '$name' twice")
            file.outputStream().use(::pour)
        }

        private fun pour(output: OutputStream) = zip.pour(output) { count ->
            bytes += count
            if (bytes > mostBytes) throw refusal("unpacks to more than $mostBytes bytes")
            if (bytes > bytesBeforeRatio && bytes / MOST_RATIO > input.bytes) {
                throw refusal("unpacks to more than $MOST_RATIO times its size")
            }
            onBytes(bytes)
        }
    }

    /** The file's name without its one folder; refuses whatever could lead out of it. */
    private fun plainName(path: String): String {
        val parts = path.split('/')
        if (parts.size > 2 || !parts.all(PLAIN_NAME::matches)) {
            throw refusal("holds '${path.take(MOST_SHOWN)}', which no bundle has")
        }
        return parts.last()
    }

    /** What the Finder of macOS adds to a zip. */
    private fun isOfFinder(path: String): Boolean =
        path.startsWith("__MACOSX/") || path.endsWith(".DS_Store")

    private fun refusal(what: String, cause: Exception? = null) = ArcMobileException(
        Kind.BUNDLE,
        "the zip $what; zip the folder of an exported bundle and choose that",
        cause,
    )

    private companion object {
        const val MOST_BYTES = 8L shl 30
        const val MOST_ENTRIES = 1_024
        const val MOST_FILES = 64
        const val MOST_SHOWN = 80

        /** Weights hardly shrink; deflate can do 1000. */
        const val MOST_RATIO = 100L
        const val BYTES_BEFORE_RATIO = 64L shl 20
        val PLAIN_NAME = Regex("[A-Za-z0-9][A-Za-z0-9._-]*")
    }
}

/** Counts the [bytes] that were read of [input]. */
private class Counted(input: InputStream) : FilterInputStream(input) {
    var bytes = 0L
        private set

    override fun read(): Int = super.read().also { if (it >= 0) bytes++ }

    override fun read(buffer: ByteArray, offset: Int, length: Int): Int =
        super.read(buffer, offset, length).also { if (it > 0) bytes += it }

    override fun skip(count: Long): Long = super.skip(count).also { bytes += it }
}

/** Discards skipped entries. */
private object Nowhere : OutputStream() {
    override fun write(byte: Int) = Unit

    override fun write(bytes: ByteArray, offset: Int, length: Int) = Unit
}
