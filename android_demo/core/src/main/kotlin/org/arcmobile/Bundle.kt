package org.arcmobile

import java.io.File
import java.io.IOException
import java.security.MessageDigest
import java.util.concurrent.ConcurrentHashMap
import org.arcmobile.ArcMobileException.Kind

/**
 * A bundle on disk whose manifest is valid and whose files are all there: a flat folder with
 * `manifest.json`, one program file per component, and the tokenizer. [open] also compares every
 * file's sha256 with the manifest; an [AudioGenerator] is made of no other bundle.
 */
public class Bundle private constructor(
    public val folder: File,
    public val manifest: Manifest,
) {
    /** Files as they were when their sha256 was right. */
    private val right = ConcurrentHashMap<String, FileStamp>()

    /** Bytes of all files the manifest names, each counted once. */
    public val bytes: Long get() = records.sumOf { it.bytes }

    private val records: List<FileRecord> get() = manifest.files.distinctBy { it.file }

    /**
     * The program file of [component].
     *
     * @throws ArcMobileException of kind BUNDLE if it is not there any more, or was altered since
     *     the bundle was opened.
     */
    public fun file(component: String): File {
        val record = manifest.components[component]
            ?: throw fault(folder, "no component '$component'; export the bundle again")
        return file(record)
    }

    /** The text of `tokenizer.json`. */
    internal fun tokenizerJson(): String = readText(
        file(manifest.tokenizer.files.first { it.file == TOKENIZER_FILE }),
        Bounds.TOKENIZER_BYTES,
    )

    /**
     * Reads every file, in pieces, and compares its sha256 with the manifest, also where [open] has
     * done so before.
     *
     * Blocks for as long as reading takes. [onProgress] gets the bytes read and the bytes in all;
     * what it throws stops the reading and passes to the caller.
     *
     * @throws ArcMobileException of kind BUNDLE, naming the first file that differs.
     */
    public fun verify(onProgress: (done: Long, total: Long) -> Unit = { _, _ -> }): Unit =
        verify(VerifiedFiles(null), always = true, onProgress)

    /** Whether every file is known to have the right sha256, without reading any; see [open]. */
    public fun isVerified(verifiedCache: File? = null): Boolean {
        val known = VerifiedFiles(verifiedCache)
        return records.all { record ->
            FileStamp.of(file(record))?.let { known.holds(it, record.sha256) } == true
        }
    }

    /** Compares the sha256 of every file that is not [known] to have the right one. */
    internal fun verify(
        known: VerifiedFiles,
        always: Boolean = false,
        onProgress: (done: Long, total: Long) -> Unit = { _, _ -> },
    ) {
        val total = bytes
        var done = 0L
        onProgress(done, total)
        for (record in records) {
            val begin = done
            val file = present(record)
            val stamp = FileStamp.of(file)
            if (always || stamp == null || !known.holds(stamp, record.sha256)) {
                compare(record, file) { count ->
                    done += count
                    onProgress(done, total)
                }
                // A file that is written to meanwhile must not count as right.
                if (stamp != null && stamp == FileStamp.of(file)) {
                    known.remember(stamp, record.sha256)
                }
            }
            if (stamp != null) right[record.file] = stamp
            done = begin + record.bytes
            onProgress(done, total)
        }
    }

    private fun compare(record: FileRecord, file: File, onRead: (bytes: Int) -> Unit) {
        if (sha256(file, onRead) == record.sha256) return
        throw fault(
            file,
            "sha256 differs from the manifest; copy the file again or $EXPORT_AGAIN",
        )
    }

    /** The file of [record]; one that was written to since it was verified is verified again. */
    private fun file(record: FileRecord): File {
        val file = present(record)
        val stamp = right[record.file]
        if (stamp != null && stamp != FileStamp.of(file)) {
            val now = FileStamp.of(file)
            compare(record, file) {}
            if (now != null) right[record.file] = now
        }
        return file
    }

    private fun present(record: FileRecord): File {
        val file = folder.resolve(record.file)
        requireInside(folder, file)
        if (!file.isFile) {
            throw fault(file, "missing; copy the whole bundle folder or $EXPORT_AGAIN")
        }
        if (file.length() != record.bytes) {
            throw fault(
                file,
                "${file.length()} bytes, the manifest says ${record.bytes}; " +
                    "copy the file again or $EXPORT_AGAIN",
            )
        }
        return file
    }

    public companion object {
        /**
         * Opens the bundle in [folder]: checks its manifest, and the presence, size and sha256 of
         * every file. Reads all files the first time, and none that is as it was when it was last
         * found right: not for the main thread.
         *
         * @param verifiedCache folder where that is remembered, e.g. an app's cache folder; null:
         *     only in memory, as long as the process lives.
         * @param onProgress gets the bytes verified and the bytes in all; what it throws stops the
         *     reading and passes to the caller.
         * @throws ArcMobileException of kind BUNDLE, naming the file, the field and the way out.
         */
        public fun open(
            folder: File,
            verifiedCache: File? = null,
            onProgress: (done: Long, total: Long) -> Unit = { _, _ -> },
        ): Bundle = openUnverified(folder)
            .apply { verify(VerifiedFiles(verifiedCache), onProgress = onProgress) }

        /**
         * As [open], but no file's sha256 is compared: for a list of what is there. Reads a few
         * kilobytes. An [AudioGenerator] that is made of it verifies it first.
         *
         * @throws ArcMobileException as [open].
         */
        public fun openUnverified(folder: File): Bundle {
            val root = if (folder.name == MANIFEST_FILE && folder.isFile) {
                folder.absoluteFile.parentFile
            } else {
                folder
            }
            if (!root.isDirectory) {
                throw fault(root, "no such folder; give the folder of an exported bundle")
            }
            val path = root.resolve(MANIFEST_FILE)
            if (!path.isFile) {
                throw fault(root, "no $MANIFEST_FILE in it; give the folder of an exported bundle")
            }
            requireInside(root, path)
            val manifest = try {
                readManifest(readText(path, Bounds.MANIFEST_BYTES))
            } catch (error: InvalidManifest) {
                throw fault(path, "${error.message}; ${error.wayOut ?: EXPORT_AGAIN}", error)
            }
            return Bundle(root, manifest).apply { records.forEach(::present) }
        }
    }
}

private const val EXPORT_AGAIN = "export the bundle again"
private const val PIECE = 1 shl 16

private fun fault(file: File, problem: String, cause: Throwable? = null) =
    ArcMobileException(Kind.BUNDLE, "$file: $problem", cause)

private inline fun <T> reading(file: File, read: () -> T): T = try {
    read()
} catch (error: IOException) {
    throw fault(file, "cannot be read (${error.message}); copy the bundle again", error)
}

/** A plain name can still be a symbolic link to somewhere else. */
private fun requireInside(folder: File, file: File) {
    val leaves = reading(file) { !file.canonicalFile.startsWith(folder.canonicalFile) }
    if (leaves) throw fault(file, "is a link that leaves the bundle's folder; $EXPORT_AGAIN")
}

/** UTF-8 text of at most [most] bytes. */
private fun readText(file: File, most: Int): String = reading(file) {
    if (file.length() > most) {
        throw fault(file, "${file.length()} bytes, more than $most; $EXPORT_AGAIN")
    }
    // CharacterCodingException, of bytes that are not UTF-8, is an IOException.
    file.readBytes().decodeToString(throwOnInvalidSequence = true)
}

private inline fun sha256(file: File, onRead: (bytes: Int) -> Unit): String {
    val digest = MessageDigest.getInstance("SHA-256")
    reading(file) { file.inputStream() }.use { input ->
        val piece = ByteArray(PIECE)
        while (true) {
            val count = reading(file) { input.read(piece, 0, piece.size) }
            if (count < 0) break
            digest.update(piece, 0, count)
            onRead(count)
        }
    }
    return digest.digest().joinToString("") { "%02x".format(it) }
}
