package org.arcmobile.demo

import android.content.Context
import android.util.Log
import kotlin.coroutines.cancellation.CancellationException
import org.arcmobile.ArcMobileException

/** Turns failures into lines for the screen: whatever goes wrong, the app does not crash. */
internal class Failures(private val context: Context) {
    /** Runs [block]; gives why it failed, or null if all went well. Cancellation passes through. */
    suspend fun of(block: suspend () -> Unit): String? = try {
        block()
        null
    } catch (error: CancellationException) {
        throw error
    } catch (error: ArcMobileException) {
        Log.w(TAG, error.message, error)
        shortened(error.message)
    } catch (error: OutOfMemoryError) {
        Log.e(TAG, "out of memory", error)
        context.getString(R.string.error_out_of_memory)
    } catch (error: Exception) {
        unexpected(error)
    } catch (error: LinkageError) { // a native library that this device cannot load
        unexpected(error)
    }

    /** [message] without the folders that all bundles and sounds of this app lie in. */
    fun shortened(message: String): String = folders.fold(message) { text, folder ->
        text.replace("$folder/", "")
    }

    private val folders
        get() = listOfNotNull(
            context.filesDir.resolve("bundles/packed"),
            context.filesDir.resolve("bundles/imported"),
            context.getExternalFilesDir("bundles"),
            context.filesDir,
        )

    private fun unexpected(error: Throwable): String {
        Log.e(TAG, "unexpected", error)
        val what = listOfNotNull(error.javaClass.simpleName, error.message).joinToString(": ")
        return context.getString(R.string.error_unexpected, shortened(what))
    }
}

internal const val TAG: String = "ArcMobile"
