package org.arcmobile.demo

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.view.View
import android.view.ViewGroup
import android.widget.Button
import android.widget.ImageButton
import android.widget.ProgressBar
import android.widget.TextView
import java.util.Locale
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.combine
import kotlinx.coroutines.launch

/** Runs the benchmark of the chosen bundle and shows its figures. */
internal class BenchmarkActivity : Activity() {
    private lateinit var repeats: Slider
    private lateinit var threads: ViewGroup
    private lateinit var error: Banner
    private var shown: CoroutineScope? = null

    /** Null: as many as the engine takes. */
    private var chosenThreads: Int? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_benchmark)
        val benchmark = demo.benchmark
        findViewById<TextView>(R.id.title).setText(R.string.benchmark_title)
        findViewById<View>(R.id.back).setOnClickListener { finish() }
        error = Banner(findViewById(R.id.error), Banner.Kind.ERROR, benchmark::dismissError)
        repeats = Slider(
            findViewById(R.id.repeats),
            getString(R.string.benchmark_repeats),
            shown = { it.toString() },
            spoken = { resources.getQuantityString(R.plurals.run_count, it, it) },
        )
        repeats.range(1, MOST_REPEATS, savedInstanceState?.getInt(REPEATS) ?: DEFAULT_REPEATS)
        chosenThreads = savedInstanceState?.getInt(THREADS)?.takeIf { it > 0 }
        threads = findViewById(R.id.threads)
        fillThreads()
        findViewById<View>(R.id.run).setOnClickListener {
            if (benchmark.state.value.running != null) {
                benchmark.cancel()
            } else {
                benchmark.run(repeats.position, chosenThreads)
            }
        }
        findViewById<View>(R.id.share).setOnClickListener { share() }
        drawEdgeToEdge(findViewById(R.id.top), findViewById(R.id.bottom))
    }

    override fun onStart() {
        super.onStart()
        val app = demo
        shown = MainScope().apply {
            launch {
                combine(app.benchmark.state, app.library.state, ::Pair)
                    .collect { (benchmark, library) -> render(benchmark, library) }
            }
        }
    }

    override fun onStop() {
        shown?.cancel()
        super.onStop()
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        outState.putInt(REPEATS, repeats.position)
        outState.putInt(THREADS, chosenThreads ?: 0)
    }

    private fun fillThreads() {
        val counts = listOf(null) + THREAD_COUNTS.filter { it <= demo.device.cores }
        for (count in counts) {
            val chip = layoutInflater.inflate(R.layout.item_chip, threads, false) as Button
            chip.text = count?.toString() ?: getString(R.string.threads_default)
            chip.contentDescription = getString(R.string.threads_spoken, chip.text)
            chip.tag = count
            chip.isSelected = count == chosenThreads
            chip.setOnClickListener {
                chosenThreads = count
                for (index in 0 until threads.childCount) {
                    threads.getChildAt(index).run { isSelected = tag == count }
                }
            }
            threads.addView(chip)
        }
    }

    private fun render(state: BenchmarkState, library: LibraryState) {
        error.show(state.error)
        renderRunning(state.running)
        findViewById<View>(R.id.share).isEnabled = state.record != null
        findViewById<TextView>(R.id.request).text = library.chosen?.facts?.let {
            getString(
                R.string.benchmark_request,
                getString(R.string.bundle_summary, it.model, it.recipe, it.backend),
                format("%.1f", it.longestSeconds),
                resources.getQuantityString(R.plurals.step_count, it.defaultSteps, it.defaultSteps),
            )
        } ?: getString(R.string.no_bundle)
        val record = state.record
        val none = if (record == null) View.VISIBLE else View.GONE
        findViewById<View>(R.id.none).visibility = none
        for (id in listOf(R.id.time_title, R.id.time_figures)) {
            findViewById<View>(id).visibility = if (record == null) View.GONE else View.VISIBLE
        }
        val texts = FigureTexts(this)
        fill(findViewById(R.id.time_figures), record?.let(texts::time).orEmpty())
        fill(
            findViewById(R.id.device_figures),
            texts.device(record?.device ?: DeviceFacts.of(demo.device)) +
                texts.conditions(record, demo.device.thermalStatus),
        )
    }

    private fun renderRunning(running: BenchmarkState.Running?) {
        findViewById<View>(R.id.root).keepScreenOn = running != null
        findViewById<View>(R.id.running).visibility =
            if (running == null) View.GONE else View.VISIBLE
        findViewById<Button>(R.id.run).apply {
            setText(if (running == null) R.string.benchmark_run else R.string.cancel)
            isEnabled = running?.stopping != true
        }
        if (running == null) return
        val run = when {
            running.stopping -> getString(R.string.stopping)
            running.run == 0 -> getString(R.string.benchmark_warm_up)
            else -> getString(R.string.benchmark_progress, running.run, running.repeats)
        }
        val stage = running.progress?.let { stageText(this, it) }
        findViewById<TextView>(R.id.status).text = listOfNotNull(run, stage).joinToString(" · ")
        findViewById<ProgressBar>(R.id.progress).apply {
            max = running.repeats + 1
            progress = running.run
        }
    }

    /** Shows [figures], with the rows that are there already. */
    private fun fill(rows: ViewGroup, figures: List<Figure>) {
        while (rows.childCount > figures.size) rows.removeViewAt(rows.childCount - 1)
        figures.forEachIndexed { index, figure ->
            val row = rows.getChildAt(index)
                ?: layoutInflater.inflate(R.layout.item_figure, rows, false).also(rows::addView)
            row.findViewById<TextView>(R.id.figure_label).text = figure.label
            row.findViewById<TextView>(R.id.figure_value).text = figure.value
            row.findViewById<TextView>(R.id.figure_range).text = figure.range
            row.contentDescription = getString(R.string.figure_spoken, figure.label, figure.value)
        }
    }

    private fun share() {
        val record = demo.benchmark.state.value.record ?: return
        val send = Intent(Intent.ACTION_SEND)
            .setType("text/plain")
            .putExtra(Intent.EXTRA_TEXT, record.toJson())
        startActivity(Intent.createChooser(send, getString(R.string.benchmark_share)))
    }

    private fun format(pattern: String, value: Double) =
        String.format(Locale.getDefault(), pattern, value)

    private companion object {
        const val REPEATS = "repeats"
        const val THREADS = "threads"
        const val DEFAULT_REPEATS = 3
        const val MOST_REPEATS = 10
        val THREAD_COUNTS = listOf(1, 2, 3, 4, 6, 8)
    }
}
