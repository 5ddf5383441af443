package org.arcmobile

/**
 * Runs the programs of one bundle. Not thread-safe: a generator calls it from one coroutine at a
 * time. Implementations throw [ArcMobileException] of kind ENGINE or MEMORY.
 */
public interface Engine : AutoCloseable {
    /**
     * Reads the program of [component] into memory and makes [entry] ready to run (packs weights),
     * so that the first run takes no longer than the next; nothing to do for what is ready.
     */
    public fun load(component: String, entry: Entry)

    /**
     * Runs one entry of a loaded component. [inputs] come in the entry's call order; outputs are
     * given in the manifest's order; they are valid until the next [run] of the component, freed or
     * not.
     */
    public fun run(component: String, entry: Entry, inputs: List<Tensor>): List<FloatTensor>

    /** Frees the program of [component]; nothing to do if it is not loaded. */
    public fun free(component: String)

    /** Frees everything. */
    override fun close()
}

/** How an engine runs. [threads] null: the runtime's default. */
public data class EngineOptions(val threads: Int? = null)

/**
 * Makes engines for one backend. Found by [java.util.ServiceLoader]: putting an engine's library on
 * the class path is all it takes to open its bundles.
 */
public interface EngineProvider {
    /** The `backend` of the manifests it runs, e.g. `executorch`. */
    public val backend: String

    /** Name and version of the runtime, for people. */
    public val runtime: String

    /**
     * Release of the runtime, e.g. `1.5.1`; null where it is unknown. A bundle whose manifest
     * asks for a newer one is refused before anything is loaded.
     */
    public val release: String? get() = null

    /** The release that bundles without one need; null: any. */
    public val assumedMinimum: String? get() = null

    public fun open(bundle: Bundle, options: EngineOptions): Engine
}
