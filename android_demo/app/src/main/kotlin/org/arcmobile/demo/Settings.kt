package org.arcmobile.demo

import android.content.SharedPreferences

/** What the app remembers from one start to the next. Null: nothing was chosen. */
internal class Settings(private val preferences: SharedPreferences) {
    var prompt: String
        get() = text(PROMPT).orEmpty()
        set(value) = put(PROMPT, value)

    var seconds: Double?
        get() = text(SECONDS)?.toDoubleOrNull()
        set(value) = put(SECONDS, value?.toString())

    var steps: Int?
        get() = text(STEPS)?.toIntOrNull()
        set(value) = put(STEPS, value?.toString())

    /** What stands in the seed field; empty: a new seed each time. */
    var seed: String
        get() = text(SEED).orEmpty()
        set(value) = put(SEED, value)

    /** The seed of the last sound. */
    var seedUsed: ULong?
        get() = text(SEED_USED)?.toULongOrNull()
        set(value) = put(SEED_USED, value?.toString())

    var playWhileMade: Boolean
        get() = text(PLAY_WHILE_MADE)?.toBooleanStrictOrNull() ?: true
        set(value) = put(PLAY_WHILE_MADE, value.toString())

    /** [BundleEntry.id] of the chosen bundle. */
    var bundle: String?
        get() = text(BUNDLE)
        set(value) = put(BUNDLE, value)

    /** Name of the last sound's file. */
    var sound: String?
        get() = text(SOUND)
        set(value) = put(SOUND, value)

    private fun text(key: String): String? = preferences.getString(key, null)

    private fun put(key: String, value: String?) =
        preferences.edit().putString(key, value).apply()

    private companion object {
        const val PROMPT = "prompt"
        const val SECONDS = "seconds"
        const val STEPS = "steps"
        const val SEED = "seed"
        const val SEED_USED = "seed_used"
        const val PLAY_WHILE_MADE = "play_while_made"
        const val BUNDLE = "bundle"
        const val SOUND = "sound"
    }
}
