package org.arcmobile.demo

import android.app.Activity
import android.graphics.Bitmap
import android.graphics.Canvas
import android.view.View
import android.widget.EditText
import java.io.File
import kotlin.test.Test
import kotlin.test.assertTrue
import org.robolectric.Robolectric
import org.robolectric.annotation.Config

/** Draws the screens after real work into the folder of screenshots. */
class ScreenshotTest : AppTest() {
    private val folder = File(System.getProperty("screenshots")).apply { mkdirs() }

    private fun draw(activity: Activity, name: String) {
        val root = activity.window.decorView
        val picture = Bitmap.createBitmap(root.width, root.height, Bitmap.Config.ARGB_8888)
        root.draw(Canvas(picture))
        val file = folder.resolve("$name.png")
        file.outputStream().use { picture.compress(Bitmap.CompressFormat.PNG, 100, it) }
        val colors = IntArray(root.width * root.height)
        picture.getPixels(colors, 0, root.width, 0, 0, root.width, root.height)
        assertTrue(colors.distinct().size > 50, "$name is blank")
    }

    private fun drawMain(name: String) {
        val activity = Robolectric.buildActivity(MainActivity::class.java).setup().get()
        awaitBundle()
        app.settings.playWhileMade = false
        activity.view<EditText>(R.id.prompt).setText("Warm analog pad, soft rain in the background")
        activity.view<EditText>(R.id.seed).setText("42")
        activity.click(R.id.generate)
        await("the sound") { activity.view<View>(R.id.save).isEnabled }
        app.session.state.value.recording!!.sound.let { app.player.seek(it, it.frames * 2 / 5) }
        activity.view<View>(R.id.prompt).clearFocus()
        settle(activity)
        draw(activity, name)
    }

    @Test
    fun mainAtWork() {
        val activity = Robolectric.buildActivity(MainActivity::class.java).setup().get()
        awaitBundle()
        app.settings.playWhileMade = false
        activity.view<EditText>(R.id.prompt).setText("Church organ in a stone hall ".repeat(12))
        activity.click(R.id.generate)
        await("some of it") { app.session.state.value.recording != null }
        draw(activity, "main-at-work")
        await("the end") { !app.session.state.value.busy }
        app.session.showError("dit.onnx: sha256 differs from the manifest; copy the file again")
        await("the message") { activity.banner(R.id.error) != null }
        settle(activity)
        draw(activity, "main-error")
    }

    private fun settle(activity: Activity) =
        await("the layout") { !activity.window.decorView.isLayoutRequested }

    @Test
    fun main(): Unit = drawMain("main")

    @Test
    @Config(qualifiers = "w411dp-h891dp-night-xxhdpi")
    fun mainAtNight(): Unit = drawMain("main-night")

    @Test
    @Config(qualifiers = "w891dp-h411dp-land-xxhdpi")
    fun mainLyingDown(): Unit = drawMain("main-landscape")

    @Test
    fun bundles() {
        push("sao-small-mobile")
        push("broken") { it.resolve("dit.onnx").delete() }
        val activity = Robolectric.buildActivity(BundlesActivity::class.java).setup().get()
        await("three cards") { app.library.state.value.bundles.size == 3 }
        awaitBundle()
        settle(activity)
        draw(activity, "bundles")
    }

    @Test
    @Config(qualifiers = "w411dp-h1120dp-xxhdpi")
    fun benchmark(): Unit = drawBenchmark("benchmark")

    @Test
    @Config(qualifiers = "w411dp-h1120dp-night-xxhdpi")
    fun benchmarkAtNight(): Unit = drawBenchmark("benchmark-night")

    private fun drawBenchmark(name: String) {
        val activity = Robolectric.buildActivity(BenchmarkActivity::class.java).setup().get()
        awaitBundle()
        activity.click(R.id.run)
        await("the figures") { activity.view<View>(R.id.share).isEnabled }
        settle(activity)
        draw(activity, name)
    }
}
