package org.arcmobile

import java.io.File
import java.io.IOException
import java.nio.file.Files
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardCopyOption.REPLACE_EXISTING
import java.nio.file.attribute.FileTime
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.TimeUnit.NANOSECONDS

/**
 * Remembers the sha256 of files that were read, so that opening a bundle again costs no reading.
 * What is remembered counts only while size, times, and place of the file are the same; a renamed
 * folder changes none of them.
 *
 * @param cache folder for what is remembered from one start to the next; null: only in memory.
 */
internal class VerifiedFiles(private val cache: File?) {
    /** Whether the file that [stamp] was taken of is known to have this [sha256]. */
    fun holds(stamp: FileStamp, sha256: String): Boolean {
        val line = line(stamp, sha256)
        if (inMemory[stamp.place] == line) {
            if (cache != null && readCached(stamp) != line) writeCached(stamp, line)
            return true
        }
        return cache != null && readCached(stamp) == line
    }

    /** Notes the [sha256] of the file that [stamp] was taken of, before and after it was read. */
    fun remember(stamp: FileStamp, sha256: String) {
        val line = line(stamp, sha256)
        inMemory[stamp.place] = line
        if (cache != null) writeCached(stamp, line)
    }

    private fun readCached(stamp: FileStamp): String? = try {
        val file = cacheFile(stamp)
        if (file.length() > LONGEST_LINE) null else file.readText().removeSuffix("\n")
    } catch (_: IOException) {
        null
    }

    private fun writeCached(stamp: FileStamp, line: String) {
        try {
            val file = cacheFile(stamp).toPath()
            Files.createDirectories(file.parent)
            val partial = Files.createTempFile(file.parent, stamp.place, ".partial")
            try {
                partial.toFile().writeText("$line\n")
                Files.move(partial, file, ATOMIC_MOVE, REPLACE_EXISTING)
            } finally {
                Files.deleteIfExists(partial)
            }
        } catch (_: IOException) {
            // Then the file is read again next time.
        }
    }

    private fun cacheFile(stamp: FileStamp) = File(cache, "$FOLDER/${stamp.place}")

    private fun line(stamp: FileStamp, sha256: String) = "$FORMAT ${stamp.text} $sha256"

    private companion object {
        const val FORMAT = "arcmobile-verified-1"
        const val FOLDER = "verified"
        const val LONGEST_LINE = 1_024

        val inMemory = ConcurrentHashMap<String, String>()
    }
}

/**
 * Properties of a file that change when it is written to or replaced.
 *
 * @property place of the file, the same under every name that it has.
 */
internal data class FileStamp(
    private val bytes: Long,
    private val modified: Long,
    private val changed: Long,
    private val inode: Long,
    private val device: Long,
) {
    val place: String get() = "$device-$inode"

    /** The fields that are compared, in the order in which Python and C++ write them, too. */
    val text: String get() = "$bytes $modified $changed $inode $device"

    companion object {
        private const val FIELDS = "unix:size,lastModifiedTime,ctime,ino,dev"

        /** Of [file], links followed; null where the system does not report it. */
        fun of(file: File): FileStamp? = try {
            val fields = Files.readAttributes(file.toPath(), FIELDS)
            FileStamp(
                bytes = fields["size"] as Long,
                modified = nanoseconds(fields["lastModifiedTime"]),
                changed = nanoseconds(fields["ctime"]),
                inode = fields["ino"] as Long,
                device = fields["dev"] as Long,
            )
        } catch (_: IOException) {
            null
        } catch (_: UnsupportedOperationException) { // no Unix
            null
        }

        private fun nanoseconds(time: Any?): Long = (time as FileTime).to(NANOSECONDS)
    }
}
