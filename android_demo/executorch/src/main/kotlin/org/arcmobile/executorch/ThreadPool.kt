package org.arcmobile.executorch

import org.arcmobile.ArcMobileException

/**
 * ExecuTorch's one thread pool per process. Loading a program with another number of threads makes
 * a new pool under the feet of the programs that are loaded, so all engines that are open have the
 * same number, and one of them calls the runtime at a time.
 */
internal class ThreadPool {
    private val lock = Any()
    private var users = 0
    private var threads: Int? = null

    /**
     * Takes part with [wanted] threads until [leave]; null: as many as the others, else the
     * runtime's default.
     *
     * @throws ArcMobileException of kind ENGINE while others run with another number.
     */
    fun join(wanted: Int?): Unit = synchronized(lock) {
        if (users == 0) threads = wanted
        if (wanted != null && wanted != threads) {
            throw ArcMobileException(
                ArcMobileException.Kind.ENGINE,
                "threads $wanted: ExecuTorch has one thread pool, and another generator of this " +
                    "app has it with ${threads ?: "the default number"}; give that number, or " +
                    "close the other generator first",
            )
        }
        users++
    }

    fun leave(): Unit = synchronized(lock) { users-- }

    /** Calls the runtime; [call] gets the number of threads, null for the default. */
    fun <T> run(call: (threads: Int?) -> T): T = synchronized(lock) { call(threads) }
}
