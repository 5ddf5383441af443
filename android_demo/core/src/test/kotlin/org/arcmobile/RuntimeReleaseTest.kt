package org.arcmobile

import java.nio.file.Files
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import org.arcmobile.ArcMobileException.Kind

class RuntimeReleaseTest {
    private val folder = Files.createTempDirectory("release").toFile()
    private val given = TestBundle(folder)

    @AfterTest
    fun clean() {
        folder.deleteRecursively()
    }

    @Test
    fun `releases are compared by number`() {
        val ascending = listOf("0.9", "1.2.10", "1.3", "1.3.1", "1.10.0", "2.0.0-dev")
        for ((index, older) in ascending.withIndex()) {
            for (newer in ascending.drop(index + 1)) {
                assertTrue(compareReleases(older, newer) < 0, "$older, $newer")
                assertTrue(compareReleases(newer, older) > 0, "$newer, $older")
            }
        }
        assertEquals(0, compareReleases("1.3", "1.3.0"))
        assertEquals(0, compareReleases("1.3.1", "1.3.1+build"))
    }

    @Test
    fun `a bundle gets no runtime that is older than it asks for`() {
        open(needed = "1.4.1", Runtime("1.4.1"))
        open(needed = "1.4.1", Runtime("1.10.0"))
        open(needed = null, Runtime("1.0"))
        open(needed = "1.4.1", Runtime(null))
        open(needed = "1.3", Runtime("1.3.1", assumedMinimum = "1.5.1"))
        assertEquals(
            "$folder: needs release 1.4.1 of its runtime, and this app runs arithmetic 1.3.9; " +
                "build the app with 1.4.1 or later, or export the bundle again for the app's " +
                "runtime",
            refusal("1.4.1", Runtime("1.3.9")),
        )
        assertTrue("which means 1.5.1" in refusal(null, Runtime("1.5.0", assumedMinimum = "1.5.1")))
    }

    private class Runtime(
        override val release: String?,
        override val assumedMinimum: String? = null,
    ) : EngineProvider {
        override val backend = TestBundle.BACKEND
        override val runtime = "arithmetic $release"

        override fun open(bundle: Bundle, options: EngineOptions) = ArithmeticEngine(bundle)
    }

    private fun open(needed: String?, runtime: Runtime) {
        val more = needed?.let { mapOf("minimum_runtime" to JsonPrimitive(it)) }.orEmpty()
        given.replaceManifest(JsonObject(given.manifest + more).toString())
        AudioGenerator.open(given.open(), provider = runtime).close()
    }

    private fun refusal(needed: String?, runtime: Runtime): String {
        val error = assertFailsWith<ArcMobileException> { open(needed, runtime) }
        assertEquals(Kind.ENGINE, error.kind)
        return error.message
    }
}
