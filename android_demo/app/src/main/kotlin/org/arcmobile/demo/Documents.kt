package org.arcmobile.demo

import android.content.ContentResolver
import android.net.Uri
import android.provider.DocumentsContract
import android.provider.OpenableColumns
import java.io.File
import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream
import org.arcmobile.ArcMobileException
import org.arcmobile.ArcMobileException.Kind

/** Files that the user chose in other apps. */
internal class Documents(private val resolver: ContentResolver) {
    /** A chosen file; [bytes] null if its app does not report them. */
    class Description(val name: String, val bytes: Long?)

    fun describe(uri: Uri): Description {
        val columns = arrayOf(OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE)
        return resolver.query(uri, columns, null, null, null)?.use { cursor ->
            if (!cursor.moveToFirst()) return@use null
            fun column(name: String) =
                cursor.getColumnIndex(name).takeIf { it >= 0 && !cursor.isNull(it) }
            val name = column(OpenableColumns.DISPLAY_NAME)?.let(cursor::getString)
            val bytes = column(OpenableColumns.SIZE)?.let(cursor::getLong)
            Description(name ?: plainName(uri), bytes)
        } ?: Description(plainName(uri), bytes = null)
    }

    /** Opens [uri] for reading; [ArcMobileException] if its app does not give it. */
    fun open(uri: Uri): InputStream = try {
        resolver.openInputStream(uri) ?: throw FileNotFoundException("$uri")
    } catch (error: FileNotFoundException) {
        throw unreadable(error)
    } catch (error: SecurityException) {
        throw unreadable(error)
    }

    /** Copies [file] to [uri]; if that fails it is deleted there, and [ArcMobileException]. */
    fun save(file: File, uri: Uri) {
        try {
            val output = resolver.openOutputStream(uri, "wt") ?: throw IOException("no answer")
            output.use { file.inputStream().use { input -> input.pour(output) {} } }
        } catch (error: IOException) {
            discard(uri)
            throw notSaved(error)
        } catch (error: SecurityException) {
            throw notSaved(error)
        }
    }

    private fun notSaved(error: Exception) = ArcMobileException(
        Kind.OUTPUT,
        "the sound could not be written there (${error.message}); choose another place",
        error,
    )

    private fun discard(uri: Uri) {
        try {
            DocumentsContract.deleteDocument(resolver, uri)
        } catch (_: FileNotFoundException) {
            // Gone already.
        } catch (_: UnsupportedOperationException) {
            // Its app does not let us.
        } catch (_: IllegalArgumentException) {
            // Not a document.
        }
    }

    private fun plainName(uri: Uri) = uri.lastPathSegment.orEmpty().substringAfterLast('/')

    private fun unreadable(error: Exception) = ArcMobileException(
        Kind.BUNDLE,
        "the chosen file cannot be read (${error.message}); choose it again",
        error,
    )
}
