package org.arcmobile.demo

import java.io.File
import org.arcmobile.GenerationEvent
import org.arcmobile.GenerationReport

/** A [sound], and its [file] once it is complete. */
internal data class Recording(val sound: Sound, val file: File?)

/**
 * What the generation in progress, or the last one, has come to.
 *
 * @property recording the sound on the screen: the new one as soon as its first samples are there.
 * @property seedUsed of the last sound.
 * @property error why the last generation ended early, for the user.
 */
internal data class SessionState(
    val phase: Phase = Phase.Idle,
    val recording: Recording? = null,
    val report: GenerationReport? = null,
    val seedUsed: ULong? = null,
    val warnings: List<String> = emptyList(),
    val error: String? = null,
) {
    sealed interface Phase {
        data object Idle : Phase

        /** The bundle is being opened. */
        data object Opening : Phase

        data class Running(val progress: GenerationEvent.Progress) : Phase

        /** Cancelled; the call of the engine that is under way must end first. */
        data object Stopping : Phase
    }

    val busy: Boolean get() = phase != Phase.Idle
}
