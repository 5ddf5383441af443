package org.arcmobile.demo

import android.content.res.AssetManager
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.io.OutputStream
import java.nio.file.Files
import org.arcmobile.ArcMobileException
import org.arcmobile.ArcMobileException.Kind
import org.arcmobile.Bundle

/** How far a copy has come, in bytes. What it throws ends the copy. */
internal typealias OnBytes = (done: Long, total: Long) -> Unit

/**
 * Fills a folder whole or not at all: [fill] writes into a folder of a temporary name, which takes
 * its place at [destination] when the bundle in it is complete and every sha256 is right. Bundles
 * that were begun and left by a dead process are removed by [removeUnfinished].
 */
internal inline fun placeBundle(destination: File, fill: (File) -> Unit) {
    val shelf = destination.absoluteFile.parentFile!!
    val unfinished = shelf.resolve("$UNFINISHED${destination.name}.unfinished")
    try {
        deleteTree(unfinished)
        if (!unfinished.mkdirs()) throw IOException("$unfinished cannot be made")
        fill(unfinished)
        deleteTree(destination)
        if (!unfinished.renameTo(destination)) throw IOException("$destination cannot be made")
    } catch (error: IOException) {
        throw ArcMobileException(
            Kind.OUTPUT,
            "${destination.name}: cannot be copied (${error.message}); free some space and " +
                "try again",
            error,
        )
    } finally {
        deleteTree(unfinished)
    }
}

/** Deletes [folder] and what is in it, but nothing that a link leads to; whether it is gone. */
internal fun deleteTree(folder: File): Boolean {
    if (!Files.isSymbolicLink(folder.toPath())) {
        folder.listFiles().orEmpty().forEach { deleteTree(it) }
    }
    return folder.delete() || !folder.exists()
}

/** Removes what a process that died has left in [shelf]. */
internal fun removeUnfinished(shelf: File) {
    shelf.listFiles { file -> file.name.startsWith(UNFINISHED) }
        .orEmpty()
        .forEach { deleteTree(it) }
}

/**
 * Bundles in the app's assets, below `bundles/`. Programs are files: each is copied once.
 *
 * @param verifiedCache where it is remembered that the files are right, see [Bundle.open].
 */
internal class PackedBundles(private val assets: AssetManager, private val verifiedCache: File) {
    val names: List<String>
        get() = assets.list(ROOT).orEmpty()
            .filter { MANIFEST in assets.list("$ROOT/$it").orEmpty() }
            .sorted()

    /** Whether [folder] holds the bundle [name] of this version of the app. */
    fun isPlaced(name: String, folder: File): Boolean = try {
        val packed = assets.open("$ROOT/$name/$MANIFEST").use { it.readBytes() }
        folder.resolve(MANIFEST).let { it.isFile && it.readBytes().contentEquals(packed) } &&
            isBundle(folder)
    } catch (_: IOException) {
        false
    }

    /** Bytes of the bundle [name]. */
    fun bytes(name: String): Long = files(name).sumOf { path ->
        assets.open(path).use { it.available().toLong() }
    }

    /** Copies the bundle [name] to [destination], in place of an older one. */
    fun place(name: String, destination: File, onBytes: OnBytes): Unit =
        placeBundle(destination) { folder ->
            val total = bytes(name)
            var done = 0L
            for (path in files(name)) {
                assets.open(path).use { input ->
                    folder.resolve(path.substringAfterLast('/')).outputStream().use { output ->
                        input.pour(output) { count ->
                            done += count
                            onBytes(done, total)
                        }
                    }
                }
            }
            Bundle.open(folder, verifiedCache) { _, _ -> onBytes(done, total) }
        }

    private fun files(name: String): List<String> =
        assets.list("$ROOT/$name").orEmpty().map { "$ROOT/$name/$it" }

    private companion object {
        const val ROOT = "bundles"
        const val MANIFEST = "manifest.json"

        fun isBundle(folder: File): Boolean = try {
            Bundle.openUnverified(folder)
            true
        } catch (_: ArcMobileException) {
            false
        }
    }
}

/** Copies all of the input and reports the size of each piece. */
internal inline fun InputStream.pour(output: OutputStream, onPiece: (bytes: Int) -> Unit) {
    val piece = ByteArray(1 shl 16)
    while (true) {
        val count = read(piece)
        if (count < 0) return
        output.write(piece, 0, count)
        onPiece(count)
    }
}
