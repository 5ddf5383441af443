package org.arcmobile.demo

import java.io.File
import org.arcmobile.ArcMobileException
import org.arcmobile.Bundle

/**
 * The folders that bundles lie in, and what is known of each bundle. Files are verified once, and
 * again when they have changed. Not for several threads at once.
 *
 * @param own the app's own folder of bundles.
 * @param pushed gives the folder where adb puts bundles; null while it cannot be reached.
 * @property verifiedCache where it is remembered that files are right, see [Bundle.open].
 */
internal class BundleShelves(
    private val own: File,
    private val pushed: () -> File?,
    val verifiedCache: File,
) {
    private class Known(val state: String, val entry: BundleEntry)

    private val known = mutableMapOf<File, Known>()

    /** Folder of copies of the bundles that came with the app. */
    val packed: File get() = own.resolve("packed")

    /** Folder of bundles that were taken out of zips. */
    val imported: File get() = own.resolve("imported")

    /** Makes the folders and removes what a process that died has left in them. */
    fun prepare() {
        for (shelf in listOf(packed, imported)) {
            shelf.mkdirs()
            removeUnfinished(shelf)
        }
    }

    /** All bundles, also those that cannot be used. */
    fun read(): List<BundleEntry> =
        read(packed, Origin.PACKED) + read(imported, Origin.IMPORTED) +
            pushed()?.let { read(it, Origin.PUSHED) }.orEmpty()

    /** Whether the files of [entry] are as they were when they were last verified. */
    fun isVerified(entry: BundleEntry): Boolean = try {
        Bundle.openUnverified(entry.folder).isVerified(verifiedCache)
    } catch (_: ArcMobileException) {
        false
    }

    /**
     * Compares the files of [entry] with its manifest; throws [ArcMobileException] if they differ,
     * and [read] returns it from then on.
     */
    fun verify(entry: BundleEntry, onBytes: OnBytes) {
        try {
            Bundle.open(entry.folder, verifiedCache, onBytes)
        } catch (error: ArcMobileException) {
            val broken = entry.copy(facts = null, problem = error.message)
            known[entry.folder] = Known(state(entry.folder), broken)
            throw error
        }
    }

    /** Says that there is no bundle in [folder] any more. */
    fun forget(folder: File) {
        known -= folder
    }

    /** A folder for an imported bundle, named like [name] as far as a folder can be. */
    fun newFolder(name: String): File {
        val plain = name.map { if (it.isLetterOrDigit() || it in "._-") it else '-' }
            .joinToString("")
            .trimStart('.', '-')
            .take(LONGEST_NAME)
            .ifEmpty { "bundle" }
        return generateSequence(1) { it + 1 }
            .map { imported.resolve(if (it == 1) plain else "$plain-$it") }
            .first { !it.exists() }
    }

    private fun read(shelf: File, origin: Origin): List<BundleEntry> =
        shelf.listFiles { file -> file.isDirectory && !file.name.startsWith(UNFINISHED) }
            .orEmpty()
            .sortedBy { it.name }
            .map { folder ->
                val state = state(folder)
                val before = known[folder]?.takeIf { it.state == state }
                (before ?: Known(state, readEntry(folder, origin)).also { known[folder] = it })
                    .entry
            }

    private companion object {
        const val LONGEST_NAME = 60

        /** Changes when a file is replaced or written to. */
        fun state(folder: File): String = folder.listFiles().orEmpty()
            .sortedBy { it.name }
            .joinToString("|") { "${it.name}:${it.length()}:${it.lastModified()}" }
    }
}
