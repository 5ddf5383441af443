package org.arcmobile.executorch

import java.io.File
import kotlin.test.Test
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import org.arcmobile.ArcMobileException
import org.arcmobile.AudioGenerator
import org.junit.Rule
import org.junit.rules.TemporaryFolder

/** ExecuTorch's native library is Android's; a computer is a device on which it does not load. */
class ExecuTorchProviderTest {
    @get:Rule
    val temporary = TemporaryFolder()

    @Test
    fun `the release is that of the library it was built with`() {
        assertEquals(System.getProperty("executorch.version"), ExecuTorchProvider().release)
    }

    @Test
    fun `a bundle for a newer release is refused, and so is one that does not say`() {
        fun refusal(minimum: String?): String {
            val bundle = executorchBundle(minimum)
            val error = assertFailsWith<ArcMobileException> { AudioGenerator.open(bundle) }
            assertEquals(ArcMobileException.Kind.ENGINE, error.kind)
            assertEquals(1, error.message.lines().size)
            return error.message
        }
        val release = ExecuTorchProvider().release
        for (minimum in listOf("9.0", "9.0.1")) {
            assertContains(
                refusal(minimum),
                "needs release $minimum of its runtime, and this app runs ExecuTorch $release",
            )
        }
        assertContains(refusal(null), "which means 1.5.1, and this app runs ExecuTorch $release")
        // As far as the native library, which a computer cannot load.
        assertContains(refusal("1.0"), "native library")
        assertContains(refusal(release), "native library")
    }

    @Test
    fun `a device that cannot load the native library hears so, every time`() {
        val bundle = executorchBundle("1.0")
        repeat(2) {
            val error = assertFailsWith<ArcMobileException> { AudioGenerator.open(bundle) }
            assertEquals(ArcMobileException.Kind.ENGINE, error.kind)
            assertContains(error.message, "native library for 'executorch'")
        }
    }

    /** The bundle of the check, told to be for ExecuTorch: nothing is loaded from it. */
    private fun executorchBundle(minimum: String?): File {
        val folder = temporary.newFolder()
        File(System.getProperty("arcmobile.bundle")).copyRecursively(folder, overwrite = true)
        val manifest = folder.resolve("manifest.json")
        val stated = minimum?.let { ", \"minimum_runtime\": \"$it\"" }.orEmpty()
        val text = manifest.readText().replace(MINIMUM, "").replace(ONNX, EXECUTORCH + stated)
        manifest.writeText(text)
        return folder
    }

    private companion object {
        const val ONNX = "\"backend\": \"onnx\""
        val MINIMUM = Regex("\"minimum_runtime\": [^,]*,")
        const val EXECUTORCH = "\"backend\": \"executorch\""
    }
}
