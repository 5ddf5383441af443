package org.arcmobile.demo

import java.io.EOFException
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.util.zip.ZipEntry
import java.util.zip.ZipException
import java.util.zip.ZipInputStream
import org.arcmobile.ArcMobileException
import org.arcmobile.ArcMobileException.Kind
import org.arcmobile.Bundle

/**
 * Takes a bundle out of a zip from anywhere. The zip may hold the bundle's files or one folder of
 * them. Names that lead elsewhere, and sizes beyond a bundle's, are refused whatever the zip says
 * of itself.
 *
 * @param mostBytes of all files together, unpacked.
 */
internal class BundleZip(private val mostBytes: Long = MOST_BYTES) {
    /**
     * Unpacks [input] to [destination], whole or not at all; [onBytes] gets the bytes unpacked.
     *
     * @throws ArcMobileException for a zip that is none, holds no bundle, or is not to be trusted.
     */
    fun place(input: InputStream, destination: File, onBytes: (Long) -> Unit): Unit =
        placeBundle(destination) { folder ->
            try {
                ZipInputStream(input).let { unpack(it, folder, onBytes) }
            } catch (error: ZipException) {
                throw refusal("is damaged or no zip (${error.message})", error)
            } catch (error: EOFException) {
                throw refusal("is cut short", error)
            }
            Bundle.open(folder).verify()
        }

    private fun unpack(zip: ZipInputStream, folder: File, onBytes: (Long) -> Unit) {
        var parent: String? = null
        var files = 0
        var bytes = 0L
        while (true) {
            val entry = zip.nextEntry ?: break
            if (entry.isDirectory || isOfFinder(entry)) continue
            val name = plainName(entry)
            val from = entry.name.dropLast(name.length)
            if (from != (parent ?: from)) throw refusal("holds more than one folder")
            parent = from
            if (++files > MOST_FILES) throw refusal("holds more than $MOST_FILES files")
            val file = folder.resolve(name)
            if (!file.createNewFile()) throw refusal("holds '$name' twice")
            file.outputStream().use { output ->
                zip.pour(output) { count ->
                    bytes += count
                    if (bytes > mostBytes) throw refusal("unpacks to more than $mostBytes bytes")
                    onBytes(bytes)
                }
            }
        }
        if (files == 0) throw refusal("holds no files, or is no zip")
    }

    /** The file's name without its one folder; refuses whatever could lead out of it. */
    private fun plainName(entry: ZipEntry): String {
        val parts = entry.name.split('/')
        if (parts.size > 2 || !parts.all(PLAIN_NAME::matches)) {
            throw refusal("holds '${entry.name.take(MOST_SHOWN)}', which no bundle has")
        }
        return parts.last()
    }

    /** What the Finder of macOS adds to a zip. */
    private fun isOfFinder(entry: ZipEntry): Boolean =
        entry.name.startsWith("__MACOSX/") || entry.name.endsWith(".DS_Store")

    private fun refusal(what: String, cause: IOException? = null) = ArcMobileException(
        Kind.BUNDLE,
        "the zip $what; zip the folder of an exported bundle and choose that",
        cause,
    )

    private companion object {
        const val MOST_BYTES = 8L shl 30
        const val MOST_FILES = 64
        const val MOST_SHOWN = 80
        val PLAIN_NAME = Regex("[A-Za-z0-9][A-Za-z0-9._-]*")
    }
}
