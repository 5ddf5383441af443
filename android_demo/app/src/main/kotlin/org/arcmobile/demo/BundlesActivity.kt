package org.arcmobile.demo

import android.app.Activity
import android.app.AlertDialog
import android.content.ActivityNotFoundException
import android.content.ClipData
import android.content.ClipboardManager
import android.content.Intent
import android.os.Bundle
import android.view.View
import android.view.ViewGroup
import android.widget.ImageView
import android.widget.ProgressBar
import android.widget.TextView
import android.widget.Toast
import java.util.Locale
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import org.arcmobile.demo.LibraryState.Task

/** Lists the bundles on this device, chooses one, imports and deletes. */
internal class BundlesActivity : Activity() {
    private lateinit var error: Banner
    private lateinit var list: ViewGroup
    private var shown: CoroutineScope? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_bundles)
        val library = demo.library
        findViewById<TextView>(R.id.title).setText(R.string.bundles_title)
        findViewById<View>(R.id.back).setOnClickListener { finish() }
        list = findViewById(R.id.list)
        error = Banner(findViewById(R.id.error), Banner.Kind.ERROR, library::dismissError)
        findViewById<View>(R.id.import_zip).setOnClickListener { chooseZip() }
        findViewById<View>(R.id.look_again).setOnClickListener { library.start() }
        findViewById<View>(R.id.work_cancel).setOnClickListener { library.cancelWork() }
        findViewById<View>(R.id.copy_command).setOnClickListener { copyCommand() }
        drawEdgeToEdge(findViewById(R.id.top), findViewById(R.id.bottom))
        if (savedInstanceState == null) library.refresh()
    }

    override fun onStart() {
        super.onStart()
        shown = MainScope().apply {
            launch { demo.library.state.collect(::render) }
        }
    }

    override fun onStop() {
        shown?.cancel()
        super.onStop()
    }

    private fun render(state: LibraryState) {
        error.show(state.error)
        renderWork(state.work)
        val empty = state.looked && state.bundles.isEmpty()
        findViewById<View>(R.id.empty).visibility = if (empty) View.VISIBLE else View.GONE
        while (list.childCount > state.bundles.size) list.removeViewAt(list.childCount - 1)
        state.bundles.forEachIndexed { index, entry ->
            val card = list.getChildAt(index)
                ?: layoutInflater.inflate(R.layout.item_bundle, list, false).also(list::addView)
            renderCard(card, entry, chosen = entry.id == state.chosen?.id)
        }
    }

    private fun renderCard(card: View, entry: BundleEntry, chosen: Boolean) {
        val facts = entry.facts
        val about = facts?.let(::describe) ?: demo.failures.shortened(entry.problem.orEmpty())
        val title = facts?.model ?: entry.folder.name
        val origin = getString(
            when (entry.origin) {
                Origin.PACKED -> R.string.origin_packed
                Origin.IMPORTED -> R.string.origin_imported
                Origin.PUSHED -> R.string.origin_pushed
            },
            entry.folder.name,
        )
        val use = getString(
            when {
                facts == null -> R.string.bundle_broken
                chosen -> R.string.bundle_in_use
                else -> R.string.bundle_ready
            },
        )
        card.findViewById<ImageView>(R.id.item_mark).apply {
            setImageResource(
                when {
                    facts == null -> R.drawable.ic_warning
                    chosen -> R.drawable.ic_chosen
                    else -> R.drawable.ic_unchosen
                },
            )
            setColorFilter(getColor(if (facts == null) R.color.error_ink else R.color.accent))
        }
        card.findViewById<TextView>(R.id.item_title).text = title
        card.findViewById<TextView>(R.id.item_facts).text = about
        card.findViewById<TextView>(R.id.item_origin).text =
            getString(R.string.bundle_facts, origin, use)
        card.isSelected = chosen
        card.isEnabled = facts != null
        card.contentDescription = listOf(
            title,
            about,
            origin,
            use,
        ).joinToString(". ")
        card.setOnClickListener { demo.library.choose(entry) }
        card.findViewById<View>(R.id.item_delete).apply {
            visibility = if (entry.origin == Origin.PACKED) View.GONE else View.VISIBLE
            contentDescription = getString(R.string.bundle_delete, title)
            setOnClickListener { askToDelete(entry, title) }
        }
    }

    private fun describe(facts: BundleFacts): String = listOfNotNull(
        getString(R.string.bundle_recipe, facts.recipe, facts.runtime),
        getString(
            R.string.bundle_size,
            demo.device.size(facts.bytes),
            String.format(Locale.getDefault(), "%.1f", facts.longestSeconds),
        ),
        if (facts.isFlowModel) getString(R.string.bundle_flow_model) else null,
    ).joinToString("\n")

    private fun renderWork(work: LibraryState.Work?) {
        findViewById<View>(R.id.work).visibility = if (work == null) View.GONE else View.VISIBLE
        findViewById<View>(R.id.import_zip).isEnabled = work == null
        if (work == null) return
        val text = when (work.task) {
            Task.COPY -> R.string.copying
            Task.IMPORT -> R.string.importing
            Task.CHECK -> R.string.checking
        }
        findViewById<TextView>(R.id.work_text).text = getString(text, work.name)
        findViewById<ProgressBar>(R.id.work_progress).apply {
            isIndeterminate = work.fraction == null
            progress = ((work.fraction ?: 0f) * max).toInt()
        }
    }

    private fun askToDelete(entry: BundleEntry, title: String) {
        val bytes = entry.folder.listFiles().orEmpty().sumOf { it.length() }
        AlertDialog.Builder(this)
            .setTitle(getString(R.string.bundle_delete_title, title))
            .setMessage(getString(R.string.bundle_delete_text, demo.device.size(bytes)))
            .setPositiveButton(R.string.delete) { _, _ -> demo.library.delete(entry) }
            .setNegativeButton(R.string.keep, null)
            .show()
    }

    private fun chooseZip() {
        val ask = Intent(Intent.ACTION_OPEN_DOCUMENT)
            .addCategory(Intent.CATEGORY_OPENABLE)
            .setType("*/*") // not every file manager knows a zip by its type
            .putExtra(Intent.EXTRA_MIME_TYPES, ZIP_TYPES)
        try {
            startActivityForResult(ask, IMPORT)
        } catch (_: ActivityNotFoundException) {
            error.show(getString(R.string.error_no_viewer))
        }
    }

    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        super.onActivityResult(requestCode, resultCode, data)
        val uri = data?.data
        if (requestCode == IMPORT && resultCode == RESULT_OK && uri != null) {
            demo.library.import(uri)
        }
    }

    private fun copyCommand() {
        getSystemService(ClipboardManager::class.java).setPrimaryClip(
            ClipData.newPlainText(
                getString(R.string.push_hint),
                getString(R.string.push_command),
            ),
        )
        Toast.makeText(this, R.string.copied, Toast.LENGTH_SHORT).show()
    }

    private companion object {
        const val IMPORT = 1
        val ZIP_TYPES = arrayOf(
            "application/zip",
            "application/x-zip-compressed",
            "application/octet-stream",
        )
    }
}
