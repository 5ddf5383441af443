package org.arcmobile.demo

import android.app.Activity
import android.text.Editable
import android.text.TextWatcher
import android.view.View
import android.view.ViewGroup
import android.view.inputmethod.InputMethodManager
import android.widget.Button
import android.widget.EditText
import android.widget.Switch
import android.widget.TextView
import java.util.Locale
import kotlin.math.ceil
import kotlin.math.min
import kotlin.math.roundToInt
import kotlin.random.Random
import org.arcmobile.GenerationRequest

/** What to make: prompt, length, steps and seed, laid out in `part_request.xml`. */
internal class RequestForm(private val activity: Activity, private val settings: Settings) {
    private val prompt = activity.findViewById<EditText>(R.id.prompt)
    private val seed = activity.findViewById<EditText>(R.id.seed)
    private val seedUsed = activity.findViewById<TextView>(R.id.seed_used)
    private val playWhileMade = activity.findViewById<Switch>(R.id.play_while_made)
    private var longest = Double.NaN
    private var bundle: BundleFacts? = null
    private var lastUsed: ULong? = null

    private val length = Slider(
        activity.findViewById(R.id.length),
        activity.getString(R.string.length_label),
        shown = { activity.getString(R.string.seconds, text(seconds(it))) },
        spoken = { activity.getString(R.string.seconds_spoken, text(seconds(it))) },
    )
    private val steps = Slider(
        activity.findViewById(R.id.steps),
        activity.getString(R.string.steps_label),
        shown = { it.toString() },
        spoken = { activity.resources.getQuantityString(R.plurals.step_count, it, it) },
    )

    init {
        prompt.setText(settings.prompt)
        seed.setText(settings.seed)
        playWhileMade.isChecked = settings.playWhileMade
        playWhileMade.setOnCheckedChangeListener { _, checked -> settings.playWhileMade = checked }
        activity.findViewById<View>(R.id.dice).setOnClickListener {
            showSeed(rollSeed())
        }
        seed.addTextChangedListener(
            object : TextWatcher {
                override fun beforeTextChanged(text: CharSequence, at: Int, old: Int, new: Int) =
                    Unit

                override fun onTextChanged(text: CharSequence, at: Int, old: Int, new: Int) = Unit

                override fun afterTextChanged(text: Editable) = showSeedUsed(lastUsed)
            },
        )
        fillExamples(activity.findViewById(R.id.examples))
        show(bundle = null)
        showSeedUsed(null)
    }

    /** Fits the sliders to what [bundle] can make. */
    fun show(bundle: BundleFacts?) {
        if (bundle == this.bundle && !longest.isNaN()) return
        save()
        this.bundle = bundle
        longest = bundle?.longestSeconds ?: FALLBACK_SECONDS
        val most = ceil(longest * TENTHS).toInt()
        val wanted = settings.seconds?.let { (it * TENTHS).roundToInt() } ?: most
        length.range(min(LEAST_TENTHS, most), most, wanted)
        steps.range(1, MOST_STEPS, settings.steps ?: bundle?.defaultSteps ?: FALLBACK_STEPS)
    }

    /** Offers the seed of the last sound; null: there is none. */
    fun showSeedUsed(used: ULong?) {
        lastUsed = used
        val offered = used?.takeIf { it.toString() != seed.text.toString() }
        seedUsed.visibility = if (offered == null) View.GONE else View.VISIBLE
        if (used == null) return
        seedUsed.text = activity.getString(R.string.seed_used, used.toString())
        seedUsed.contentDescription =
            activity.getString(R.string.seed_use_again, used.toString())
        seedUsed.setOnClickListener { showSeed(used) }
    }

    /** The request as it stands; null, and a hint at the field, if the seed is none. */
    fun request(): GenerationRequest? {
        val given = seed.text.toString()
        val number = given.toULongOrNull()
        if (given.isNotEmpty() && number == null) {
            seed.error = activity.getString(R.string.seed_out_of_range)
            seed.requestFocus()
            return null
        }
        return GenerationRequest(
            prompt = prompt.text.toString().trim(),
            seconds = seconds(length.position),
            steps = steps.position,
            seed = number,
        )
    }

    /** Remembers what was chosen. */
    fun save() {
        settings.prompt = prompt.text.toString()
        settings.seed = seed.text.toString()
        val bundle = bundle ?: return
        settings.seconds = seconds(length.position).takeIf { it < longest }
        settings.steps = steps.position.takeIf { it != bundle.defaultSteps }
    }

    fun hideKeyboard() {
        activity.currentFocus?.clearFocus()
        activity.getSystemService(InputMethodManager::class.java)
            .hideSoftInputFromWindow(prompt.windowToken, 0)
    }

    private fun showSeed(value: ULong) {
        seed.setText(value.toString())
        seed.setSelection(seed.text.length)
        seed.error = null
    }

    private fun fillExamples(row: ViewGroup) {
        for (example in activity.resources.getStringArray(R.array.example_prompts)) {
            activity.layoutInflater.inflate(R.layout.item_chip, row, false).also { chip ->
                (chip as Button).text = example
                chip.setOnClickListener {
                    prompt.setText(example)
                    prompt.setSelection(example.length)
                }
                row.addView(chip)
            }
        }
    }

    /** Seconds at a position of the slider: tenths, but the last one is the longest exactly. */
    private fun seconds(position: Int): Double = min(position / TENTHS, longest)

    private fun text(seconds: Double) = String.format(Locale.getDefault(), "%.1f", seconds)

    private companion object {
        const val TENTHS = 10.0
        const val LEAST_TENTHS = 5
        const val MOST_STEPS = 16

        // Shown while no bundle is chosen.
        const val FALLBACK_SECONDS = 10.0
        const val FALLBACK_STEPS = 8
    }
}

/** A seed that is short enough to pass on. */
internal fun rollSeed(): ULong = Random.nextInt(until = 1_000_000).toULong()
