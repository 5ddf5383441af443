package org.arcmobile.tokenizer

import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import org.arcmobile.tokenizer.PieceTrie.Companion.NONE
import org.arcmobile.tokenizer.PieceTrie.Companion.ROOT

/**
 * A text that is a token wherever it stands, as in the file.
 *
 * @property id not read: the library, too, takes the id of the piece of that text, or the next
 *     free one.
 * @property singleWord only where no word character touches it.
 * @property stripLeft with the white space before it.
 * @property stripRight with the white space after it.
 * @property normalized matched in normalized text, by its own normalized form.
 * @property special matters to decoding only.
 */
@Serializable
internal class AddedToken(
    @Suppress("unused") val id: Long,
    val content: String,
    @SerialName("single_word") val singleWord: Boolean,
    @SerialName("lstrip") val stripLeft: Boolean,
    @SerialName("rstrip") val stripRight: Boolean,
    val normalized: Boolean,
    @Suppress("unused") val special: Boolean,
)

/** A part of the prompt: text, or a token that was found in it. */
internal sealed interface Part {
    class Text(val text: NormalizedText) : Part

    class Token(val id: Int) : Part
}

/** Finds added tokens: the leftmost first, of those that begin there the longest. */
internal class AddedTokens private constructor(
    private val tokens: List<AddedToken>,
    private val ids: IntArray,
    private val patterns: PieceTrie,
) {
    /** The parts of [text] in order, without empty ones. */
    fun split(text: NormalizedText): List<Part> {
        val parts = ArrayList<Part>()
        val source = text.text
        var done = 0
        var searched = 0
        while (searched < source.length) {
            val end = longestMatch(source, searched)
            if (end == NONE) {
                searched++
                continue
            }
            val index = patterns.find(source, searched, end)
            val token = tokens[index]
            if (!token.singleWord || standsAlone(source, searched, end)) {
                val start = if (token.stripLeft) spaceStart(source, searched, done) else searched
                val stop = if (token.stripRight) spaceEnd(source, end) else end
                if (done < start) parts += Part.Text(text.slice(done, start))
                if (start < stop) parts += Part.Token(ids[index])
                done = stop
            }
            searched = end
        }
        if (done < source.length) parts += Part.Text(text.slice(done, source.length))
        return parts
    }

    private fun longestMatch(text: String, start: Int): Int {
        var node = ROOT
        var end = NONE
        for (index in start until text.length) {
            node = patterns.child(node, text[index])
            if (node == NONE) break
            if (patterns.value(node) != NONE) end = index + 1
        }
        return end
    }

    companion object {
        /**
         * @param tokens distinct ones, with their [ids].
         * @param pattern what of a token is looked for.
         * @throws IllegalArgumentException for tokens that cannot be told apart.
         */
        fun of(
            tokens: List<AddedToken>,
            ids: IntArray,
            pattern: (AddedToken) -> String,
        ): AddedTokens {
            val patterns = PieceTrie()
            for ((index, token) in tokens.withIndex()) {
                val text = pattern(token)
                require(text.isNotEmpty()) { "nothing is left of the added token ${token.content}" }
                require(patterns.find(text) == NONE) { "two added tokens read $text" }
                patterns.put(text, index)
            }
            return AddedTokens(tokens, ids, patterns)
        }
    }
}

private val wordCharacters by lazy { RangeTable(WORD_CHARACTERS) }

private fun standsAlone(text: String, start: Int, end: Int): Boolean {
    val wordBefore = start > 0 && text.codePointBefore(start).isWord()
    return !wordBefore && !(end < text.length && text.codePointAt(end).isWord())
}

private fun Int.isWord(): Boolean = wordCharacters.classOf(this) != RangeTable.NONE

/** Where the white space before [end] begins, but what is [done] already stays. */
private fun spaceStart(text: String, end: Int, done: Int): Int {
    var start = end
    while (start > 0 && text[start - 1].isUnicodeSpace()) start--
    return maxOf(start, done)
}

private fun spaceEnd(text: String, start: Int): Int {
    var end = start
    while (end < text.length && text[end].isUnicodeSpace()) end++
    return end
}
