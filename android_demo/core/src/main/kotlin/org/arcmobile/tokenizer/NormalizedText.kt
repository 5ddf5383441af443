package org.arcmobile.tokenizer

/**
 * Text while it is being normalized, well-formed UTF-16.
 *
 * @property head how many leading UTF-16 units stem from the very first character of the prompt;
 *     0 for a part from further on. The library asks this of its alignments where a space is put
 *     before the beginning of the prompt only (`prepend_scheme` "first").
 */
internal class NormalizedText(val text: String, val head: Int) {
    fun slice(start: Int, end: Int): NormalizedText =
        NormalizedText(text.substring(start, end), (head - start).coerceIn(0, end - start))

    companion object {
        fun ofPrompt(prompt: String): NormalizedText =
            NormalizedText(prompt, if (prompt.isEmpty()) 0 else prompt.codePointSize(0))
    }
}

/** Most UTF-16 units that normalizing may make of a prompt. */
private const val LONGEST = 1 shl 24

/** Throws where replacements, one after the other, would make of a prompt what fills the memory. */
internal fun checkLength(units: Int) {
    if (units > LONGEST) throw brokenTokenizer("its normalizers make a prompt too long")
}

/** UTF-16 units of the character at [index]. */
internal fun String.codePointSize(index: Int): Int = Character.charCount(codePointAt(index))

/** The Unicode property White_Space, as Rust's `char::is_whitespace` and its `\s` have it. */
internal fun Char.isUnicodeSpace(): Boolean = when (this) {
    in '\t'..'\r', ' ', '\u0085', '\u00A0', '\u1680', in '\u2000'..'\u200A' -> true
    '\u2028', '\u2029', '\u202F', '\u205F', '\u3000' -> true
    else -> false
}

/** Index of the first surrogate that has no partner, or -1. */
internal fun indexOfLoneSurrogate(text: String): Int {
    var index = 0
    while (index < text.length) {
        val unit = text[index]
        when {
            unit < Char.MIN_SURROGATE || unit > Char.MAX_SURROGATE -> index++
            unit.isHighSurrogate() && index + 1 < text.length && text[index + 1].isLowSurrogate() ->
                index += 2
            else -> return index
        }
    }
    return -1
}
