package org.arcmobile.demo

import android.app.Activity
import android.content.res.Configuration
import android.content.res.Configuration.UI_MODE_NIGHT_NO
import android.content.res.Configuration.UI_MODE_NIGHT_YES
import android.graphics.Color
import android.graphics.Insets
import android.graphics.Rect
import android.view.View
import android.view.ViewGroup
import android.view.WindowInsets
import android.view.accessibility.AccessibilityNodeInfo
import android.view.accessibility.AccessibilityNodeInfo.AccessibilityAction
import android.widget.TextView
import kotlin.math.max
import kotlin.math.min
import kotlin.math.pow
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertTrue
import org.robolectric.Robolectric
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config

class AccessibilityTest : AppTest() {
    private val screens =
        listOf(MainActivity::class.java, BundlesActivity::class.java, BenchmarkActivity::class.java)

    private fun open(screen: Class<out Activity>): Activity {
        val activity = Robolectric.buildActivity(screen).setup().get()
        awaitBundle()
        await("the layout") { !activity.window.decorView.isLayoutRequested }
        return activity
    }

    private fun name(view: View) =
        if (view.id ushr 24 != 0x7f) "$view" else view.resources.getResourceEntryName(view.id)

    @Test
    fun `whatever can be pressed has a name and is large enough to hit`() {
        push("from-adb")
        for (screen in screens) {
            val root = open(screen).view<View>(R.id.root)
            val touch = root.resources.getDimension(R.dimen.touch)
            val pressed = root.all().filter { it.isClickable && it.isShown }.toList()
            assertTrue(pressed.size > 4)
            for (view in pressed) {
                val says = view.contentDescription
                    ?: (view as? TextView)?.run { text.ifEmpty { hint } }
                assertFalse(says.isNullOrBlank(), "${name(view)} has no name")
                assertTrue(view.height >= touch - 1, "${name(view)} is ${view.height} px high")
                assertTrue(view.width >= touch - 1, "${name(view)} is ${view.width} px wide")
            }
        }
    }

    @Test
    fun `the waveform is a slider to a screen reader`() {
        val waveform = open(MainActivity::class.java).view<WaveformView>(R.id.waveform)
        val sound = Sound(sampleRate = 100, channels = 1, expectedFrames = 1000)
        sound.append(FloatArray(800))
        var frame = 0
        waveform.onSeek = {
            frame = it
            waveform.show(sound, it)
        }
        waveform.show(sound, 0)

        val info = waveform.createAccessibilityNodeInfo()
        assertEquals("android.widget.SeekBar", info.className)
        assertEquals(8f, info.rangeInfo.max)
        assertTrue(AccessibilityAction.ACTION_SET_PROGRESS in info.actionList)
        waveform.performAccessibilityAction(AccessibilityNodeInfo.ACTION_SCROLL_FORWARD, null)
        assertEquals(50, frame)
        waveform.performAccessibilityAction(AccessibilityNodeInfo.ACTION_SCROLL_BACKWARD, null)
        assertEquals(0, frame)
        assertFalse(
            waveform.performAccessibilityAction(AccessibilityNodeInfo.ACTION_SCROLL_BACKWARD, null),
        )
        assertEquals(
            "Waveform, 8.0 of 10.0 seconds generated, playing position 0 seconds",
            waveform.contentDescription,
        )
    }

    @Test
    fun `text can be twice as large`() {
        RuntimeEnvironment.setFontScale(2f)
        for (screen in screens) {
            val root = open(screen).view<View>(R.id.root)
            val texts = root.all().filterIsInstance<TextView>()
                .filter { it.isShown && it.text.isNotEmpty() && it.maxLines != 1 }
            for (view in texts) {
                val lines = view.layout ?: continue
                val padding = view.compoundPaddingTop + view.compoundPaddingBottom
                assertTrue(
                    lines.height + padding <= view.height + 1,
                    "${name(view)} is cut: ${view.text}",
                )
            }
        }
    }

    @Test
    @Config(qualifiers = "w891dp-h411dp-land-xxhdpi")
    fun `lying down, everything can be reached`() {
        val root = open(MainActivity::class.java).view<View>(R.id.root)
        for (id in listOf(R.id.generate, R.id.play, R.id.waveform, R.id.prompt)) {
            val view = root.findViewById<View>(id)
            assertTrue(view.getGlobalVisibleRect(Rect()), name(view))
        }
        assertTrue(root.findViewById<View>(R.id.prompt).width > root.width / 3)
    }

    @Test
    fun `the system's bars and the keyboard cover nothing`() {
        val screen = open(MainActivity::class.java)
        val root = screen.view<View>(R.id.root)
        fun inset(keyboard: Int) {
            root.dispatchApplyWindowInsets(
                WindowInsets.Builder()
                    .setInsets(WindowInsets.Type.systemBars(), Insets.of(0, 90, 0, 120))
                    .setInsets(WindowInsets.Type.ime(), Insets.of(0, 0, 0, keyboard))
                    .setVisible(WindowInsets.Type.ime(), keyboard > 0)
                    .build(),
            )
            await("the layout") { !root.isLayoutRequested }
        }
        fun top(id: Int) = IntArray(2).also(screen.view<View>(id)::getLocationInWindow)[1]
        fun bottom(id: Int) = top(id) + screen.view<View>(id).height

        inset(keyboard = 0)
        assertTrue(top(R.id.benchmark) >= 90)
        assertTrue(bottom(R.id.generate) <= root.height - 120)
        inset(keyboard = 1000)
        assertTrue(bottom(R.id.generate) <= root.height - 1000)
        assertTrue(screen.view<View>(R.id.prompt).getGlobalVisibleRect(Rect()))
        assertFalse(screen.view<View>(R.id.waveform).isShown)
        inset(keyboard = 0)
        assertTrue(screen.view<View>(R.id.waveform).isShown)
    }

    @Test
    @Config(qualifiers = "ar-rSA-ldrtl-w411dp-h891dp-xxhdpi")
    fun `in languages from right to left the screen is mirrored`() {
        val root = open(MainActivity::class.java).view<ViewGroup>(R.id.root)

        assertEquals(View.LAYOUT_DIRECTION_RTL, root.layoutDirection)
        fun left(id: Int) = IntArray(2).also(root.findViewById<View>(id)::getLocationInWindow)[0]
        assertTrue(left(R.id.play) > left(R.id.generate))
        assertTrue(left(R.id.benchmark) < left(R.id.bundle))
    }

    @Test
    fun `day and night differ, and text is easy to read in both`() {
        val grounds = listOf(false, true).map { night ->
            val colors = app.createConfigurationContext(
                Configuration(app.resources.configuration).apply {
                    uiMode = if (night) UI_MODE_NIGHT_YES else UI_MODE_NIGHT_NO
                },
            )
            val pairs = listOf(
                R.color.ink to R.color.background,
                R.color.ink to R.color.surface,
                R.color.ink_soft to R.color.background,
                R.color.ink_soft to R.color.surface,
                R.color.ink_soft to R.color.field,
                R.color.on_accent to R.color.accent,
                R.color.on_accent_soft to R.color.accent_soft,
                R.color.accent to R.color.surface,
                R.color.error_ink to R.color.error_ground,
                R.color.error_ink to R.color.surface,
                R.color.warning_ink to R.color.warning_ground,
            )
            for ((text, ground) in pairs) {
                val contrast = contrast(colors.getColor(text), colors.getColor(ground))
                assertTrue(
                    contrast >= 4.5,
                    "${app.resources.getResourceEntryName(text)} on " +
                        "${app.resources.getResourceEntryName(ground)}: $contrast, night: $night",
                )
            }
            colors.getColor(R.color.background)
        }
        assertTrue(luminance(grounds[0]) > 0.8)
        assertTrue(luminance(grounds[1]) < 0.1)
    }

    /** WCAG 2 contrast of two colours, 1 to 21. */
    private fun contrast(one: Int, other: Int): Double {
        val (a, b) = luminance(one) to luminance(other)
        return (max(a, b) + 0.05) / (min(a, b) + 0.05)
    }

    private fun luminance(color: Int): Double {
        fun linear(value: Int) = (value / 255.0).let {
            if (it <= 0.04045) it / 12.92 else ((it + 0.055) / 1.055).pow(2.4)
        }
        return 0.2126 * linear(Color.red(color)) + 0.7152 * linear(Color.green(color)) +
            0.0722 * linear(Color.blue(color))
    }
}
