package org.arcmobile.demo

import android.os.Build
import android.view.View
import android.widget.SeekBar
import android.widget.TextView

/**
 * A labelled slider of whole numbers, laid out in `part_slider.xml`.
 *
 * @param shown gives a position as text, [spoken] as a screen reader says it.
 */
internal class Slider(
    root: View,
    label: String,
    private val shown: (Int) -> String,
    private val spoken: (Int) -> String = shown,
) {
    private val bar = root.findViewById<SeekBar>(R.id.slider_bar)
    private val value = root.findViewById<TextView>(R.id.slider_value)

    init {
        root.findViewById<TextView>(R.id.slider_label).text = label
        bar.contentDescription = label
        bar.setOnSeekBarChangeListener(
            object : SeekBar.OnSeekBarChangeListener {
                override fun onProgressChanged(bar: SeekBar, progress: Int, byUser: Boolean) =
                    tell()

                override fun onStartTrackingTouch(bar: SeekBar) = Unit

                override fun onStopTrackingTouch(bar: SeekBar) = Unit
            },
        )
        tell()
    }

    var position: Int
        get() = bar.progress
        set(value) {
            bar.progress = value
            tell()
        }

    /** Sets the range, and the position within it. */
    fun range(least: Int, most: Int, position: Int) {
        bar.min = least
        bar.max = most
        this.position = position.coerceIn(least, most)
    }

    private fun tell() {
        value.text = shown(bar.progress)
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) {
            bar.stateDescription = spoken(bar.progress)
        }
    }
}
