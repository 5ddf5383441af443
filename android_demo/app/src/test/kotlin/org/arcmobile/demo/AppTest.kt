package org.arcmobile.demo

import android.app.Activity
import android.app.ActivityManager
import android.content.Context
import android.os.Looper
import android.view.View
import android.view.ViewGroup
import android.widget.TextView
import java.io.File
import java.util.concurrent.CountDownLatch
import kotlin.test.AfterTest
import kotlin.test.BeforeTest
import kotlin.test.fail
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import org.arcmobile.Stage
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.experimental.LazyApplication
import org.robolectric.shadows.ShadowStatFs

/** A phone with room and memory, on which the app starts for each test. */
@RunWith(RobolectricTestRunner::class)
@LazyApplication(LazyApplication.LazyLoad.ON)
abstract class AppTest {
    internal val app: DemoApplication by lazy {
        RuntimeEnvironment.getApplication() as DemoApplication
    }

    @BeforeTest
    fun startPhone() {
        setSpace(10L shl 30)
        setMemory(8L shl 30)
    }

    @AfterTest
    fun stopApp() {
        app.session.cancel()
        app.benchmark.cancel()
        app.player.stop()
        await("the end") {
            !app.session.state.value.busy && app.benchmark.state.value.running == null
        }
        app.scope.cancel()
    }

    fun setSpace(bytes: Long) {
        val blocks = (bytes / ShadowStatFs.BLOCK_SIZE).toInt()
        ShadowStatFs.registerStats("/", blocks, blocks, blocks)
    }

    fun setMemory(bytes: Long) {
        val memory = ActivityManager.MemoryInfo().apply { availMem = bytes }
        shadowOf(app.getSystemService(Context.ACTIVITY_SERVICE) as ActivityManager)
            .setMemoryInfo(memory)
    }

    /** Lets the main thread work until [condition] holds. */
    fun await(what: String, condition: () -> Boolean) {
        val end = System.nanoTime() + LIMIT_NANOS
        while (true) {
            shadowOf(Looper.getMainLooper()).idle()
            if (condition()) return
            if (System.nanoTime() > end) fail("waited in vain for $what: ${states()}")
            Thread.sleep(2)
        }
    }

    private fun states() = listOf(
        app.session.state.value,
        app.library.state.value,
        app.benchmark.state.value,
    )

    /** Presses a button once it can be pressed: work that has just ended may still hide it. */
    fun Activity.click(id: Int) {
        val button = view<View>(id)
        await("${resources.getResourceEntryName(id)} to be pressed") {
            button.isShown && button.isEnabled
        }
        button.performClick()
    }

    fun awaitBundle(): Unit = await("a bundle") { app.library.state.value.chosen != null }

    /** Stops the generation at its first word of [stage] until [release]. */
    internal inner class Gate(private val stage: Stage) : AutoCloseable {
        private val reached = CountDownLatch(1)
        private val released = CountDownLatch(1)
        private val scope = CoroutineScope(Dispatchers.Unconfined)

        init {
            scope.launch {
                app.session.state.collect { state ->
                    val phase = state.phase as? SessionState.Phase.Running
                    if (phase?.progress?.stage == stage) {
                        reached.countDown()
                        released.await()
                    }
                }
            }
        }

        fun await(): Unit = await("$stage") { reached.count == 0L }

        fun release(): Unit = released.countDown()

        override fun close() {
            release()
            scope.cancel()
        }
    }

    /** A copy of the bundle where adb would put it; [change] corrupts it. */
    fun push(name: String, change: (File) -> Unit = {}): File {
        val folder = app.getExternalFilesDir("bundles")!!.resolve(name)
        bundle.copyRecursively(folder)
        change(folder)
        return folder
    }

    private companion object {
        const val LIMIT_NANOS = 20_000_000_000
    }
}

internal fun <T : View> Activity.view(id: Int): T = findViewById(id)

internal fun Activity.text(id: Int): String = view<TextView>(id).text.toString()

/** The message of the banner with [id]; null if none is shown. */
internal fun Activity.banner(id: Int): String? = view<View>(id).takeIf { it.isShown }
    ?.findViewById<TextView>(R.id.banner_text)?.text?.toString()

/** This view and all below it. */
internal fun View.all(): Sequence<View> = sequence {
    yield(this@all)
    if (this@all is ViewGroup) {
        for (index in 0 until childCount) yieldAll(getChildAt(index).all())
    }
}
