package org.arcmobile.demo

import android.app.Activity
import android.content.ComponentCallbacks2.TRIM_MEMORY_RUNNING_CRITICAL
import android.content.Context
import android.content.Intent
import android.net.Uri
import android.view.View
import android.widget.EditText
import android.widget.ProgressBar
import android.widget.SeekBar
import java.io.ByteArrayOutputStream
import java.io.IOException
import java.io.OutputStream
import kotlin.test.Test
import kotlin.test.assertContains
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertSame
import kotlin.test.assertTrue
import kotlinx.coroutines.cancel
import org.arcmobile.Stage
import org.robolectric.Robolectric
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import org.robolectric.util.ReflectionHelpers.ClassParameter.from
import org.robolectric.util.ReflectionHelpers.callInstanceMethod

class MainScreenTest : AppTest() {
    private lateinit var controller: ActivityController<MainActivity>
    private val screen: Activity get() = controller.get()
    private val session get() = app.session.state.value
    private val sounds get() = SoundProvider.folder(app).list().orEmpty().sorted()

    private fun open() {
        controller = Robolectric.buildActivity(MainActivity::class.java).setup()
        awaitBundle()
        await("the bundle's name") { "tiny" in screen.text(R.id.bundle) }
    }

    private fun ask(prompt: String = "soft rain", seed: String = "7", steps: Int = 2) {
        screen.view<EditText>(R.id.prompt).setText(prompt)
        screen.view<EditText>(R.id.seed).setText(seed)
        screen.view<View>(R.id.steps).findViewById<SeekBar>(R.id.slider_bar).progress = steps
        screen.click(R.id.generate)
    }

    private fun answer(place: Uri) = Intent().setData(place)

    private fun awaitEnd() = await("the end") { !session.busy }

    private fun generate(prompt: String = "soft rain", seed: String = "7") {
        ask(prompt, seed)
        awaitEnd()
        assertNull(session.error)
    }

    @Test
    fun `a prompt becomes a sound, with the bundle that came with the app`() {
        open()
        assertFalse(screen.view<View>(R.id.play).isEnabled)
        assertFalse(screen.view<View>(R.id.save).isEnabled)

        Gate(Stage.DIT).use { gate ->
            ask()
            gate.await()
            assertEquals(screen.getString(R.string.cancel), screen.text(R.id.generate))
            assertContains(screen.text(R.id.status), screen.getString(R.string.stage_dit))
            assertEquals(2, screen.view<ProgressBar>(R.id.progress).max)
        }
        awaitEnd()

        assertEquals(listOf("soft-rain-7.wav"), sounds)
        assertNull(screen.banner(R.id.error))
        val sound = assertNotNull(session.recording).sound
        assertEquals(1.486, sound.seconds, 0.001)
        assertContains(screen.text(R.id.status), "RTF")
        assertContains(screen.view<View>(R.id.waveform).contentDescription, "1.5 of 1.5 seconds")
        assertTrue(screen.view<View>(R.id.save).isEnabled)
        assertEquals(
            sound.frames * 2L * Short.SIZE_BYTES + 44,
            session.recording?.file?.length(),
        )
    }

    @Test
    fun `the same seed gives the same file, another one another`() {
        open()
        generate(seed = "7")
        val first = session.recording!!.file!!.readBytes()
        generate(seed = "7")
        assertContentEquals(first, session.recording!!.file!!.readBytes())
        generate(seed = "8")
        assertFalse(first.contentEquals(session.recording!!.file!!.readBytes()))
    }

    @Test
    fun `an empty seed field draws one, which can be used again`() {
        open()
        generate(seed = "")
        val used = assertNotNull(session.seedUsed)

        assertEquals("", screen.text(R.id.seed))
        screen.click(R.id.seed_used)
        assertEquals(used.toString(), screen.text(R.id.seed))
        screen.click(R.id.dice)
        assertTrue(screen.text(R.id.seed).toULong() < 1_000_000u)
    }

    @Test
    fun `a seed out of range is said at its field`() {
        open()
        ask(seed = "99999999999999999999")

        assertFalse(session.busy)
        assertContains(screen.view<EditText>(R.id.seed).error, "18446744073709551615")
    }

    @Test
    fun `cancel leaves the sound before, and no file`() {
        open()
        generate("first")
        val before = session.recording
        for (stage in listOf(Stage.LOAD, Stage.DIT, Stage.DECODE)) {
            Gate(stage).use { gate ->
                ask("second", seed = "8")
                gate.await()
                screen.click(R.id.generate)
                assertEquals(SessionState.Phase.Stopping, session.phase)
            }
            awaitEnd()

            assertEquals(before, session.recording, "$stage")
            assertEquals(listOf("first-7.wav"), sounds, "$stage")
            assertNull(screen.banner(R.id.error))
            await("the button") { screen.text(R.id.generate) == "Generate" }
        }
        generate("third")
    }

    @Test
    fun `turning the phone and going elsewhere leave the generation alone`() {
        open()
        Gate(Stage.DIT).use { gate ->
            ask("turning", seed = "42")
            gate.await()
            controller.recreate()
            assertEquals("Cancel", screen.text(R.id.generate))
            assertEquals("turning", screen.text(R.id.prompt))
            assertEquals("42", screen.text(R.id.seed))
            controller.pause().stop()
        }
        awaitEnd()
        controller.restart().start().resume()
        await("the sound") { screen.view<View>(R.id.save).isEnabled }

        assertEquals(listOf("turning-42.wav"), sounds)
    }

    @Test
    fun `with no space left it says how much is needed`() {
        open()
        setSpace(1L shl 20)
        ask()
        awaitEnd()

        assertContains(assertNotNull(screen.banner(R.id.error)), "Not enough space")
        assertEquals(emptyList(), sounds)
        screen.view<View>(R.id.error).findViewById<View>(R.id.banner_dismiss).performClick()
        await("the banner to go") { screen.banner(R.id.error) == null }
    }

    @Test
    fun `with too little memory it says what to do`() {
        open()
        setMemory(1L shl 20)
        ask()
        awaitEnd()

        assertContains(assertNotNull(screen.banner(R.id.error)), "Close other apps")
    }

    @Test
    fun `programs are freed when memory runs low, and loaded again`() {
        open()
        generate()
        app.onTrimMemory(TRIM_MEMORY_RUNNING_CRITICAL)
        generate()
        Gate(Stage.DIT).use { gate ->
            ask()
            gate.await()
            app.onLowMemory()
        }
        awaitEnd()
        assertNull(session.error)
        generate()
    }

    @Test
    fun `a prompt that is too long is cut with a warning`() {
        open()
        generate(prompt = "rain on a roof ".repeat(40))

        assertContains(assertNotNull(screen.banner(R.id.warning)), "the first 63")
    }

    @Test
    fun `a bundle that breaks after it was opened is a message`() {
        open()
        app.library.state.value.chosen!!.folder.resolve("dit.onnx").delete()
        ask()
        awaitEnd()

        assertContains(assertNotNull(screen.banner(R.id.error)), "dit.onnx: missing")
        assertEquals(emptyList(), sounds)
    }

    @Test
    fun `a new process shows the settings and the sound of the one before`() {
        open()
        generate("the last one", seed = "")
        screen.click(R.id.seed_used)
        val seed = screen.text(R.id.seed)
        controller.pause().stop().destroy()
        SoundProvider.folder(app).resolve(".x.wav.partial-1").writeText("left by the dead")

        val next = DemoApplication()
        callInstanceMethod<Unit>(next, "attach", from(Context::class.java, app.baseContext))
        next.onCreate()
        await("the sound") { next.session.state.value.recording != null }
        await("the bundle") { next.library.state.value.chosen != null }
        controller = Robolectric.buildActivity(MainActivity::class.java).setup()

        val restored = next.session.state.value
        assertEquals("the-last-one-$seed.wav", restored.recording?.file?.name)
        assertEquals(1.486, restored.recording!!.sound.seconds, 0.001)
        assertEquals(seed.toULong(), restored.seedUsed)
        assertEquals("the last one", screen.text(R.id.prompt))
        assertEquals(seed, screen.text(R.id.seed))
        assertEquals(listOf("the-last-one-$seed.wav"), sounds)
        next.scope.cancel()
    }

    @Test
    fun `the file is saved where the user says`() {
        open()
        generate()
        val saved = ByteArrayOutputStream()
        val place = Uri.parse("content://elsewhere/rain.wav")
        shadowOf(app.contentResolver).registerOutputStream(place, saved)

        screen.click(R.id.save)
        val asked = shadowOf(screen).nextStartedActivityForResult
        assertEquals(Intent.ACTION_CREATE_DOCUMENT, asked.intent.action)
        assertEquals("soft-rain-7.wav", asked.intent.getStringExtra(Intent.EXTRA_TITLE))
        controller.recreate() // while the other app asks
        controller.get().onActivityResult(asked.requestCode, Activity.RESULT_OK, answer(place))
        await("the file") { saved.size() > 0 }

        assertContentEquals(session.recording!!.file!!.readBytes(), saved.toByteArray())
    }

    @Test
    fun `a place that cannot be written is a message`() {
        open()
        generate()
        val place = Uri.parse("content://elsewhere/rain.wav")
        shadowOf(app.contentResolver).registerOutputStreamSupplier(place) {
            object : OutputStream() {
                override fun write(b: Int) = throw IOException("no room")
            }
        }

        screen.click(R.id.save)
        val asked = shadowOf(screen).nextStartedActivityForResult
        controller.get().onActivityResult(asked.requestCode, Activity.RESULT_OK, answer(place))
        await("the message") { screen.banner(R.id.error) != null }

        assertContains(screen.banner(R.id.error)!!, "no room")
    }

    @Test
    fun `the file is shared for reading only`() {
        open()
        generate()
        screen.click(R.id.share)

        val chooser = shadowOf(screen).nextStartedActivity
        @Suppress("DEPRECATION")
        val send = chooser.getParcelableExtra<Intent>(Intent.EXTRA_INTENT)!!
        @Suppress("DEPRECATION")
        val uri = send.getParcelableExtra<Uri>(Intent.EXTRA_STREAM)!!
        assertEquals(Intent.ACTION_SEND, send.action)
        assertEquals("audio/wav", send.type)
        assertEquals(
            Intent.FLAG_GRANT_READ_URI_PERMISSION,
            send.flags and (
                Intent.FLAG_GRANT_READ_URI_PERMISSION or Intent.FLAG_GRANT_WRITE_URI_PERMISSION
                ),
        )
        assertContentEquals(
            session.recording!!.file!!.readBytes(),
            app.contentResolver.openInputStream(uri)!!.use { it.readBytes() },
        )
    }

    @Test
    fun `the sound is played with its first samples, and stops with the screen`() {
        open()
        Gate(Stage.DECODE).use { gate ->
            ask()
            gate.await()
            assertNull(session.recording)
        }
        await("the sound") { app.player.state.value.playing }
        assertSame(session.recording?.sound, app.player.state.value.sound)
        await("the button") { screen.view<View>(R.id.play).contentDescription == "Pause" }
        controller.pause().stop()

        assertFalse(app.player.state.value.playing)
    }

    @Test
    fun `the notification follows the generation and goes with it`() {
        open()
        Gate(Stage.DIT).use { gate ->
            ask()
            gate.await()
            val started = shadowOf(app).nextStartedService
            assertEquals(GenerationService::class.java.name, started.component?.className)
            val service = Robolectric.buildService(GenerationService::class.java, started)
                .create().startCommand(0, 1)
            assertNotNull(shadowOf(service.get()).lastForegroundNotification)
            gate.release()
            await("its end") { shadowOf(service.get()).isStoppedBySelf }
        }
        awaitEnd()
    }
}
