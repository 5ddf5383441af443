package org.arcmobile

import org.arcmobile.ArcMobileException.Kind

/** Numbers of a release in a text such as `1.5.1` or `1.6.0-dev`; the last one may be missing. */
private val NUMBERS = Regex("^([0-9]{1,4})\\.([0-9]{1,4})(?:\\.([0-9]{1,4}))?")

/**
 * Refuses [bundle] where its programs need a newer runtime than that of [provider]: older ones
 * compute some of them wrongly, without an error.
 *
 * @throws ArcMobileException of kind ENGINE, naming both releases and the way out.
 */
internal fun requireRelease(bundle: Bundle, provider: EngineProvider) {
    val stated = bundle.manifest.minimumRuntime
    val needed = stated ?: provider.assumedMinimum ?: return
    val present = provider.release ?: return
    if (compareReleases(present, needed) >= 0) return
    val why = if (stated == null) {
        "does not say which release of its runtime it needs, which means $needed"
    } else {
        "needs release $needed of its runtime"
    }
    throw ArcMobileException(
        Kind.ENGINE,
        "${bundle.folder}: $why, and this app runs ${provider.runtime}; build the app with " +
            "$needed or later, or export the bundle again for the app's runtime",
    )
}

/** Negative if [a] is the older release; what is no release counts as 0.0.0. */
internal fun compareReleases(a: String, b: String): Int {
    val numbers = numbers(a).zip(numbers(b))
    return numbers.map { (left, right) -> left.compareTo(right) }.firstOrNull { it != 0 } ?: 0
}

private fun numbers(release: String): List<Int> {
    val groups = NUMBERS.find(release)?.groupValues.orEmpty().drop(1)
    return List(3) { groups.getOrNull(it)?.toIntOrNull() ?: 0 }
}
