package org.arcmobile

import java.io.File
import java.io.IOException
import java.io.InputStream
import java.security.MessageDigest
import org.arcmobile.ArcMobileException.Kind

/**
 * A bundle on disk whose manifest is valid and whose files are all there: a flat folder with
 * `manifest.json`, one program file per component, and the tokenizer. [open] is the only way in.
 */
public class Bundle private constructor(
    public val folder: File,
    public val manifest: Manifest,
) {
    /** Bytes of all files the manifest names, each counted once. */
    public val bytes: Long get() = records.sumOf { it.bytes }

    private val records: List<FileRecord> get() = manifest.files.distinctBy { it.file }

    /** The program file of [component]; [ArcMobileException] if it is not there any more. */
    public fun file(component: String): File {
        val record = manifest.components[component]
            ?: throw fault(folder, "no component '$component'; export the bundle again")
        return file(record)
    }

    /** The text of `tokenizer.json`. */
    internal fun tokenizerJson(): String =
        readText(file(manifest.tokenizer.files.first { it.file == TOKENIZER_NAME }), MOST_TOKENIZER)

    /**
     * Reads every file, in pieces, and compares its sha256 with the manifest. [open] compares
     * sizes only, as the Python runtime does: verify a bundle once, after it was copied.
     *
     * Blocks for as long as reading takes. [onProgress] gets the bytes read and the bytes in all;
     * what it throws stops the reading and passes to the caller.
     *
     * @throws ArcMobileException of kind BUNDLE, naming the first file that differs.
     */
    public fun verify(onProgress: (done: Long, total: Long) -> Unit = { _, _ -> }) {
        val total = bytes
        var done = 0L
        onProgress(done, total)
        for (record in records) {
            val file = file(record)
            val digest = sha256(file) { count ->
                done += count
                onProgress(done, total)
            }
            if (digest != record.sha256) {
                throw fault(
                    file,
                    "sha256 differs from the manifest; copy the file again or $EXPORT_AGAIN",
                )
            }
        }
    }

    private fun file(record: FileRecord): File {
        val file = folder.resolve(record.file)
        // A plain name can still be a symbolic link to somewhere else.
        val leaves = reading(file) { !file.canonicalFile.startsWith(folder.canonicalFile) }
        if (leaves) throw fault(file, "is a link that leaves the bundle's folder; $EXPORT_AGAIN")
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
        private const val MOST_MANIFEST = 4 shl 20
        private const val MOST_TOKENIZER = 64 shl 20

        /**
         * Opens the bundle in [folder] and checks its manifest, and the presence and size of every
         * file. Reads a few kilobytes, so it may be called on any thread that may read a file.
         *
         * @throws ArcMobileException of kind BUNDLE, naming the file, the field and the mend.
         */
        public fun open(folder: File): Bundle {
            val root = if (folder.name == MANIFEST_NAME && folder.isFile) {
                folder.absoluteFile.parentFile
            } else {
                folder
            }
            if (!root.isDirectory) {
                throw fault(root, "no such folder; give the folder of an exported bundle")
            }
            val path = root.resolve(MANIFEST_NAME)
            if (!path.isFile) {
                throw fault(root, "no $MANIFEST_NAME in it; give the folder of an exported bundle")
            }
            val manifest = try {
                readManifest(readText(path, MOST_MANIFEST))
            } catch (error: InvalidManifest) {
                throw fault(path, "${error.message}; ${error.mend ?: EXPORT_AGAIN}", error)
            }
            return Bundle(root, manifest).apply { records.forEach(::file) }
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

/** UTF-8 text of at most [most] bytes. */
private fun readText(file: File, most: Int): String = reading(file) {
    if (file.length() > most) {
        throw fault(file, "${file.length()} bytes, more than $most; $EXPORT_AGAIN")
    }
    // CharacterCodingException, of bytes that are no UTF-8, is an IOException.
    file.readBytes().decodeToString(throwOnInvalidSequence = true)
}

private inline fun sha256(file: File, onRead: (bytes: Int) -> Unit): String {
    val digest = MessageDigest.getInstance("SHA-256")
    reading(file) { file.inputStream() }.use { input ->
        val piece = ByteArray(PIECE)
        while (true) {
            val count = reading(file) { input.readPiece(piece) }
            if (count < 0) break
            digest.update(piece, 0, count)
            onRead(count)
        }
    }
    return digest.digest().joinToString("") { "%02x".format(it) }
}

private fun InputStream.readPiece(piece: ByteArray): Int = read(piece, 0, piece.size)
