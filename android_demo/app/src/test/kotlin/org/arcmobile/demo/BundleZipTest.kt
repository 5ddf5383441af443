package org.arcmobile.demo

import java.io.ByteArrayInputStream
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import kotlin.random.Random
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
    fun `what is passed over counts, too`() {
        for (name in listOf("__MACOSX/._x", ".DS_Store", "tiny/", "__MACOSX\\._x")) {
            val bomb = zip(bundleFiles("") + (name to ByteArray(1 shl 24)))

            assertContains(refusal(bomb, mostBytes = 1 shl 23), "unpacks to more than", message = name)
        }
        val many = bundleFiles("") + (1..1024).map { "__MACOSX/._$it" to ByteArray(0) }
        assertContains(refusal(zip(many)), "more than 1024 entries")
    }

    @Test
    fun `a zip that unpacks to a hundred times its size is refused`() {
        val bomb = zip(listOf("manifest.json" to ByteArray(1 shl 24)))
        val error = assertFailsWith<ArcMobileException> {
            BundleZip(bytesBeforeRatio = 1 shl 20)
                .place(ByteArrayInputStream(bomb), destination) {}
        }

        assertContains(error.message, "more than 100 times its size")
    }

    @Test
    fun `a zip with the separators of Windows becomes a bundle`() {
        place(zip(bundleFiles("tiny-onnx\\") + ("tiny-onnx\\" to ByteArray(0))))

        assertEquals(Bundle.open(bundle).manifest, Bundle.open(destination).manifest)
    }

    @Test
    fun `a file that is there twice is refused`() {
        // ZipOutputStream writes no name twice.
        val twice = zip(listOf("a.txt" to ByteArray(1), "b.txt" to ByteArray(1)))
        val names = twice.toString(Charsets.ISO_8859_1).replace("b.txt", "a.txt")

        assertContains(refusal(names.toByteArray(Charsets.ISO_8859_1)), "holds 'a.txt' twice")
    }

    @Test
    fun `a link in a zip is a file like any other`() {
        val files = bundleFiles("").filter { it.first != "dit.onnx" }

        assertContains(
            refusal(zip(files + ("dit.onnx" to "/etc/passwd".toByteArray()))),
            "dit.onnx: 11 bytes",
        )
    }

    @Test
    fun `what is cut or corrupted anywhere is refused, or whole`() {
        val count = System.getProperty("arcmobile.mutations").toInt()
        val whole = zip(bundleFiles("tiny-onnx/"))
        val small = zip(bundleFiles("").filter { it.second.size < 50_000 })
        for (seed in 0 until count) {
            val random = Random(seed)
            val spoilt = spoil(if (random.nextInt(10) == 0) whole else small, random)
            try {
                place(spoilt)
                Bundle.open(destination).verify()
                destination.deleteRecursively()
            } catch (error: ArcMobileException) {
                assertEquals(1, error.message.lines().size, "seed $seed: ${error.message}")
            } catch (error: Throwable) {
                throw AssertionError("seed $seed: $error", error)
            }
            assertEquals(emptyList(), destination.parentFile.list().orEmpty().toList(), "$seed")
        }
    }

    private fun spoil(zip: ByteArray, random: Random): ByteArray {
        if (random.nextInt(4) == 0) return zip.copyOf(random.nextInt(zip.size))
        val spoilt = zip.copyOf()
        // Names, sizes and flags of entries stand at the beginning and at the end.
        repeat(random.nextInt(1, 6)) {
            val near = random.nextInt(200)
            val at = when (random.nextInt(3)) {
                0 -> near
                1 -> spoilt.lastIndex - near
                else -> random.nextInt(spoilt.size)
            }
            spoilt[at] = random.nextInt(256).toByte()
        }
        return spoilt
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

        assertContains(refusal("hello".toByteArray()), "is not a zip")
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
    fun `input or output that fails is reported, and nothing is left`() {
        val full = object : InputStream() {
            override fun read(): Int = throw IOException("No space left on device")
        }
        val error = assertFailsWith<ArcMobileException> { BundleZip().place(full, destination) {} }

        assertEquals(ArcMobileException.Kind.OUTPUT, error.kind)
        assertContains(error.message, "free some space")
        assertEquals(emptyList(), destination.parentFile.list().orEmpty().toList())
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
        BundleZip(mostBytes = mostBytes).place(ByteArrayInputStream(zip), destination) {}

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
