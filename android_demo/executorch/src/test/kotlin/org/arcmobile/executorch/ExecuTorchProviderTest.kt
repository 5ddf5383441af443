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
    fun `a device that cannot load the native library hears so, every time`() {
        val bundle = executorchBundle()
        repeat(2) {
            val error = assertFailsWith<ArcMobileException> { AudioGenerator.open(bundle) }
            assertEquals(ArcMobileException.Kind.ENGINE, error.kind)
            assertContains(error.message, "native library for 'executorch'")
        }
    }

    /** The bundle of the check, told to be for ExecuTorch: nothing is loaded from it. */
    private fun executorchBundle(): File {
        val folder = temporary.newFolder()
        File(System.getProperty("arcmobile.bundle")).copyRecursively(folder, overwrite = true)
        val manifest = folder.resolve("manifest.json")
        manifest.writeText(manifest.readText().replace(ONNX, EXECUTORCH))
        return folder
    }

    private companion object {
        const val ONNX = "\"backend\": \"onnx\""
        const val EXECUTORCH = "\"backend\": \"executorch\""
    }
}
