package org.arcmobile.demo

import java.io.File
import org.arcmobile.ArcMobileException
import org.arcmobile.AudioGenerator
import org.arcmobile.Bundle
import org.arcmobile.Objective

/** How a bundle came onto the device. */
internal enum class Origin {
    /** With the app. */
    PACKED,

    /** From a zip that the user chose. */
    IMPORTED,

    /** From a computer, with adb. */
    PUSHED,
}

/** What is shown of a bundle that can be used. */
internal data class BundleFacts(
    val model: String,
    val recipe: String,
    val backend: String,
    val runtime: String,
    val bytes: Long,
    val largestProgramBytes: Long,
    val longestSeconds: Double,
    val defaultSteps: Int,
    val isFlowModel: Boolean,
)

/** A bundle's folder; [facts] of one that can be used, else the [problem] in words. */
internal data class BundleEntry(
    val folder: File,
    val origin: Origin,
    val facts: BundleFacts?,
    val problem: String?,
) {
    /** The same from one start to the next. */
    val id: String get() = id(origin, folder)

    companion object {
        fun id(origin: Origin, folder: File): String = "${origin.name}/${folder.name}"
    }
}

/** Reads what [folder] holds; never fails. */
internal fun readEntry(folder: File, origin: Origin): BundleEntry = try {
    BundleEntry(folder, origin, facts(Bundle.openUnverified(folder)), problem = null)
} catch (error: ArcMobileException) {
    BundleEntry(folder, origin, facts = null, problem = error.message)
}

private fun facts(bundle: Bundle): BundleFacts = bundle.manifest.let {
    BundleFacts(
        model = it.modelId,
        recipe = it.recipe,
        backend = it.backend,
        runtime = AudioGenerator.runtimeOf(bundle),
        bytes = bundle.bytes,
        largestProgramBytes = it.components.values.maxOf { program -> program.bytes },
        longestSeconds = it.longestSeconds,
        defaultSteps = it.schedule.defaultSteps,
        isFlowModel = it.objective == Objective.RECTIFIED_FLOW,
    )
}

/** Starts the names of folders and files that are still being written. */
internal const val UNFINISHED: String = "."
