package org.arcmobile.demo

import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.ClipData
import android.content.Intent
import android.content.res.Configuration
import android.net.Uri
import android.os.Bundle
import android.view.View
import android.widget.TextView
import android.widget.Toast
import java.io.File
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.combine
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/** Prompt to sound on one screen. It shows states that the application holds, and has none. */
internal class MainActivity : Activity() {
    private lateinit var form: RequestForm
    private lateinit var panel: SoundPanel
    private lateinit var bundle: TextView
    private var shown: CoroutineScope? = null

    /** Path of the sound that is being saved while another app asks where. */
    private var saving: String? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_main)
        val app = demo
        form = RequestForm(this, app.settings)
        panel = SoundPanel(this, app)
        bundle = findViewById(R.id.bundle)
        saving = savedInstanceState?.getString(SAVING)

        bundle.setOnClickListener { startActivity(Intent(this, BundlesActivity::class.java)) }
        findViewById<View>(R.id.benchmark).setOnClickListener {
            startActivity(Intent(this, BenchmarkActivity::class.java))
        }
        panel.onGenerate = ::generate
        panel.onSave = ::chooseWhereToSave
        panel.onShare = ::share
        val portrait = resources.configuration.orientation != Configuration.ORIENTATION_LANDSCAPE
        drawEdgeToEdge(
            findViewById(R.id.top),
            findViewById(R.id.bottom),
            stacked = portrait,
            onKeyboard = { panel.shrink(it && portrait) },
        )
    }

    override fun onStart() {
        super.onStart()
        val app = demo
        shown = MainScope().apply {
            launch {
                combine(app.session.state, app.library.state, app.player.state, ::Triple)
                    .collect { (session, library, player) -> render(session, library, player) }
            }
        }
    }

    override fun onPause() {
        form.save()
        super.onPause()
    }

    override fun onStop() {
        shown?.cancel()
        // Leaving the screen leaves the sound; turning the phone does not.
        if (!isChangingConfigurations) demo.player.stop()
        super.onStop()
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        outState.putString(SAVING, saving)
    }

    private fun render(session: SessionState, library: LibraryState, player: PlayerState) {
        form.show(library.chosen?.facts)
        form.showSeedUsed(session.seedUsed)
        panel.render(session, library, player)
        val text = library.chosen?.facts?.let {
            getString(R.string.bundle_summary, it.model, it.recipe, it.backend)
        }
        bundle.text = text ?: getString(
            if (library.looked) R.string.no_bundle else R.string.preparing_bundles,
        )
        bundle.contentDescription = getString(R.string.bundle_change, bundle.text)
    }

    private fun generate() {
        form.hideKeyboard()
        form.save()
        form.request()?.let(demo.session::generate)
    }

    private fun chooseWhereToSave() {
        val file = demo.session.state.value.recording?.file ?: return
        saving = file.path
        val ask = Intent(Intent.ACTION_CREATE_DOCUMENT)
            .addCategory(Intent.CATEGORY_OPENABLE)
            .setType(SoundProvider.MIME)
            .putExtra(Intent.EXTRA_TITLE, file.name)
        try {
            startActivityForResult(ask, SAVE)
        } catch (_: ActivityNotFoundException) {
            demo.session.showError(getString(R.string.error_no_viewer))
        }
    }

    public override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        super.onActivityResult(requestCode, resultCode, data)
        val path = saving
        val uri = data?.data
        if (requestCode != SAVE) return
        saving = null
        if (resultCode == RESULT_OK && path != null && uri != null) save(File(path), uri)
    }

    private fun save(file: File, uri: Uri) {
        val app = demo
        app.scope.launch {
            val failure = app.failures.of {
                withContext(Dispatchers.IO) { app.documents.save(file, uri) }
                Toast.makeText(app, R.string.saved, Toast.LENGTH_SHORT).show()
            }
            failure?.let(app.session::showError)
        }
    }

    private fun share() {
        val file = demo.session.state.value.recording?.file ?: return
        val uri = SoundProvider.uri(file)
        val send = Intent(Intent.ACTION_SEND)
            .setType(SoundProvider.MIME)
            .putExtra(Intent.EXTRA_STREAM, uri)
            .addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION)
        // The chooser passes the right to read on to the app that is chosen only from here.
        send.clipData = ClipData.newRawUri(file.name, uri)
        startActivity(Intent.createChooser(send, getString(R.string.share_sound)))
    }

    private companion object {
        const val SAVE = 1
        const val SAVING = "saving"
    }
}
