package org.arcmobile.demo

import android.app.Activity
import android.os.Build
import android.view.View
import android.view.WindowInsets

/** Distances to keep from the window's edges in pixels, and whether the keyboard is one of them. */
private class Edges(
    val left: Int,
    val top: Int,
    val right: Int,
    val bottom: Int,
    val keyboard: Boolean,
)

/**
 * Draws behind the system's bars, and keeps what is in [top] and [bottom] clear of them, of
 * cutouts and of the keyboard. [sides] gives how each takes its part: what lies above the other
 * ([stacked]) or beside it. [onKeyboard] is called when the keyboard appears or disappears.
 */
internal fun Activity.drawEdgeToEdge(
    top: View,
    bottom: View,
    stacked: Boolean = true,
    onKeyboard: (shown: Boolean) -> Unit = {},
) {
    val root = top.parent as View
    layOutBehindBars()
    root.setOnApplyWindowInsetsListener { _, insets ->
        val edges = edges(insets)
        if (stacked) {
            root.setPadding(edges.left, edges.top, edges.right, 0)
            bottom.setPadding(0, 0, 0, edges.bottom)
        } else {
            val startIsLeft = root.layoutDirection == View.LAYOUT_DIRECTION_LTR
            val (left, right) = if (startIsLeft) top to bottom else bottom to top
            left.setPadding(edges.left, edges.top, 0, edges.bottom)
            right.setPadding(0, edges.top, edges.right, edges.bottom)
        }
        onKeyboard(edges.keyboard)
        insets
    }
}

private fun Activity.layOutBehindBars() {
    if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) {
        window.setDecorFitsSystemWindows(false)
    } else {
        @Suppress("DEPRECATION")
        window.decorView.systemUiVisibility = window.decorView.systemUiVisibility or
            View.SYSTEM_UI_FLAG_LAYOUT_STABLE or
            View.SYSTEM_UI_FLAG_LAYOUT_FULLSCREEN or
            View.SYSTEM_UI_FLAG_LAYOUT_HIDE_NAVIGATION
    }
}

private fun Activity.edges(insets: WindowInsets): Edges =
    if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) {
        val keyboard = WindowInsets.Type.ime()
        val bars = WindowInsets.Type.systemBars() or WindowInsets.Type.displayCutout()
        insets.getInsets(bars or keyboard).run {
            Edges(left, top, right, bottom, insets.isVisible(keyboard))
        }
    } else {
        @Suppress("DEPRECATION")
        insets.run {
            val bottom = systemWindowInsetBottom
            Edges(
                systemWindowInsetLeft,
                systemWindowInsetTop,
                systemWindowInsetRight,
                bottom,
                keyboard = bottom > KEYBOARD_DP * resources.displayMetrics.density,
            )
        }
    }

/** Before Android 11 a bottom edge beyond this is taken for the keyboard. */
private const val KEYBOARD_DP = 120
