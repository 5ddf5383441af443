package org.arcmobile

import java.io.File
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers

/**
 * One sound to make.
 *
 * @property prompt text; the empty one is allowed.
 * @property seconds length of the sound, more than 0; null: the longest the bundle can make.
 * @property steps of the sampler, 1 to 64; null: the bundle's default.
 * @property seed the same seed gives the same sound; null: a random one, which is reported.
 * @property numbers values of the model's number inputs by name; those left out are [seconds] for
 *   `seconds_total` and the minimum for any other. Values out of the input's range are clamped by
 *   the model, with a warning.
 */
public data class GenerationRequest(
    val prompt: String,
    val seconds: Double? = null,
    val steps: Int? = null,
    val seed: ULong? = null,
    val numbers: Map<String, Float> = emptyMap(),
)

/**
 * How an [AudioGenerator] works.
 *
 * @property engine options of the engine, e.g. its threads.
 * @property keepLoaded keeps every program in memory after its first use: the next sound starts
 *   without loading, at the price of memory for all programs at once. By default a program is
 *   loaded when its turn comes and freed after it.
 * @property dispatcher where generations run. Calls of the engine block its thread for seconds.
 * @property verifiedCache folder where it is remembered which files had the right sha256, so that
 *   they are not read again, e.g. an app's cache folder; null: only in memory.
 */
public data class GeneratorOptions(
    val engine: EngineOptions = EngineOptions(),
    val keepLoaded: Boolean = false,
    val dispatcher: CoroutineDispatcher = Dispatchers.Default,
    val verifiedCache: File? = null,
)
