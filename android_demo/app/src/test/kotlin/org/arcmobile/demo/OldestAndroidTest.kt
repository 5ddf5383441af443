package org.arcmobile.demo

import android.view.View
import android.view.ViewGroup
import android.widget.EditText
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import org.robolectric.Robolectric
import org.robolectric.annotation.Config

/** The way through the app on the oldest Android it supports: nothing newer is called there. */
@Config(sdk = [OLDEST])
class OldestAndroidTest : AppTest() {
    @Test
    fun `a sound is made, shown and played`() {
        app.settings.playWhileMade = false // Robolectric's output asks newer Androids' questions
        val main = Robolectric.buildActivity(MainActivity::class.java).setup().get()
        awaitBundle()
        main.view<EditText>(R.id.prompt).setText("rain")
        main.click(R.id.generate)
        await("the sound") { main.view<View>(R.id.save).isEnabled }
        main.click(R.id.share)
        main.click(R.id.save)

        assertEquals(null, app.session.state.value.error)
        assertEquals(null, app.player.state.value.problem)
    }

    @Test
    fun `the other screens open and work`() {
        val bundles = Robolectric.buildActivity(BundlesActivity::class.java).setup().get()
        awaitBundle()
        await("its card") { bundles.view<ViewGroup>(R.id.list).childCount == 1 }
        val benchmark = Robolectric.buildActivity(BenchmarkActivity::class.java).setup().get()
        benchmark.click(R.id.run)
        await("the figures") { benchmark.view<View>(R.id.share).isEnabled }
        assertTrue(app.benchmark.state.value.record!!.thermalAfter == null)
    }
}
