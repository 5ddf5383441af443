package org.arcmobile.demo

import android.content.res.ColorStateList
import android.view.View
import android.widget.ImageButton
import android.widget.TextView

/** An inline message that stays until it is dismissed or over, laid out in `part_banner.xml`. */
internal class Banner(private val root: View, kind: Kind, onDismiss: () -> Unit) {
    enum class Kind(val ground: Int, val ink: Int) {
        ERROR(R.drawable.error_ground, R.color.error_ink),
        WARNING(R.drawable.warning_ground, R.color.warning_ink),
    }

    private val text = root.findViewById<TextView>(R.id.banner_text)

    init {
        val ink = root.context.getColor(kind.ink)
        root.setBackgroundResource(kind.ground)
        text.setTextColor(ink)
        root.findViewById<ImageButton>(R.id.banner_dismiss).apply {
            imageTintList = ColorStateList.valueOf(ink)
            setOnClickListener { onDismiss() }
        }
    }

    /** Shows [message]; null or empty: nothing. */
    fun show(message: String?) {
        if (text.text.toString() != message.orEmpty()) text.text = message.orEmpty()
        root.visibility = if (message.isNullOrEmpty()) View.GONE else View.VISIBLE
    }
}
