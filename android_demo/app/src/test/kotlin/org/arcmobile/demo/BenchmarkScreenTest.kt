package org.arcmobile.demo

import android.app.Activity
import android.content.Context
import android.content.Intent
import android.os.PowerManager
import android.view.View
import android.view.ViewGroup
import android.widget.TextView
import kotlin.test.Test
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import org.arcmobile.GenerationRequest
import org.arcmobile.Stage
import org.json.JSONObject
import org.robolectric.Robolectric
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController

class BenchmarkScreenTest : AppTest() {
    private lateinit var controller: ActivityController<BenchmarkActivity>
    private val screen: Activity get() = controller.get()
    private val state get() = app.benchmark.state.value

    private fun open() {
        controller = Robolectric.buildActivity(BenchmarkActivity::class.java).setup()
        awaitBundle()
    }

    private fun figures(id: Int): Map<String, String> {
        val rows = screen.view<ViewGroup>(id)
        return (0 until rows.childCount).map(rows::getChildAt).associate {
            it.findViewById<TextView>(R.id.figure_label).text.toString() to
                it.findViewById<TextView>(R.id.figure_value).text.toString()
        }
    }

    @Test
    fun `it shows the figures of every stage and shares the record`() {
        shadowOf(app.getSystemService(Context.POWER_SERVICE) as PowerManager)
            .setCurrentThermalStatus(PowerManager.THERMAL_STATUS_LIGHT)
        open()
        assertFalse(screen.view<View>(R.id.share).isEnabled)
        screen.view<ViewGroup>(R.id.threads).getChildAt(1).performClick()
        screen.click(R.id.run)
        await("the run") { state.running != null }
        controller.recreate()
        await("the end") { state.running == null }
        assertNull(screen.banner(R.id.error))

        val record = assertNotNull(state.record)
        assertEquals(3, record.reports.size)
        await("the figures") { figures(R.id.time_figures).isNotEmpty() }
        val times = figures(R.id.time_figures)
        val labels =
            listOf("Load DiT", "Conditioner", "DiT step", "Decode", "First audio", "Total")
        for (label in labels) {
            assertTrue(Regex("""[\d.]+ m?s""").matches(assertNotNull(times[label], label)), label)
        }
        assertTrue(assertNotNull(times["RTF"]).toDouble() > 0)
        val device = figures(R.id.device_figures)
        assertEquals("1", device["Threads"])
        assertEquals("light", device["Thermal status"])
        assertContains(assertNotNull(device["Peak memory"]), "MB")
        assertContains(assertNotNull(device["Android"]), "API 34")

        screen.click(R.id.share)
        @Suppress("DEPRECATION")
        val send = shadowOf(screen).nextStartedActivity
            .getParcelableExtra<Intent>(Intent.EXTRA_INTENT)!!
        val json = JSONObject(send.getStringExtra(Intent.EXTRA_TEXT)!!)
        val run = json.getJSONArray("runs").getJSONObject(2)
        assertEquals("tiny", run.getString("model"))
        assertEquals(8, run.getJSONArray("dit_step_seconds").length())
        assertEquals(1, json.getJSONObject("thermal_status").getInt("after"))
    }

    @Test
    fun `it can be cancelled, and leaves no figures`() {
        open()
        screen.click(R.id.run)
        await("the run") { state.running?.progress != null }
        screen.click(R.id.run)
        await("the end") { state.running == null }

        assertNull(state.record)
        assertNull(state.error)
        assertEquals("Run the benchmark", screen.text(R.id.run))
    }

    @Test
    fun `one thing at a time`() {
        open()
        Gate(Stage.DIT).use { gate ->
            app.session.generate(GenerationRequest("rain", steps = 2))
            gate.await()
            screen.click(R.id.run)
            await("the message") { screen.banner(R.id.error) != null }
            assertContains(screen.banner(R.id.error)!!, "A sound is being generated")
        }
        await("the sound") { !app.session.state.value.busy }

        screen.click(R.id.run)
        app.session.generate(GenerationRequest("rain"))
        assertContains(assertNotNull(app.session.state.value.error), "benchmark is running")
    }
}
