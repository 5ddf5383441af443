package org.arcmobile.demo

import android.content.ContentProvider
import android.content.ContentValues
import android.content.Context
import android.database.Cursor
import android.database.MatrixCursor
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import java.io.File
import java.io.FileNotFoundException
import java.io.IOException

/**
 * Gives other apps the sounds that the user shares with them, one by one and for reading only:
 * finished files that lie directly in the folder of sounds.
 */
internal class SoundProvider : ContentProvider() {
    override fun onCreate(): Boolean = true

    override fun getType(uri: Uri): String = MIME

    override fun openFile(uri: Uri, mode: String): ParcelFileDescriptor {
        if (mode != "r") throw FileNotFoundException("$uri: for reading only")
        return ParcelFileDescriptor.open(file(uri), ParcelFileDescriptor.MODE_READ_ONLY)
    }

    override fun query(
        uri: Uri,
        projection: Array<String>?,
        selection: String?,
        selectionArgs: Array<String>?,
        sortOrder: String?,
    ): Cursor {
        val known = arrayOf(OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE)
        val columns = (projection ?: known).filter { it in known }.toTypedArray()
        val cursor = MatrixCursor(columns, 1)
        val file = try {
            file(uri)
        } catch (_: FileNotFoundException) {
            return cursor
        }
        val row = cursor.newRow()
        if (OpenableColumns.DISPLAY_NAME in columns) {
            row.add(OpenableColumns.DISPLAY_NAME, file.name)
        }
        if (OpenableColumns.SIZE in columns) row.add(OpenableColumns.SIZE, file.length())
        return cursor
    }

    private fun file(uri: Uri): File {
        val name = uri.pathSegments.singleOrNull()
        val folder = folder(context!!)
        try {
            // The canonical path also resolves links.
            val file = name?.let { folder.resolve(it).canonicalFile }
            val serves = file != null && file.isFile && file.parentFile == folder.canonicalFile &&
                file.extension == EXTENSION && !file.name.startsWith(UNFINISHED)
            if (serves) return file!!
        } catch (error: IOException) {
            throw FileNotFoundException("$uri: ${error.message}")
        }
        throw FileNotFoundException("$uri: no such sound")
    }

    override fun insert(uri: Uri, values: ContentValues?): Uri = throw readOnly()

    override fun update(
        uri: Uri,
        values: ContentValues?,
        selection: String?,
        selectionArgs: Array<String>?,
    ): Int = throw readOnly()

    override fun delete(uri: Uri, selection: String?, selectionArgs: Array<String>?): Int =
        throw readOnly()

    private fun readOnly() = UnsupportedOperationException("sounds are for reading only")

    companion object {
        const val MIME: String = "audio/wav"
        const val EXTENSION: String = "wav"
        private const val AUTHORITY = "org.arcmobile.demo.sounds"

        /** Where the sounds lie. */
        fun folder(context: Context): File = context.filesDir.resolve("sounds")

        /** The address at which [file] of that folder is served. */
        fun uri(file: File): Uri =
            Uri.Builder().scheme("content").authority(AUTHORITY).appendPath(file.name).build()
    }
}
