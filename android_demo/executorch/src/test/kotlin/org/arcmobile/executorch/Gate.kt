package org.arcmobile.executorch

import com.facebook.soloader.nativeloader.NativeLoader
import com.facebook.soloader.nativeloader.SystemDelegate
import java.io.File
import kotlin.system.exitProcess
import kotlinx.coroutines.runBlocking
import org.arcmobile.AudioGenerator
import org.arcmobile.EngineOptions
import org.arcmobile.GenerationRequest
import org.arcmobile.SampleFormat
import org.arcmobile.generateWav
import org.pytorch.executorch.ExecuTorchRuntime

/**
 * Makes one sound with a native ExecuTorch, as `check/gate.py` asks: BUNDLE WAV PROMPT STEPS SEED.
 * Not a test: it needs libraries that a computer has only after `check/android_on_glibc.py`.
 */
fun main(arguments: Array<String>) {
    val (bundle, wav, prompt, steps, seed) = arguments
    NativeLoader.init(SystemDelegate())
    ExecuTorchRuntime.getRuntime() // before the first module, or the Android build hangs
    AudioGenerator.open(File(bundle), EngineOptions(threads = 2)).use { generator ->
        val request = GenerationRequest(prompt, steps = steps.toInt(), seed = seed.toULong())
        val report = runBlocking {
            generator.generateWav(File(wav), request, SampleFormat.FLOAT32, overwrite = true)
        }
        println("${report.runtime}: ${report.seconds} s in ${report.totalSeconds} s")
    }
    exitProcess(0) // threads of the native pool
}
