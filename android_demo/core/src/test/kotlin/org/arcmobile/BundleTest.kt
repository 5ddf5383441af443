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

    private fun link(file: File, target: File) {
        file.delete()
        Files.createSymbolicLink(file.toPath(), target.toPath())
    }

    private fun failure(action: () -> Unit): String {
        val error = assertFailsWith<ArcMobileException> { action() }
        assertEquals(Kind.BUNDLE, error.kind)
        return error.message
    }
}
