package org.arcmobile.demo

import android.app.Activity
import android.view.View
import android.widget.Button
import android.widget.ImageButton
import android.widget.ProgressBar
import android.widget.TextView
import java.util.Locale
import org.arcmobile.demo.SessionState.Phase

/** The sound and how it comes about, laid out in `part_sound.xml`. */
internal class SoundPanel(private val activity: Activity, private val app: DemoApplication) {
    private val status = activity.findViewById<TextView>(R.id.status)
    private val progress = activity.findViewById<ProgressBar>(R.id.progress)
    private val waveform = activity.findViewById<WaveformView>(R.id.waveform)
    private val time = activity.findViewById<TextView>(R.id.time)
    private val play = activity.findViewById<ImageButton>(R.id.play)
    private val save = activity.findViewById<ImageButton>(R.id.save)
    private val share = activity.findViewById<ImageButton>(R.id.share)
    private val generate = activity.findViewById<Button>(R.id.generate)
    private val error = Banner(activity.findViewById(R.id.error), Banner.Kind.ERROR) {
        app.session.dismissError()
        app.library.dismissError()
        app.player.dismissProblem()
    }
    private val warning = Banner(activity.findViewById(R.id.warning), Banner.Kind.WARNING) {
        app.session.dismissWarnings()
    }

    /** Called with buttons: to make a sound, to save the one there is, to share it. */
    var onGenerate: () -> Unit = {}
    var onSave: () -> Unit = {}
    var onShare: () -> Unit = {}

    init {
        generate.setOnClickListener {
            if (app.session.state.value.busy) app.session.cancel() else onGenerate()
        }
        save.setOnClickListener { onSave() }
        share.setOnClickListener { onShare() }
        play.setOnClickListener {
            val sound = app.session.state.value.recording?.sound
            when {
                sound == null -> Unit
                isHeard(app.player.state.value, sound) -> app.player.stop()
                else -> app.player.play(sound)
            }
        }
        waveform.onSeek = { frame ->
            app.session.state.value.recording?.let { app.player.seek(it.sound, frame) }
        }
    }

    /** Leaves but the buttons, e.g. while the keyboard needs the room. */
    fun shrink(small: Boolean) {
        activity.findViewById<View>(R.id.sound).visibility = if (small) View.GONE else View.VISIBLE
    }

    fun render(session: SessionState, library: LibraryState, player: PlayerState) {
        val recording = session.recording
        error.show(session.error ?: library.error ?: text(player.problem))
        warning.show(session.warnings.joinToString("\n"))
        renderStatus(session)
        renderButtons(session)
        val sound = recording?.sound
        val heard = sound != null && isHeard(player, sound)
        val frame = if (player.sound === sound) player.frame else 0
        waveform.show(sound, frame)
        waveform.isEnabled = sound != null
        time.text = if (sound == null) "" else times(sound, frame)
        play.isEnabled = sound != null
        play.setImageResource(if (heard) R.drawable.ic_pause else R.drawable.ic_play)
        play.contentDescription = activity.getString(if (heard) R.string.pause else R.string.play)
    }

    private fun renderStatus(session: SessionState) {
        val running = (session.phase as? Phase.Running)?.progress
        val report = session.report
        status.text = when {
            session.busy -> stageText(activity, session.phase)
            report != null -> activity.getString(
                R.string.finished_summary,
                format("%.1f", report.totalSeconds),
                format("%.2f", report.rtf),
            )
            session.recording != null -> activity.getString(R.string.restored)
            else -> activity.getString(R.string.nothing_yet)
        }
        progress.visibility = if (session.busy) View.VISIBLE else View.INVISIBLE
        progress.keepScreenOn = session.busy
        progress.isIndeterminate = running == null
        if (running != null) {
            progress.max = running.total
            progress.progress = running.done
        }
    }

    private fun renderButtons(session: SessionState) {
        val complete = session.recording?.file != null
        save.isEnabled = complete
        share.isEnabled = complete
        generate.isEnabled = session.phase != Phase.Stopping
        generate.setText(
            when (session.phase) {
                Phase.Idle -> R.string.generate
                Phase.Stopping -> R.string.stopping
                else -> R.string.cancel
            },
        )
    }

    private fun isHeard(player: PlayerState, sound: Sound) =
        player.playing && player.sound === sound

    private fun text(problem: PlayerState.Problem?): String? = when (problem) {
        null -> null
        PlayerState.Problem.NoFocus -> activity.getString(R.string.error_audio_focus)
        is PlayerState.Problem.Output ->
            activity.getString(R.string.error_playback, problem.reason)
    }

    private fun times(sound: Sound, frame: Int) = activity.getString(
        R.string.time_of,
        format("%.1f", frame.toDouble() / sound.sampleRate),
        activity.getString(R.string.seconds, format("%.1f", sound.seconds)),
    )

    private fun format(pattern: String, value: Double) =
        String.format(Locale.getDefault(), pattern, value)
}
