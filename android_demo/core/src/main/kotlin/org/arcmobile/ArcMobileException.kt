package org.arcmobile

/**
 * The one family of errors: [message] is one line for the user, naming what is wrong and
 * the way out. [kind] lets an app choose its own words.
 */
public class ArcMobileException(
    public val kind: Kind,
    message: String,
    cause: Throwable? = null,
) : Exception(oneLine(message), cause) {
    override val message: String get() = super.message.orEmpty()

    public enum class Kind {
        /** The bundle is missing, incomplete, altered, or of a version that is not read here. */
        BUNDLE,

        /** No engine on the class path runs this bundle, or the engine refused a program. */
        ENGINE,

        /** The request is out of range: prompt, seconds, steps, seed or numbers. */
        REQUEST,

        /** A file could not be written. */
        OUTPUT,

        /** The device has too little memory for this bundle. */
        MEMORY,
    }
}

private const val LONGEST_BEGINNING = 600
private const val LONGEST_END = 300

/** [text], which may quote a file or a library, without line breaks and of a readable length. */
private fun oneLine(text: String): String {
    val short = if (text.length <= LONGEST_BEGINNING + LONGEST_END) {
        text
    } else {
        "${text.take(LONGEST_BEGINNING)}…${text.takeLast(LONGEST_END)}"
    }
    return short.map { if (it.isPrinted()) it else '\uFFFD' }.joinToString("")
}

private fun Char.isPrinted(): Boolean = !isISOControl() && this != '\u2028' && this != '\u2029'
