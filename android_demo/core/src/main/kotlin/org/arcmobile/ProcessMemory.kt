package org.arcmobile

import java.io.File
import java.io.IOException

/** Peak resident memory of this process, as Linux counts it; see proc(5). */
internal object ProcessMemory {
    private val STATUS = File("/proc/self/status")
    private val CLEAR_REFS = File("/proc/self/clear_refs")
    private val HIGH_WATER = Regex("^VmHWM:\\s+(\\d+) kB$", RegexOption.MULTILINE)
    private const val RESET_HIGH_WATER = "5"

    /**
     * Starts a new peak at the present size. False where the system does not let us: Android does
     * only in apps that are debuggable or profileable.
     */
    fun resetPeak(): Boolean = try {
        CLEAR_REFS.writeText(RESET_HIGH_WATER)
        true
    } catch (_: IOException) {
        false
    }

    /** Largest resident set since [resetPeak], else since the process began; null if unknown. */
    fun peakBytes(): Long? = try {
        HIGH_WATER.find(STATUS.readText())?.let { it.groupValues[1].toLong() * 1024 }
    } catch (_: IOException) {
        null
    }
}
