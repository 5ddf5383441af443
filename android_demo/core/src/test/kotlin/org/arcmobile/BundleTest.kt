package org.arcmobile

import java.io.File
import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.jsonObject
import org.arcmobile.ArcMobileException.Kind

class BundleTest {
    private val root = Files.createTempDirectory("bundle").toFile()
    private val given = TestBundle(root.resolve("small"))

    @AfterTest
    fun clean() {
        root.deleteRecursively()
    }

    @Test
    fun `a bundle opens by its folder or its manifest`() {
        assertEquals(given.folder, given.open().folder)
        assertEquals(given.folder, Bundle.open(given.file("manifest.json")).folder)
        assertEquals(given.file("dit.bin"), given.open().file("dit"))
        assertTrue("no component" in failure { given.open().file("encoder") })
    }

    @Test
    fun `what is missing is named`() {
        assertTrue("no such folder" in failure { Bundle.open(root.resolve("none")) })
        assertTrue("no manifest.json" in failure { Bundle.open(root) })
        for (name in listOf("tokenizer.json", "dit.bin", "decoder_2.bin")) {
            given.file(name).renameTo(root.resolve(name))
            assertTrue("$name: missing" in failure { given.open() })
            root.resolve(name).renameTo(given.file(name))
        }
        given.open()
    }

    @Test
    fun `a truncated file is found when the bundle is opened`() {
        given.file("dit.bin").writeText("short")
        val message = failure { given.open() }
        assertTrue("dit.bin: 5 bytes, the manifest says 15" in message, message)
    }

    @Test
    fun `a file that goes missing later is found when it is asked for`() {
        val bundle = given.open()
        given.file("dit.bin").delete()
        failure { bundle.file("dit") }
        failure { bundle.verify() }
    }

    @Test
    fun `an altered file is found by verifying`() {
        val bundle = given.open()
        val progress = mutableListOf<Long>()
        bundle.verify { done, total ->
            progress += done
            assertEquals(bundle.bytes, total)
        }
        assertEquals(progress.sorted(), progress)
        assertEquals(listOf(0L, bundle.bytes), listOf(progress.first(), progress.last()))
        for (name in listOf("tokenizer.json", "decoder_1.bin")) {
            val bytes = given.file(name).readBytes()
            given.file(name).writeBytes(bytes.copyOf().also { it[it.lastIndex]++ })
            assertTrue("$name: sha256 differs" in failure { given.open().verify() })
            given.file(name).writeBytes(bytes)
        }
    }

    @Test
    fun `an altered file is found when the bundle is opened, and when it is asked for`() {
        val program = given.file("dit.bin")
        val open = given.open()
        open.file("dit")
        program.writeText("The program dit")
        assertTrue("dit.bin: sha256 differs" in failure { given.open() })
        assertTrue("dit.bin: sha256 differs" in failure { open.file("dit") })
        assertTrue("sha256 differs" in failure { AudioGenerator.open(listed(), GeneratorOptions()) })
        program.writeText("the program dit")
        assertEquals(program, open.file("dit"))
    }

    @Test
    fun `files are read once, and again when they changed`() {
        val cache = root.resolve("cache")
        assertEquals(given.open().bytes, bytesRead(cache))
        assertTrue(listed().isVerified(cache))
        assertTrue(cache.resolve("verified").list().orEmpty().size >= 5)
        // As another process would find it, which remembers nothing.
        for (stamp in cache.resolve("verified").listFiles().orEmpty()) {
            assertTrue(STAMP.matches(stamp.readText()), stamp.readText())
        }
        val bytes = given.file("dit.bin").readBytes()
        given.file("dit.bin").writeBytes(bytes) // the same, but who knows
        assertTrue(!listed().isVerified(cache))
        given.open()
        assertTrue(listed().isVerified(cache))
        assertTrue(given.folder.renameTo(root.resolve("renamed")))
        assertTrue(Bundle.openUnverified(root.resolve("renamed")).isVerified(cache))
    }

    @Test
    fun `what is remembered counts only for the file it was taken of`() {
        val known = VerifiedFiles(root.resolve("cache"))
        val file = given.file("dit.bin")
        val stamp = checkNotNull(FileStamp.of(file))
        known.remember(stamp, "a".repeat(64))
        assertTrue(known.holds(stamp, "a".repeat(64)))
        assertTrue(!known.holds(stamp, "b".repeat(64)))
        file.setLastModified(0)
        assertTrue(!known.holds(checkNotNull(FileStamp.of(file)), "a".repeat(64)))
        // A cache that cannot be written costs time only.
        VerifiedFiles(file).remember(stamp, "a".repeat(64))
    }

    private fun listed() = Bundle.openUnverified(given.folder)

    private fun bytesRead(cache: File): Long {
        var read = 0L
        Bundle.open(given.folder, cache) { done, _ -> read = done }
        return read
    }

    @Test
    fun `verifying can be stopped`() {
        class Stopped : Exception()
        assertFailsWith<Stopped> { given.open().verify { _, _ -> throw Stopped() } }
    }

    @Test
    fun `no name leads out of the folder`() {
        root.resolve("outside.bin").writeText("the program dit")
        val names = listOf(
            "../outside.bin", "/etc/passwd", "..", ".", "", "a/b", "a\\\\b", ".hidden", "C:x",
            "x\\u0000", "manifest.json", "-", "a b",
        )
        for (name in names) {
            val text = given.manifest.toString().replace("\"dit.bin\"", "\"$name\"")
            check(Json.parseToJsonElement(text).jsonObject != given.manifest)
            given.replaceManifest(text)
            val message = failure { given.open() }
            assertTrue("components.dit.file: " in message, message)
        }
    }

    @Test
    fun `links may not leave the folder`() {
        val outside = root.resolve("outside.bin").apply { writeText("the program dit") }
        link(given.file("dit.bin"), outside)
        assertTrue("link that leaves" in failure { given.open() })
        given.file("dit-here.bin").writeText("the program dit")
        link(given.file("dit.bin"), File("dit-here.bin"))
        given.open().verify()
        // A bundle that is reached by a link is whole in itself.
        val shortcut = root.resolve("shortcut")
        Files.createSymbolicLink(shortcut.toPath(), given.folder.toPath())
        Bundle.open(shortcut)
    }

    @Test
    fun `a manifest that is a link out of the folder is refused`() {
        val outside = root.resolve("outside.json")
        given.file("manifest.json").copyTo(outside)
        link(given.file("manifest.json"), outside)
        assertTrue("link that leaves" in failure { given.open() })
    }

    private fun link(file: File, target: File) {
        file.delete()
        Files.createSymbolicLink(file.toPath(), target.toPath())
    }

    private companion object {
        val STAMP = Regex("arcmobile-verified-1( \\d+){5} [0-9a-f]{64}\n")
    }

    private fun failure(action: () -> Unit): String {
        val error = assertFailsWith<ArcMobileException> { action() }
        assertEquals(Kind.BUNDLE, error.kind)
        assertEquals(1, error.message.lines().size)
        return error.message
    }
}
