package org.arcmobile.demo

import android.net.Uri
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancelChildren
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.job
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext
import org.arcmobile.ArcMobileException
import org.arcmobile.ArcMobileException.Kind

/**
 * What is known of the bundles on this device.
 *
 * @property chosen the bundle in use: usable, and its files verified.
 * @property looked false until the first look is over.
 * @property error of the last action, for the user.
 */
internal data class LibraryState(
    val bundles: List<BundleEntry> = emptyList(),
    val chosen: BundleEntry? = null,
    val looked: Boolean = false,
    val work: Work? = null,
    val error: String? = null,
) {
    enum class Task { COPY, IMPORT, CHECK }

    /** Something that takes a while; [fraction] done, null if that is not known. */
    data class Work(val task: Task, val name: String, val fraction: Float?)
}

/**
 * The bundles on this device and which of them is in use. One thing is done at a time, the rest
 * waits its turn.
 */
internal class BundleLibrary(
    private val scope: CoroutineScope,
    private val shelves: BundleShelves,
    private val packed: PackedBundles,
    private val documents: Documents,
    private val settings: Settings,
    private val device: Device,
    private val failures: Failures,
) {
    private val mutableState = MutableStateFlow(LibraryState())
    private val jobs = SupervisorJob(scope.coroutineContext.job)
    private val turn = Mutex()

    val state: StateFlow<LibraryState> = mutableState.asStateFlow()

    /** Copies the packed bundles if that has not been done, looks around, and chooses. */
    fun start(): Unit = work {
        shelves.prepare()
        for (name in packed.names) {
            val folder = shelves.packed.resolve(name)
            if (packed.isPlaced(name, folder)) continue
            tell(LibraryState.Task.COPY, name, 0f)
            device.requireSpace(shelves.packed, packed.bytes(name))
            val task = currentCoroutineContext()
            packed.place(name, folder) { done, total ->
                task.ensureActive()
                tell(LibraryState.Task.COPY, name, done.toFloat() / total)
            }
        }
    }

    /** Looks again, e.g. after adb has put a bundle here. */
    fun refresh(): Unit = work(fresh = false) {}

    /** Uses [entry] from now on, if its files are right. */
    fun choose(entry: BundleEntry): Unit = work { settings.bundle = entry.id }

    /** Removes a bundle that did not come with the app. */
    fun delete(entry: BundleEntry): Unit = work {
        if (!deleteTree(entry.folder)) {
            throw ArcMobileException(
                Kind.OUTPUT,
                "${entry.folder.name}: cannot be deleted completely; " +
                    "remove it with: adb shell rm -r ${entry.folder}",
            )
        }
        shelves.forget(entry.folder)
    }

    /** Takes a bundle out of the zip at [uri] and chooses it. */
    fun import(uri: Uri): Unit = work {
        val source = documents.describe(uri)
        val name = source.name.removeSuffix(".zip")
        tell(LibraryState.Task.IMPORT, name, null)
        source.bytes?.let { device.requireSpace(shelves.imported, it) }
        val folder = shelves.newFolder(name)
        val task = currentCoroutineContext()
        var checked = 0L
        documents.open(uri).use { stream ->
            BundleZip(shelves.verifiedCache).place(stream, folder) { bytes ->
                task.ensureActive()
                if (bytes - checked > BYTES_BETWEEN_CHECKS) {
                    checked = bytes
                    device.requireSpace(shelves.imported, 0)
                }
                // What is unpacked is about as large as the zip: close enough for a bar.
                val fraction = source.bytes?.let { (bytes.toFloat() / it).coerceAtMost(1f) }
                tell(LibraryState.Task.IMPORT, name, fraction)
            }
        }
        settings.bundle = BundleEntry.id(Origin.IMPORTED, folder)
    }

    /** Stops what is being done; nothing is left of it. */
    fun cancelWork(): Unit = jobs.cancelChildren()

    fun dismissError(): Unit = mutableState.update { it.copy(error = null) }

    /** Does [block] when its turn comes, then looks around; [fresh] forgets the error before. */
    private fun work(fresh: Boolean = true, block: suspend () -> Unit) {
        scope.launch(jobs + Dispatchers.IO) {
            turn.withLock {
                if (fresh) dismissError()
                try {
                    attempt(block)
                    do {
                        val entry = look()
                    } while (!attempt { verify(entry) })
                } finally {
                    look()
                }
            }
        }
    }

    /** Whether [block] went well; if not, the state says why. */
    private suspend fun attempt(block: suspend () -> Unit): Boolean {
        val error = failures.of(block) ?: return true
        mutableState.update { it.copy(error = error) }
        return false
    }

    /** Sees what is there; gives the bundle to use. */
    private fun look(): BundleEntry? {
        val bundles = shelves.read()
        val usable = bundles.filter { it.facts != null }
        val chosen = usable.firstOrNull { it.id == settings.bundle }
            ?: usable.firstOrNull { it.facts?.backend == DEFAULT_BACKEND }
            ?: usable.firstOrNull()
        val fit = chosen?.takeIf(shelves::isVerified)
        mutableState.update {
            it.copy(bundles = bundles, chosen = fit, looked = true, work = null)
        }
        return chosen
    }

    private suspend fun verify(entry: BundleEntry?) {
        if (entry == null || shelves.isVerified(entry)) return
        val task = currentCoroutineContext()
        shelves.verify(entry) { done, total ->
            task.ensureActive()
            tell(LibraryState.Task.CHECK, entry.folder.name, done.toFloat() / total)
        }
    }

    private fun tell(task: LibraryState.Task, name: String, fraction: Float?) =
        mutableState.update { it.copy(work = LibraryState.Work(task, name, fraction)) }

    private companion object {
        // Not ExecuTorch: its build in the APK is a fork of 1.3, which computes bundles of older
        // exports wrongly, and only its x86-64 build was shown to be right (make android-gate).
        const val DEFAULT_BACKEND = "onnx"

        /** A zip does not say how much it unpacks to: the space is checked while unpacking. */
        const val BYTES_BETWEEN_CHECKS = 8L shl 20
    }
}
