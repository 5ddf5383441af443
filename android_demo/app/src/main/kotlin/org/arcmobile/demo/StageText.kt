package org.arcmobile.demo

import android.content.Context
import org.arcmobile.GenerationEvent
import org.arcmobile.Stage
import org.arcmobile.demo.SessionState.Phase

/** What a generation is doing, in words. */
internal fun stageText(context: Context, phase: Phase): String = when (phase) {
    Phase.Idle -> ""
    Phase.Opening -> context.getString(R.string.stage_opening)
    Phase.Stopping -> context.getString(R.string.stopping)
    is Phase.Running -> stageText(context, phase.progress)
}

/** The stage's name, and how many of its parts are done where there are several. */
internal fun stageText(context: Context, progress: GenerationEvent.Progress): String {
    val name = when (progress.stage) {
        Stage.LOAD -> context.getString(
            R.string.stage_loading,
            componentText(context, progress.component.orEmpty()),
        )
        Stage.TOKENIZE -> context.getString(R.string.stage_tokenize)
        Stage.CONDITIONER -> context.getString(R.string.stage_conditioner)
        Stage.DIT -> context.getString(R.string.stage_dit)
        Stage.DECODE -> context.getString(R.string.stage_decode)
    }
    if (progress.total <= 1) return name
    return context.getString(R.string.stage_of, name, progress.done, progress.total)
}

/** A component's name for people, e.g. of `decoder_2`. */
internal fun componentText(context: Context, component: String): String = when {
    component == "conditioner" -> context.getString(R.string.component_conditioner)
    component == "dit" -> context.getString(R.string.component_dit)
    component == "decoder" -> context.getString(R.string.component_decoder)
    component.startsWith("decoder_") ->
        context.getString(R.string.component_decoder_part, component.removePrefix("decoder_"))
    else -> component
}
