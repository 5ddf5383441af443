package org.arcmobile.demo

import android.os.Build
import org.arcmobile.GenerationReport
import org.json.JSONArray
import org.json.JSONObject

/** Least, middle and most of the same figure in several runs. */
internal data class Spread(val least: Double, val median: Double, val most: Double) {
    companion object {
        fun of(values: List<Double>): Spread {
            val sorted = values.sorted()
            val half = sorted.size / 2
            val median =
                if (sorted.size % 2 == 1) sorted[half] else (sorted[half - 1] + sorted[half]) / 2
            return Spread(sorted.first(), median, sorted.last())
        }
    }
}

/** Names of a device. [soc] null where Android does not report it. */
internal data class DeviceFacts(
    val name: String,
    val soc: String?,
    val cores: Int,
    val android: String,
    val api: Int,
    val abi: String,
) {
    companion object {
        fun of(device: Device): DeviceFacts = DeviceFacts(
            name = device.name,
            soc = device.soc,
            cores = device.cores,
            android = Build.VERSION.RELEASE.orEmpty(),
            api = Build.VERSION.SDK_INT,
            abi = Build.SUPPORTED_ABIS.firstOrNull().orEmpty(),
        )
    }
}

/**
 * Results of a benchmark, as of the harness (`arcmobile bench run`): seconds and bytes.
 *
 * @property reports one per run, in order, without the warm-up.
 * @property thermalBefore 0 (none) to 6 (shutdown); null where Android does not report it.
 */
internal data class BenchmarkRecord(
    val reports: List<GenerationReport>,
    val bundleBytes: Long,
    val device: DeviceFacts,
    val thermalBefore: Int?,
    val thermalAfter: Int?,
) {
    val first: GenerationReport get() = reports.first()

    /** Seconds of loading by component. */
    val load: Map<String, Spread>
        get() = first.loadSeconds.keys.associateWith { component ->
            spread { it.loadSeconds[component] ?: 0.0 }
        }
    val conditioner: Spread get() = spread { it.conditionerSeconds }

    /** Of all steps of all runs. */
    val ditStep: Spread get() = Spread.of(reports.flatMap { it.ditStepSeconds })
    val dit: Spread get() = spread { it.ditStepSeconds.sum() }
    val decode: Spread get() = spread { it.decodeCallSeconds.sum() }
    val firstAudio: Spread get() = spread { it.firstAudioSeconds }
    val total: Spread get() = spread { it.totalSeconds }
    val rtf: Spread get() = spread { it.rtf }

    /** Peak memory of the process; null where the system does not report it. */
    val peakBytes: Long?
        get() = reports.mapNotNull { it.processPeakBytes ?: it.peakMemoryBytes.values.maxOrNull() }
            .maxOrNull()

    /** One JSON object: the device, its heat, and the report of every run. */
    fun toJson(): String = JSONObject()
        .put("benchmark_version", 1)
        .put(
            "device",
            JSONObject()
                .put("name", device.name)
                .put("soc", device.soc ?: JSONObject.NULL)
                .put("cores", device.cores)
                .put("android", device.android)
                .put("api", device.api)
                .put("abi", device.abi),
        )
        .put(
            "thermal_status",
            JSONObject()
                .put("before", thermalBefore ?: JSONObject.NULL)
                .put("after", thermalAfter ?: JSONObject.NULL),
        )
        .put("bundle_bytes", bundleBytes)
        .put("runs", JSONArray(reports.map { JSONObject(it.toJson()) }))
        .toString(INDENT)

    private fun spread(figure: (GenerationReport) -> Double) = Spread.of(reports.map(figure))

    private companion object {
        const val INDENT = 2
    }
}
