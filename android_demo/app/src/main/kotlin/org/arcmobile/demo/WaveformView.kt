package org.arcmobile.demo

import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.os.Bundle
import android.util.AttributeSet
import android.view.KeyEvent
import android.view.MotionEvent
import android.view.View
import android.view.ViewConfiguration
import android.view.accessibility.AccessibilityNodeInfo
import android.view.accessibility.AccessibilityNodeInfo.AccessibilityAction
import android.view.accessibility.AccessibilityNodeInfo.RangeInfo
import java.util.Locale
import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min

/**
 * Draws a sound as far as it is made, lowest to highest sample of each bar's time, and where it is
 * being played. Time runs from left to right in every language. Tap, drag, arrow keys and screen
 * readers move the place.
 */
internal class WaveformView(context: Context, attributes: AttributeSet?) :
    View(context, attributes) {
    /** Called with the frame that the user wants to hear next. */
    var onSeek: (frame: Int) -> Unit = {}

    private var sound: Sound? = null
    private var made = Sound.Made(0, ended = true)
    private var frame = 0
    private var bars = FloatArray(0)
    private var dragging = false
    private var downX = 0f

    private val barWidth = resources.getDimension(R.dimen.wave_bar)
    private val pitch = barWidth + resources.getDimension(R.dimen.wave_gap)
    private val headWidth = resources.getDimension(R.dimen.wave_head)
    private val slop = ViewConfiguration.get(context).scaledTouchSlop
    private val toCome = paint(R.color.wave_to_come)
    private val unplayed = paint(R.color.wave_made)
    private val played = paint(R.color.accent)
    private val head = paint(R.color.ink).apply { strokeWidth = headWidth }

    init {
        isFocusable = true
        isClickable = true
        describe()
    }

    /** Shows [sound] and the place [frame] in it; null: no sound yet. */
    fun show(sound: Sound?, frame: Int) {
        val made = sound?.made?.value ?: Sound.Made(0, ended = true)
        val grown = sound !== this.sound || made != this.made
        if (!grown && frame == this.frame) return
        this.sound = sound
        this.made = made
        this.frame = frame
        if (grown) measureBars()
        describe()
        invalidate()
    }

    override fun onSizeChanged(width: Int, height: Int, oldWidth: Int, oldHeight: Int) {
        super.onSizeChanged(width, height, oldWidth, oldHeight)
        measureBars()
    }

    private fun measureBars() {
        bars = sound?.peaks?.columns(barCount, length) ?: FloatArray(0)
    }

    private val barCount: Int get() = max(1, ((width - paddingLeft - paddingRight) / pitch).toInt())
    private val length: Int get() = max(1, sound?.frames ?: 1)

    override fun onDraw(canvas: Canvas) {
        super.onDraw(canvas)
        val middle = height / 2f
        val reach = middle - barWidth
        val place = paddingLeft + frame.toFloat() / length * (barCount * pitch)
        for (bar in 0 until barCount) {
            val x = paddingLeft + bar * pitch + barWidth / 2
            val known = 2 * bar < bars.size
            // A silent bar, and one that is still to come, is a dot.
            val low = if (known) bars[2 * bar].coerceIn(-1f, 1f) else 0f
            val high = if (known) bars[2 * bar + 1].coerceIn(-1f, 1f) else 0f
            val paint = if (!known) toCome else if (x < place) played else unplayed
            canvas.drawLine(x, middle - high * reach, x, middle - low * reach + DOT, paint)
        }
        if (made.frames == 0) return
        val x = place.coerceIn(headWidth, max(headWidth, width - headWidth))
        canvas.drawLine(x, headWidth, x, height - headWidth, head)
    }

    override fun onTouchEvent(event: MotionEvent): Boolean {
        if (!isEnabled || made.frames == 0) return super.onTouchEvent(event)
        when (event.actionMasked) {
            MotionEvent.ACTION_DOWN -> {
                downX = event.x
                dragging = false
            }
            MotionEvent.ACTION_MOVE -> {
                if (!dragging && abs(event.x - downX) > slop) {
                    dragging = true
                    parent?.requestDisallowInterceptTouchEvent(true)
                }
                if (dragging) seekTo(event.x)
            }
            MotionEvent.ACTION_UP -> {
                seekTo(event.x)
                dragging = false
                performClick()
            }
            MotionEvent.ACTION_CANCEL -> dragging = false
        }
        return true
    }

    override fun performClick(): Boolean {
        super.performClick()
        return true
    }

    private fun seekTo(x: Float) {
        val part = (x - paddingLeft) / (barCount * pitch)
        seek((part * length).toInt())
    }

    private fun seek(frame: Int) = onSeek(frame.coerceIn(0, made.frames))

    override fun onKeyDown(keyCode: Int, event: KeyEvent): Boolean = when (keyCode) {
        KeyEvent.KEYCODE_DPAD_LEFT -> skip(-1)
        KeyEvent.KEYCODE_DPAD_RIGHT -> skip(1)
        else -> super.onKeyDown(keyCode, event)
    }

    /** Moves the place by [parts] of the sound; false if there is nowhere to go. */
    private fun skip(parts: Int): Boolean {
        val to = (frame + parts * length / SKIPS).coerceIn(0, made.frames)
        if (to == frame) return false
        seek(to)
        return true
    }

    override fun getAccessibilityClassName(): CharSequence = "android.widget.SeekBar"

    @Suppress("DEPRECATION") // RangeInfo(), its successor, came with Android 11
    override fun onInitializeAccessibilityNodeInfo(info: AccessibilityNodeInfo) {
        super.onInitializeAccessibilityNodeInfo(info)
        if (made.frames == 0) return
        val rate = sound?.sampleRate ?: 1
        info.rangeInfo = RangeInfo.obtain(
            RangeInfo.RANGE_TYPE_FLOAT,
            0f,
            made.frames.toFloat() / rate,
            frame.toFloat() / rate,
        )
        info.addAction(AccessibilityAction.ACTION_SET_PROGRESS)
        info.addAction(AccessibilityAction.ACTION_SCROLL_FORWARD)
        info.addAction(AccessibilityAction.ACTION_SCROLL_BACKWARD)
    }

    override fun performAccessibilityAction(action: Int, arguments: Bundle?): Boolean =
        when (action) {
            AccessibilityNodeInfo.ACTION_SCROLL_FORWARD -> skip(1)
            AccessibilityNodeInfo.ACTION_SCROLL_BACKWARD -> skip(-1)
            AccessibilityAction.ACTION_SET_PROGRESS.id -> {
                val seconds = arguments
                    ?.getFloat(AccessibilityNodeInfo.ACTION_ARGUMENT_PROGRESS_VALUE)
                    ?: return false
                seek((seconds * (sound?.sampleRate ?: 0)).toInt())
                true
            }
            else -> super.performAccessibilityAction(action, arguments)
        }

    private fun describe() {
        val sound = sound
        contentDescription = if (sound == null || made.frames == 0) {
            context.getString(R.string.waveform_empty)
        } else {
            context.getString(
                R.string.waveform_made,
                tenths(made.frames, sound),
                tenths(length, sound),
                // Whole seconds: a screen reader announces every change.
                (min(frame, made.frames) / sound.sampleRate).toString(),
            )
        }
    }

    private fun tenths(frames: Int, sound: Sound) =
        String.format(Locale.getDefault(), "%.1f", frames.toDouble() / sound.sampleRate)

    private fun paint(color: Int) = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        this.color = context.getColor(color)
        strokeWidth = barWidth
        strokeCap = Paint.Cap.ROUND
    }

    private companion object {
        /** A line of no length is not drawn. */
        const val DOT = 0.01f

        /** Steps of arrow keys and screen readers from end to end. */
        const val SKIPS = 20
    }
}
