package org.arcmobile.executorch

import java.io.File
import org.arcmobile.ArcMobileException
import org.arcmobile.Bundle
import org.arcmobile.Engine
import org.arcmobile.EngineOptions
import org.arcmobile.EngineProvider
import org.arcmobile.Entry
import org.arcmobile.FloatTensor
import org.arcmobile.IntTensor
import org.arcmobile.Tensor
import org.pytorch.executorch.EValue
import org.pytorch.executorch.ExecuTorchRuntime
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor as NativeTensor

/** Runs bundles of the backend `executorch` with the XNNPACK delegate of ExecuTorch's Android library. */
public class ExecuTorchProvider : EngineProvider {
    override val backend: String = "executorch"

    /** Of the library that this module was built with: the library does not report its own. */
    override val release: String = BuildConfig.EXECUTORCH_RELEASE
    override val runtime: String = "ExecuTorch $release"

    /** Older ones compute the programs of bundles wrongly that do not say what they need. */
    override val assumedMinimum: String = "1.5.1"

    override fun open(bundle: Bundle, options: EngineOptions): Engine {
        val backends = ExecuTorchRuntime.getRegisteredBackends()
        if (XNNPACK !in backends) {
            throw ArcMobileException(
                ArcMobileException.Kind.ENGINE,
                "this build of ExecuTorch has no $XNNPACK (it has: ${backends.joinToString()}); " +
                    "use org.pytorch:executorch-android",
            )
        }
        pool.join(options.threads)
        return ExecuTorchEngine(bundle, pool)
    }

    private companion object {
        const val XNNPACK = "XnnpackBackend"
        val pool = ThreadPool()
    }
}

/**
 * One module per component, its file mapped so that weights which XNNPACK has packed do not lie in
 * the heap a second time. Java cannot ask for the check of a program's internal consistency, so a
 * broken file must not come this far: [Bundle.file] gives only files whose sha256 was right.
 */
internal class ExecuTorchEngine(
    private val bundle: Bundle,
    private val pool: ThreadPool,
) : Engine {
    private class Loaded(val module: Module, val ready: MutableSet<String> = mutableSetOf())

    private val loaded = mutableMapOf<String, Loaded>()
    private var isOpen = true

    override fun load(component: String, entry: Entry): Unit = pool.run { threads ->
        val file = bundle.file(component)
        guarded("$component: ExecuTorch cannot load ${file.name}") {
            val program = loaded.getOrPut(component) { Loaded(open(file, threads)) }
            if (entry.name !in program.ready) {
                program.module.loadMethod(entry.name)
                program.ready += entry.name
            }
        }
    }

    override fun run(component: String, entry: Entry, inputs: List<Tensor>): List<FloatTensor> {
        load(component, entry)
        val module = loaded.getValue(component).module
        return pool.run {
            guarded("$component.${entry.name}: ExecuTorch failed") {
                val arguments = inputs.map { EValue.from(native(it)) }.toTypedArray()
                module.execute(entry.name, *arguments).map { floats(it.toTensor()) }
            }
        }
    }

    override fun free(component: String): Unit = pool.run {
        loaded.remove(component)?.module?.destroy()
    }

    override fun close() {
        loaded.keys.toList().forEach(::free)
        if (isOpen) pool.leave()
        isOpen = false
    }

    private fun open(file: File, threads: Int?): Module =
        Module.load(file.path, Module.LOAD_MODE_MMAP, threads ?: RUNTIME_DEFAULT)

    private fun native(tensor: Tensor): NativeTensor = when (tensor) {
        is FloatTensor -> NativeTensor.fromBlob(tensor.data, tensor.shape)
        is IntTensor -> NativeTensor.fromBlob(tensor.data, tensor.shape)
    }

    private fun floats(tensor: NativeTensor): FloatTensor =
        FloatTensor.zeros(*tensor.shape()).also {
            tensor.copyDataInto(it.data)
            it.data.rewind()
        }

    private fun <T> guarded(what: String, block: () -> T): T = try {
        block()
    } catch (error: RuntimeException) { // all that ExecuTorch throws, of several classes
        throw ArcMobileException(
            ArcMobileException.Kind.ENGINE,
            "$what (${error.message?.lineSequence()?.first()}); export the bundle again with the " +
                "ExecuTorch of the app",
            error,
        )
    }

    private companion object {
        const val RUNTIME_DEFAULT = 0 // its own choice: half of the cores
    }
}
