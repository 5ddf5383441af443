package org.arcmobile

import java.util.ServiceConfigurationError
import java.util.ServiceLoader
import org.arcmobile.ArcMobileException.Kind

/** Which module of this library, and which `--backend` of the export, belong to a backend. */
private val MODULES = mapOf("executorch" to "executorch", "onnx" to "onnxruntime")

/** The engine of [bundle], with nothing loaded; [given] null: of the provider on the class path. */
internal fun openEngine(
    bundle: Bundle,
    options: EngineOptions,
    given: EngineProvider?,
): OpenEngine {
    if (options.threads != null && options.threads !in 1..Bounds.THREADS) {
        throw ArcMobileException(
            Kind.REQUEST,
            "threads ${options.threads}: give 1 to ${Bounds.THREADS}",
        )
    }
    val providers = given?.let(::listOf) ?: installedProviders()
    val backend = bundle.manifest.backend
    val provider = providers.firstOrNull { it.backend == backend }
        ?: throw ArcMobileException(Kind.ENGINE, noEngine(bundle, providers.map { it.backend }))
    return try {
        requireRelease(bundle, provider)
        OpenEngine(provider.open(bundle, options), provider.runtime)
    } catch (error: LinkageError) { // the native library is missing or of another processor
        throw ArcMobileException(
            Kind.ENGINE,
            "the native library for '$backend' does not load on this device " +
                "(${rootOf(error).message}); install the app built for its processor",
            error,
        )
    }
}

/** What went wrong first: class initialization wraps it. */
private fun rootOf(error: Throwable): Throwable =
    generateSequence(error) { it.cause }.last()

/** An engine and the name and version of its runtime. */
internal class OpenEngine(val engine: Engine, val runtime: String)

private fun installedProviders(): List<EngineProvider> = try {
    // This form, with the class's own loader, is what R8 finds and keeps.
    ServiceLoader.load(EngineProvider::class.java, EngineProvider::class.java.classLoader).toList()
} catch (error: ServiceConfigurationError) {
    throw ArcMobileException(
        Kind.ENGINE,
        "an engine on the class path cannot be used (${error.message}); build the app again",
        error,
    )
}

private fun noEngine(bundle: Bundle, installed: List<String>): String {
    val backend = bundle.manifest.backend
    val module = MODULES[backend]?.let { "add the library's module '$it' to the app" }
        ?: "add a module with an engine for it to the app"
    val again = installed.map { "export it again with --backend $it" }
    val wayOut = (listOf(module) + again).joinToString(", or ")
    return "${bundle.folder}: a bundle for '$backend', which this app has no engine for; $wayOut"
}
