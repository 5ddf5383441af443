package org.arcmobile.onnxruntime

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtLoggingLevel
import ai.onnxruntime.OrtSession
import java.io.File
import java.io.IOException
import org.arcmobile.ArcMobileException
import org.arcmobile.ArcMobileException.Kind
import org.arcmobile.Bundle
import org.arcmobile.Engine
import org.arcmobile.EngineOptions
import org.arcmobile.EngineProvider
import org.arcmobile.Entry
import org.arcmobile.FloatTensor
import org.arcmobile.IntTensor
import org.arcmobile.Tensor
import org.arcmobile.TensorSpec

/** Runs bundles of the backend `onnx` with ONNX Runtime on the CPU. */
public class OnnxRuntimeProvider : EngineProvider {
    override val backend: String = "onnx"

    override val release: String get() = OrtEnvironment.getEnvironment().version

    override val runtime: String get() = "ONNX Runtime $release"

    override fun open(bundle: Bundle, options: EngineOptions): Engine {
        val environment = OrtEnvironment.getEnvironment()
        // Its Android build can report to its makers: that is for an app to decide, not for us.
        environment.setTelemetry(false)
        return OnnxRuntimeEngine(bundle, environment, options)
    }
}

/**
 * One session per component, whose graph serves all its entries. Tensors are not copied: ONNX
 * Runtime reads and writes the buffers of ours, which are kept between runs of the same entry.
 */
internal class OnnxRuntimeEngine(
    private val bundle: Bundle,
    private val environment: OrtEnvironment,
    engineOptions: EngineOptions,
) : Engine {
    private class Program(val session: OrtSession) {
        val outputs = mutableMapOf<String, List<FloatTensor>>()
    }

    private val programs = mutableMapOf<String, Program>()
    private val options = OrtSession.SessionOptions().apply {
        engineOptions.threads?.let(::setIntraOpNumThreads)
        setInterOpNumThreads(1)
        setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR)
        // Weights as uint8 where products of int8 would saturate; exact, if slower.
        if (!multipliesInt8Exactly()) addConfigEntry("session.x64quantprecision", "1")
    }

    override fun load(component: String, entry: Entry) {
        programs.getOrPut(component) { Program(open(bundle.file(component))) }
    }

    override fun run(component: String, entry: Entry, inputs: List<Tensor>): List<FloatTensor> {
        load(component, entry)
        val program = programs.getValue(component)
        val outputs = program.outputs.getOrPut(entry.name) { entry.outputs.map(::zeros) }
        val opened = mutableListOf<OnnxTensor>()
        try {
            fun named(specs: List<TensorSpec>, tensors: List<Tensor>) =
                specs.map { it.name }.zip(tensors.map { view(it).also(opened::add) }).toMap()
            program.session.run(named(entry.inputs, inputs), named(entry.outputs, outputs)).close()
        } catch (error: OrtException) {
            throw failure("$component.${entry.name}: ONNX Runtime failed", error)
        } finally {
            opened.forEach(OnnxTensor::close)
        }
        return outputs
    }

    override fun free(component: String) {
        programs.remove(component)?.session?.close()
    }

    override fun close() {
        programs.keys.toList().forEach(::free)
        options.close()
    }

    private fun open(file: File): OrtSession = try {
        environment.createSession(file.path, options)
    } catch (error: OrtException) {
        throw failure("$file: ONNX Runtime refuses it", error)
    }

    private fun view(tensor: Tensor): OnnxTensor = when (tensor) {
        is FloatTensor -> OnnxTensor.createTensor(environment, tensor.data, tensor.shape)
        is IntTensor -> OnnxTensor.createTensor(environment, tensor.data, tensor.shape)
    }

    private fun zeros(spec: TensorSpec) = FloatTensor.zeros(*spec.shape.toLongArray())
}

private fun failure(what: String, error: OrtException): ArcMobileException {
    val reason = error.message.orEmpty().lineSequence().first()
    val memory = OUT_OF_MEMORY.any { it in reason }
    return ArcMobileException(
        if (memory) Kind.MEMORY else Kind.ENGINE,
        "$what ($reason); " +
            if (memory) "close other apps or make a shorter sound" else "export the bundle again",
        error,
    )
}

private val OUT_OF_MEMORY = listOf("bad_alloc", "Failed to allocate", "out of memory")

/** Of Arm, always; of x86-64 (emulators, desktops) those with VNNI. */
private fun multipliesInt8Exactly(): Boolean {
    if (System.getProperty("os.arch") !in setOf("x86_64", "amd64")) return true
    val flags = try {
        File("/proc/cpuinfo").readText()
    } catch (_: IOException) {
        return false // unknown: exact is better than fast
    }
    return "avx512_vnni" in flags || "avx_vnni" in flags
}
