package org.arcmobile.demo

import android.app.ActivityManager
import android.content.Context
import android.os.Build
import android.os.PowerManager
import android.os.StatFs
import android.text.format.Formatter
import java.io.File
import org.arcmobile.ArcMobileException
import org.arcmobile.ArcMobileException.Kind

/** What this device is and what it has left. */
internal class Device(private val context: Context) {
    val name: String
        get() {
            val (maker, model) = Build.MANUFACTURER.orEmpty() to Build.MODEL.orEmpty()
            return if (model.startsWith(maker, ignoreCase = true)) model else "$maker $model"
        }

    /** The chip's name; null where Android does not report it (before 12). */
    val soc: String?
        get() = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) {
            listOf(Build.SOC_MANUFACTURER, Build.SOC_MODEL)
                .filter { it != Build.UNKNOWN }
                .joinToString(" ")
                .ifEmpty { null }
        } else {
            null
        }

    val cores: Int get() = Runtime.getRuntime().availableProcessors()

    /** 0 (none) to 6 (shutdown); null where Android does not report it (before 10). */
    val thermalStatus: Int?
        get() = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
            context.getSystemService(PowerManager::class.java).currentThermalStatus
        } else {
            null
        }

    /** Bytes that can be used without Android killing other apps for them. */
    val memory: Long
        get() {
            val info = ActivityManager.MemoryInfo()
            context.getSystemService(ActivityManager::class.java).getMemoryInfo(info)
            return (info.availMem - info.threshold).coerceAtLeast(0)
        }

    /** Throws [ArcMobileException] unless [bytes] fit beside [folder] with room to spare. */
    fun requireSpace(folder: File, bytes: Long) {
        val free = StatFs(folder.path).availableBytes
        if (free >= bytes + SPACE_TO_SPARE) return
        throw ArcMobileException(
            Kind.OUTPUT,
            context.getString(R.string.error_space, size(bytes + SPACE_TO_SPARE), size(free)),
        )
    }

    /** Throws [ArcMobileException] unless there is memory for any one program of [bundle]. */
    fun requireMemory(bundle: BundleFacts) {
        // A program's file is mapped while its weights are packed into memory once more.
        val needed = 2 * bundle.largestProgramBytes
        val available = memory
        if (available >= needed) return
        throw ArcMobileException(
            Kind.MEMORY,
            context.getString(R.string.error_memory, size(needed), size(available)),
        )
    }

    /** [bytes] for people, e.g. `2.7 MB`. */
    fun size(bytes: Long): String = Formatter.formatShortFileSize(context, bytes)

    private companion object {
        const val SPACE_TO_SPARE = 16L shl 20
    }
}
