package org.arcmobile

/**
 * What can go wrong, in one family: [message] is one line for a person, naming what is wrong and
 * the mend. [kind] lets an app choose its own words.
 */
public class ArcMobileException(
    public val kind: Kind,
    override val message: String,
    cause: Throwable? = null,
) : Exception(message, cause) {
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
