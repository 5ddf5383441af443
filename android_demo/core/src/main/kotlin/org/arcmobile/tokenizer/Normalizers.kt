package org.arcmobile.tokenizer

/** Rewrites a part of the prompt before it is split into words. */
internal fun interface Normalizer {
    fun normalize(input: NormalizedText): NormalizedText
}

internal fun List<Normalizer>.normalize(input: NormalizedText): NormalizedText =
    fold(input) { text, normalizer -> normalizer.normalize(text) }

/** `Strip`: drops white space at the ends. */
internal class StripNormalizer(private val left: Boolean, private val right: Boolean) : Normalizer {
    override fun normalize(input: NormalizedText): NormalizedText {
        val text = input.text
        var start = 0
        var end = text.length
        if (left) while (start < end && text[start].isUnicodeSpace()) start++
        if (right) while (end > start && text[end - 1].isUnicodeSpace()) end--
        return input.slice(start, end)
    }
}

/** `Replace` of a text: every occurrence becomes [content]. */
internal class ReplaceNormalizer(private val pattern: String, private val content: String) :
    Normalizer {
    override fun normalize(input: NormalizedText): NormalizedText =
        input.replacing(content) { from ->
            val start = input.text.indexOf(pattern, from)
            if (start < 0) null else start until start + pattern.length
        }
}

/** `Replace` of the expression ` {2,}`: two and more spaces become [content]. */
internal class SpacesNormalizer(private val content: String) : Normalizer {
    override fun normalize(input: NormalizedText): NormalizedText {
        val text = input.text
        return input.replacing(content) { from ->
            val start = text.indexOf("  ", from)
            var end = start
            while (end in text.indices && text[end] == ' ') end++
            if (start < 0) null else start until end
        }
    }
}

/** What is put in the place of a match is aligned with the last character of the match. */
private fun NormalizedText.replacing(content: String, next: (Int) -> IntRange?): NormalizedText {
    val result = StringBuilder(text.length)
    var newHead = 0
    var done = 0
    while (true) {
        val match = next(done) ?: break
        result.append(text, done, match.first).append(content)
        checkLength(result.length)
        newHead += (head - done).coerceIn(0, match.first - done)
        if (match.last < head) newHead += content.length
        done = match.last + 1
    }
    newHead += (head - done).coerceIn(0, text.length - done)
    return NormalizedText(result.append(text, done, text.length).toString(), newHead)
}
