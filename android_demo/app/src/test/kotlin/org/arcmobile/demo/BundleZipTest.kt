package org.arcmobile.demo

import java.io.ByteArrayInputStream
import java.io.ByteArrayOutputStream
import java.io.File
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import kotlin.test.Test
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue
import org.arcmobile.ArcMobileException
import org.arcmobile.Bundle
import org.junit.Rule
import org.junit.rules.TemporaryFolder

class BundleZipTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val destination by lazy { temporary.root.resolve("shelf/tiny") }

    @Test
    fun `a zip of the files, or of one folder of them, becomes a bundle`() {
        for (folder in listOf("", "tiny-onnx/")) {
            destination.deleteRecursively()
            place(zip(bundleFiles(folder) + ("__MACOSX/._x" to "x".toByteArray())))

            assertEquals(Bundle.open(bundle).manifest, Bundle.open(destination).manifest)
        }
    }

    @Test
    fun `names that lead elsewhere are refused`() {
        val names = listOf(
            "../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:\\evil.txt",
            "a/b/manifest.json", "a//b", ".hidden", "a/..", "evil\u0000.txt", "évil.txt",
        )
        for (name in names) {
            val refused = refusal(zip(listOf(name to ByteArray(10))))
            assertContains(refused, "the zip holds", message = name)
        }
    }

    @Test
    fun `files in two folders are refused`() {
        assertContains(
            refusal(zip(listOf("a/x.onnx" to ByteArray(1), "b/y.onnx" to ByteArray(1)))),
            "more than one folder",
        )
    }

    @Test
    fun `a zip that unpacks to more than a bundle's size is refused on the way`() {
        val bomb = zip(listOf("manifest.json" to ByteArray(1 shl 20)))
        assertTrue(bomb.size < 10_000)

        assertContains(refusal(bomb, mostBytes = 1 shl 16), "unpacks to more than 65536 bytes")
    }

    @Test
    fun `too many files are refused`() {
        assertContains(
            refusal(zip((1..65).map { "file$it" to ByteArray(1) })),
            "more than 64 files",
        )
    }

    @Test
    fun `what is no zip, cut short, or no bundle is refused in words`() {
        val whole = zip(bundleFiles(""))

        assertContains(refusal("hello".toByteArray()), "is no zip")
        assertContains(refusal(whole.copyOf(whole.size / 2)), "zip")
        assertContains(refusal(zip(listOf("a.txt" to ByteArray(1)))), "manifest.json")
    }

    @Test
    fun `a file that was altered is found by its sha256`() {
        val altered = bundleFiles("").map { (name, bytes) ->
            if (name == "dit.onnx") bytes[bytes.size / 2] = (bytes[bytes.size / 2] + 1).toByte()
            name to bytes
        }

        assertContains(refusal(zip(altered)), "dit.onnx: sha256 differs")
    }

    @Test
    fun `stopping half-way leaves nothing`() {
        assertFailsWith<InterruptedException> {
            BundleZip().place(ByteArrayInputStream(zip(bundleFiles(""))), destination) {
                if (it > 100_000) throw InterruptedException()
            }
        }

        assertEquals(emptyList(), destination.parentFile.list().orEmpty().toList())
    }

    private fun place(zip: ByteArray, mostBytes: Long = 1L shl 30) =
        BundleZip(mostBytes).place(ByteArrayInputStream(zip), destination) {}

    /** Message of the refusal of [zip], which must leave nothing behind. */
    private fun refusal(zip: ByteArray, mostBytes: Int = 1 shl 30): String {
        val error = assertFailsWith<ArcMobileException> { place(zip, mostBytes.toLong()) }
        assertFalse(temporary.root.resolve("evil.txt").exists())
        assertEquals(emptyList(), destination.parentFile.list().orEmpty().toList())
        return error.message
    }
}

/** The bundle that the tests run on. */
internal val bundle: File get() = File(System.getProperty("arcmobile.bundle"))

/** Files of that bundle by name, in [folder] of a zip. */
internal fun bundleFiles(folder: String): List<Pair<String, ByteArray>> =
    bundle.listFiles().orEmpty().map { "$folder${it.name}" to it.readBytes() }

/** A zip of files by name. */
internal fun zip(files: List<Pair<String, ByteArray>>): ByteArray {
    val bytes = ByteArrayOutputStream()
    ZipOutputStream(bytes).use { zip ->
        for ((name, content) in files) {
            zip.putNextEntry(ZipEntry(name))
            zip.write(content)
            zip.closeEntry()
        }
    }
    return bytes.toByteArray()
}
