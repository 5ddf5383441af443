package org.arcmobile

import java.io.File
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.channels.OverlappingFileLockException
import java.nio.file.FileAlreadyExistsException
import java.nio.file.Files
import java.nio.file.InvalidPathException
import java.nio.file.LinkOption.NOFOLLOW_LINKS
import java.nio.file.Path
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardCopyOption.REPLACE_EXISTING
import java.util.concurrent.ConcurrentHashMap

/**
 * A file that appears as [target] whole or not at all: it grows as `.NAME.arcmobile-partial` beside
 * it, the scheme of `runtime/whole_output.py`, and takes its name with [finish].
 *
 * The name is known beforehand, so what lies there is never written into, nor followed if it is a
 * link: it is a dead writer's and removed, unless its lock is held. Java's locks are those of
 * fcntl(2): writers of this library see each other, and not those of Python and C++, which use
 * flock(2).
 *
 * @property output a file, not a channel, which would close when a coroutine is interrupted.
 */
internal class PartialFile private constructor(
    val target: File,
    val output: RandomAccessFile,
    private val path: Path,
    private val overwrite: Boolean,
) : AutoCloseable {
    private var open = true

    /**
     * Gives the file its name; replaces another only if asked to overwrite.
     *
     * @throws IOException if that fails; [close] then removes it.
     */
    fun finish() {
        if (overwrite) {
            Files.move(path, target.toPath(), ATOMIC_MOVE, REPLACE_EXISTING)
        } else {
            moveBeside()
        }
        open = false
        release()
    }

    /** Removes the file unless it is finished. */
    override fun close() {
        if (!open) return
        open = false
        path.toFile().delete()
        release()
    }

    /** A second name, then the first is dropped: unlike a move this replaces nothing. */
    private fun moveBeside() {
        try {
            Files.createLink(target.toPath(), path)
        } catch (error: FileAlreadyExistsException) {
            throw unwritten(target, TAKEN, error)
        } catch (_: IOException) { // Android lets no app make links, some file systems have none
            return moveUnlessTaken()
        } catch (_: UnsupportedOperationException) {
            return moveUnlessTaken()
        }
        Files.delete(path)
    }

    private fun moveUnlessTaken() {
        if (Files.exists(target.toPath(), NOFOLLOW_LINKS)) throw unwritten(target, TAKEN)
        Files.move(path, target.toPath(), ATOMIC_MOVE)
    }

    private fun release() {
        try {
            output.close() // and with it the lock
        } catch (_: IOException) {
            // What counts was synchronized before, or is deleted.
        } finally {
            held.remove(path)
        }
    }

    companion object {
        private const val ATTEMPTS = 3
        private const val TAKEN = "is already there; choose another name or ask to overwrite it"
        private const val BUSY = "another writer is writing it; wait or choose another name"

        /** Partial files of this process: closing a second handle would release the first's lock. */
        private val held: MutableSet<Path> = ConcurrentHashMap.newKeySet()

        /**
         * Begins [file], whose folder is made if need be.
         *
         * @throws ArcMobileException of kind OUTPUT if nothing can be written there.
         */
        fun create(file: File, overwrite: Boolean): PartialFile {
            val target = file.absoluteFile
            if (target.isDirectory) throw unwritten(file, "is a folder; choose another place")
            if (target.exists() && !target.isFile) {
                throw unwritten(file, "is a device or a pipe; choose another place")
            }
            if (target.exists() && !overwrite) throw unwritten(file, TAKEN)
            return try {
                val folder = target.parentFile.toPath()
                Files.createDirectories(folder)
                val path = folder.toRealPath().resolve(".${target.name}.arcmobile-partial")
                if (!held.add(path)) throw unwritten(file, BUSY)
                begin(target, path, overwrite)
            } catch (error: IOException) {
                throw unwritten(file, "cannot be written; choose another place", error)
            } catch (error: InvalidPathException) {
                throw unwritten(file, "is not a name of a file; choose another", error)
            }
        }

        private fun begin(target: File, path: Path, overwrite: Boolean): PartialFile {
            try {
                repeat(ATTEMPTS) {
                    removeDead(target, path)
                    val output = openNew(path)
                    if (output != null) return PartialFile(target, output, path, overwrite)
                }
                throw unwritten(target, BUSY)
            } catch (error: Exception) {
                held.remove(path)
                throw error
            }
        }

        /** Removes what is at [path] unless a writer holds it. */
        private fun removeDead(target: File, path: Path) {
            if (!Files.exists(path, NOFOLLOW_LINKS)) return
            if (Files.isRegularFile(path, NOFOLLOW_LINKS)) {
                RandomAccessFile(path.toFile(), "rw").use {
                    if (!lock(it)) throw unwritten(target, BUSY)
                }
            }
            Files.deleteIfExists(path)
        }

        /** The new file at [path], locked; null if another writer was faster. */
        private fun openNew(path: Path): RandomAccessFile? {
            try {
                Files.createFile(path) // never one that is there, never through a link
            } catch (_: FileAlreadyExistsException) {
                return null
            }
            val made = FileStamp.of(path.toFile())?.place
            val output = RandomAccessFile(path.toFile(), "rw")
            val ours = lock(output) && !Files.isSymbolicLink(path) &&
                FileStamp.of(path.toFile())?.place == made
            if (!ours) output.close()
            return output.takeIf { ours }
        }

        /** False if another process holds the lock; file systems without locks have none to hold. */
        private fun lock(file: RandomAccessFile): Boolean = try {
            file.channel.tryLock() != null
        } catch (_: OverlappingFileLockException) {
            false
        } catch (_: IOException) {
            true
        }
    }
}

/** An error for a file that could not be written. */
internal fun unwritten(file: File, problem: String, cause: Exception? = null) =
    ArcMobileException(ArcMobileException.Kind.OUTPUT, "$file: $problem", cause)
