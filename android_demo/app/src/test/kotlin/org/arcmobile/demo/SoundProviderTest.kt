package org.arcmobile.demo

import android.net.Uri
import android.provider.OpenableColumns
import java.io.File
import java.io.FileNotFoundException
import java.nio.file.Files
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue

class SoundProviderTest : AppTest() {
    private val folder by lazy { SoundProvider.folder(app).apply { mkdirs() } }

    private fun address(path: String) = Uri.parse("content://org.arcmobile.demo.sounds/$path")

    @Test
    fun `a sound is served with its name and size`() {
        val file = folder.resolve("rain-7.wav").apply { writeText("sound") }
        val uri = SoundProvider.uri(file)

        app.contentResolver.query(uri, null, null, null, null)!!.use {
            assertTrue(it.moveToFirst())
            assertEquals(
                "rain-7.wav",
                it.getString(it.getColumnIndexOrThrow(OpenableColumns.DISPLAY_NAME)),
            )
            assertEquals(5, it.getLong(it.getColumnIndexOrThrow(OpenableColumns.SIZE)))
        }
        assertEquals("audio/wav", app.contentResolver.getType(uri))
        assertContentEquals(
            "sound".toByteArray(),
            app.contentResolver.openInputStream(uri)!!.use { it.readBytes() },
        )
    }

    @Test
    fun `nothing else is served`() {
        app.filesDir.resolve("secret.wav").writeText("secret")
        folder.resolve("notes.txt").writeText("secret")
        folder.resolve(".rain.wav").writeText("unfinished")
        folder.resolve("deeper.wav").mkdirs()
        folder.resolve("deeper.wav/inner.wav").writeText("secret")
        Files.createSymbolicLink(
            folder.resolve("link.wav").toPath(),
            app.filesDir.resolve("secret.wav").toPath(),
        )
        val refused = listOf(
            "", "gone.wav", "notes.txt", ".rain.wav", "deeper.wav", "deeper.wav/inner.wav",
            "link.wav", "../secret.wav", "..%2Fsecret.wav", "%2E%2E%2Fsecret.wav",
            "sounds/..%2F..%2Fsecret.wav", "%2Fetc%2Fpasswd",
            Uri.encode(File(app.filesDir, "secret.wav").path),
        )
        for (path in refused) {
            assertFailsWith<FileNotFoundException>(path) {
                app.contentResolver.openInputStream(address(path))
            }
            app.contentResolver.query(address(path), null, null, null, null)!!.use {
                assertEquals(0, it.count, path)
            }
        }
    }

    @Test
    fun `nobody writes through it, and nobody finds it unasked`() {
        val file = folder.resolve("rain-7.wav").apply { writeText("sound") }

        for (mode in listOf("w", "wt", "wa", "rw", "rwt")) {
            assertFailsWith<FileNotFoundException>(mode) {
                app.contentResolver.openFileDescriptor(SoundProvider.uri(file), mode)
            }
        }
        assertFailsWith<UnsupportedOperationException> {
            app.contentResolver.delete(SoundProvider.uri(file), null, null)
        }
        assertEquals("sound", file.readText())
        val provider = app.packageManager.resolveContentProvider("org.arcmobile.demo.sounds", 0)!!
        assertFalse(provider.exported)
        assertTrue(provider.grantUriPermissions)
    }
}
