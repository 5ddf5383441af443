package org.arcmobile.demo

import android.app.Application
import android.content.ComponentCallbacks2
import android.content.Context
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.flow.distinctUntilChanged
import kotlinx.coroutines.flow.filter
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex

/**
 * Holds everything that outlives a screen: the session that makes sounds, the player, the
 * bundles. Screens take it from [demo] and render its states.
 */
internal class DemoApplication : Application() {
    val scope: CoroutineScope = CoroutineScope(SupervisorJob() + Dispatchers.Main.immediate)
    val settings: Settings by lazy {
        Settings(getSharedPreferences("settings", Context.MODE_PRIVATE))
    }
    val device: Device by lazy { Device(this) }
    val failures: Failures by lazy { Failures(this) }
    val documents: Documents by lazy { Documents(contentResolver) }
    val player: Player by lazy { Player(scope, AudioFocus(this)) }
    private val shelves by lazy {
        BundleShelves(filesDir.resolve("bundles"), { getExternalFilesDir("bundles") }, cacheDir)
    }
    val library: BundleLibrary by lazy {
        val packed = PackedBundles(assets, cacheDir)
        BundleLibrary(scope, shelves, packed, documents, settings, device, failures)
    }
    val session: GenerationSession by lazy {
        val sounds = SoundStore(SoundProvider.folder(this))
        GenerationSession(
            this, scope, library, sounds, settings, device, player, failures, computing,
        )
    }
    val benchmark: Benchmark by lazy {
        Benchmark(this, scope, library, device, failures, computing, session::unload)
    }

    /** Held by whoever uses the processor: a second task would distort both results. */
    private val computing = Mutex()

    override fun onCreate() {
        super.onCreate()
        library.start()
        session.restore()
        scope.launch {
            session.state.map { it.busy }.distinctUntilChanged().filter { it }.collect {
                GenerationService.start(this@DemoApplication)
            }
        }
    }

    override fun onTrimMemory(level: Int) {
        super.onTrimMemory(level)
        // A hidden screen alone is no lack of memory: the next sound should start at once.
        if (level != ComponentCallbacks2.TRIM_MEMORY_UI_HIDDEN && level >= LOW) session.unload()
    }

    override fun onLowMemory() {
        super.onLowMemory()
        session.unload()
    }

    private companion object {
        const val LOW = ComponentCallbacks2.TRIM_MEMORY_RUNNING_LOW
    }
}

/** The app that this context belongs to. */
internal val Context.demo: DemoApplication get() = applicationContext as DemoApplication
