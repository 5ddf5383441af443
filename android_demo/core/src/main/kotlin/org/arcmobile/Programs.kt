package org.arcmobile

import kotlin.time.DurationUnit
import kotlin.time.TimeSource
import org.arcmobile.ArcMobileException.Kind

/**
 * The programs of a bundle as one generation uses them: asks before each call whether to go on,
 * times what is loaded, and checks what comes out.
 *
 * @param keepLoaded whether [release] leaves programs in memory.
 * @param checkWanted throws when the generation has been cancelled.
 */
internal class Programs(
    private val engine: Engine,
    private val manifest: Manifest,
    private val keepLoaded: Boolean,
    private val checkWanted: () -> Unit,
) {
    private val loaded = mutableMapOf<String, Double>()

    /** Seconds by component, in order of loading. */
    val loadSeconds: Map<String, Double> get() = loaded

    /** What is being done, for a message if memory runs out. */
    var activity: String = "starting"
        private set

    /** Reads a program and makes one of its entries ready. */
    fun load(component: String, entry: Entry) {
        checkWanted()
        val begin = TimeSource.Monotonic.markNow()
        call("loading $component") { engine.load(component, entry) }
        loaded[component] = begin.secondsSince()
    }

    /** Runs an entry; its outputs, as the manifest has them, are valid until its next run. */
    fun run(component: String, entry: Entry, inputs: Map<String, Tensor>): List<FloatTensor> {
        checkWanted()
        val ordered = entry.inputs.map { inputs.getValue(it.name) }
        val outputs = call("running $component") { engine.run(component, entry, ordered) }
        val sizes = outputs.map { it.data.limit().toLong() }
        if (sizes != entry.outputs.map { it.elements }) {
            throw ArcMobileException(
                Kind.ENGINE,
                "$component.${entry.name} gave $sizes values, not what the manifest says; " +
                    "export the bundle again",
            )
        }
        return outputs
    }

    /** Frees the program of [component], unless all are kept. */
    fun release(component: String) {
        if (!keepLoaded) engine.free(component)
    }

    /** Frees everything. */
    fun freeAll() = manifest.components.keys.forEach(engine::free)

    /** An engine promises [ArcMobileException]; anything else it throws becomes one. */
    private inline fun <T> call(what: String, action: () -> T): T {
        activity = what
        return try {
            action()
        } catch (error: RuntimeException) {
            throw failure(what, error)
        } catch (error: LinkageError) { // a native method that its library lacks
            throw failure(what, error)
        }
    }
}

private fun failure(what: String, error: Throwable) = ArcMobileException(
    Kind.ENGINE,
    "$what failed (${error.message ?: error}); copy or export the bundle again",
    error,
)

/** Seconds since this mark, by [System.nanoTime]. */
internal fun TimeSource.Monotonic.ValueTimeMark.secondsSince(): Double =
    elapsedNow().toDouble(DurationUnit.SECONDS)
