package org.arcmobile

import java.security.SecureRandom
import kotlin.math.floor
import kotlin.math.round
import org.arcmobile.ArcMobileException.Kind

/**
 * A request with every default filled in and every value in range.
 *
 * @property samples per channel of the result.
 * @property frames of the latent, an exported count.
 * @property framesNeeded latent frames that the result covers.
 * @property times of the sampler, steps + 1 values.
 */
internal class GenerationPlan(
    val prompt: String,
    val samples: Int,
    val frames: Int,
    val framesNeeded: Int,
    val decoder: List<PartPlan>,
    val times: FloatArray,
    val seed: ULong,
    val numbers: Map<String, Float>,
    val warnings: List<String>,
) {
    val steps: Int get() = times.size - 1
}

/** Checks [request] against the manifest and settles its defaults; kind REQUEST if out of range. */
internal fun planGeneration(request: GenerationRequest, manifest: Manifest): GenerationPlan {
    checkText(request.prompt)
    val seconds = request.seconds ?: manifest.longestSeconds
    val samples = sampleCount(seconds, manifest)
    val needed = (samples - 1) / manifest.audio.samplesPerFrame + 1
    val frames = manifest.frameCounts.filter { it >= needed }.min()
    val steps = request.steps ?: manifest.schedule.defaultSteps
    if (steps !in 1..Bounds.STEPS) outOfRange("steps $steps: give 1 to ${Bounds.STEPS}")
    checkNumbers(request, manifest)
    val numbers = manifest.numbers.associate { it.name to numberFor(it, request, seconds) }
    return GenerationPlan(
        prompt = request.prompt,
        samples = samples,
        frames = frames,
        framesNeeded = needed,
        decoder = planDecoder(manifest, frames),
        times = manifest.schedule.times(steps),
        seed = request.seed ?: SecureRandom().nextLong().toULong(),
        numbers = numbers.mapValues { it.value.toFloat() },
        warnings = listOfNotNull(objectiveWarning(manifest, steps)) +
            manifest.numbers.mapNotNull { clampWarning(it, numbers.getValue(it.name)) },
    )
}

/**
 * Samples per channel; the range is checked in whole samples, so that rounding does not matter.
 * Less than a latent frame too much is the longest sound in fewer digits: 11.9 for 11.888.
 */
private fun sampleCount(seconds: Double, manifest: Manifest): Int {
    val rate = manifest.audio.sampleRate
    val samples = if (seconds.isFinite()) round(seconds * rate) else 0.0
    val most = round(manifest.longestSeconds * rate)
    if (samples < 1 || samples >= most + manifest.audio.samplesPerFrame) {
        val upper = floor(manifest.longestSeconds * 1000) / 1000
        outOfRange("seconds ${shown(seconds)}: give more than 0 and at most ${shown(upper)}")
    }
    return minOf(samples, most).toInt()
}

private fun checkNumbers(request: GenerationRequest, manifest: Manifest) {
    val known = manifest.numbers.map { it.name }
    for ((name, value) in request.numbers) {
        if (name !in known) outOfRange("number $name: the model has no such input; known: $known")
        if (!value.isFinite()) outOfRange("number $name: is $value; give a finite value")
    }
}

private fun numberFor(input: NumberInput, request: GenerationRequest, seconds: Double): Double =
    request.numbers[input.name]?.toDouble()
        ?: if (input.name == SECONDS_INPUT) seconds else input.minimum

/** Warns of a flow model: what it gives in few steps is not an error of the bundle. */
private fun objectiveWarning(manifest: Manifest, steps: Int): String? =
    if (manifest.objective != Objective.RECTIFIED_FLOW) {
        null
    } else {
        "a flow model: $steps steps without guidance are not what it was trained for; " +
            "use a model after ARC for few steps"
    }

private fun clampWarning(input: NumberInput, value: Double): String? =
    if (value in input.minimum..input.maximum) {
        null
    } else {
        "${input.name} ${shown(value)} is outside ${shown(input.minimum)} .. " +
            "${shown(input.maximum)}; the model takes the nearest value"
    }

/** A number as a person writes it: `5`, not `5.0`. */
private fun shown(value: Double): String = value.toString().removeSuffix(".0")

private fun outOfRange(message: String): Nothing = throw ArcMobileException(Kind.REQUEST, message)
