package org.arcmobile.demo

import android.content.Context
import java.util.Locale

/** One line of figures. */
internal class Figure(val label: String, val value: String, val range: String = "")

/** Figures of a benchmark in words. */
internal class FigureTexts(private val context: Context) {
    fun time(record: BenchmarkRecord): List<Figure> =
        record.load.map { (component, load) ->
            figure(R.string.figure_load, load, name(component))
        } + listOf(
            figure(R.string.figure_conditioner, record.conditioner),
            figure(R.string.figure_dit_step, record.ditStep),
            figure(R.string.figure_dit, record.dit),
            figure(R.string.figure_decode, record.decode),
            figure(R.string.figure_first_audio, record.firstAudio),
            figure(R.string.figure_total, record.total),
            Figure(
                context.getString(R.string.figure_rtf),
                format("%.3f", record.rtf.median),
                range("%.3f", record.rtf),
            ),
        )

    fun device(device: DeviceFacts): List<Figure> = listOf(
        plain(R.string.figure_device, device.name),
        plain(R.string.figure_soc, device.soc),
        plain(
            R.string.figure_android,
            context.getString(R.string.api_level, device.android, device.api),
        ),
    )

    /** Conditions of the measurement; before a benchmark, those already known. */
    fun conditions(record: BenchmarkRecord?, thermalNow: Int?): List<Figure> {
        if (record == null) return listOf(plain(R.string.figure_thermal, thermal(thermalNow)))
        val report = record.first
        val threads = report.threads?.toString() ?: context.getString(R.string.threads_default)
        return listOf(
            plain(R.string.figure_runtime, report.runtime),
            plain(R.string.figure_threads, threads),
            plain(
                R.string.figure_peak,
                record.peakBytes?.let { format("%.0f MB", it / BYTES_PER_MB) },
            ),
            plain(R.string.figure_thermal, thermalChange(record)),
        )
    }

    private fun name(component: String) =
        if (component == "dit") context.getString(R.string.dit) else component.replace('_', ' ')

    private fun thermalChange(record: BenchmarkRecord): String? {
        val before = thermal(record.thermalBefore)
        val after = thermal(record.thermalAfter)
        if (before == null || after == null || before == after) return after ?: before
        return context.getString(R.string.thermal_change, before, after)
    }

    private fun thermal(status: Int?): String? =
        status?.let { context.resources.getStringArray(R.array.thermal_status).getOrNull(it) }

    private fun figure(label: Int, seconds: Spread, vararg of: Any) = Figure(
        context.getString(label, *of),
        time(seconds.median, seconds.median),
        if (seconds.least == seconds.most) {
            ""
        } else {
            context.getString(
                R.string.figure_range,
                number(seconds.least, seconds.median),
                number(seconds.most, seconds.median),
            )
        },
    )

    private fun plain(label: Int, value: String?) =
        Figure(context.getString(label), value ?: context.getString(R.string.unknown))

    private fun range(pattern: String, spread: Spread) = if (spread.least == spread.most) {
        ""
    } else {
        context.getString(
            R.string.figure_range,
            format(pattern, spread.least),
            format(pattern, spread.most),
        )
    }

    /** Seconds, in the unit that suits [scale]. */
    private fun time(seconds: Double, scale: Double) =
        context.getString(
            if (scale < 1) R.string.milliseconds else R.string.seconds,
            number(seconds, scale),
        )

    private fun number(seconds: Double, scale: Double) = when {
        scale < MILLISECONDS_BELOW -> format("%.1f", seconds * MILLI)
        scale < 1 -> format("%.0f", seconds * MILLI)
        else -> format("%.2f", seconds)
    }

    private fun format(pattern: String, value: Double) =
        String.format(Locale.getDefault(), pattern, value)

    private companion object {
        const val MILLI = 1e3
        const val MILLISECONDS_BELOW = 0.1
        const val BYTES_PER_MB = 1e6
    }
}
