package org.arcmobile.tokenizer

/** `Metaspace`: where [marker] is put before the beginning of a text that lacks it. */
internal enum class Prepend { ALWAYS, FIRST, NEVER }

/**
 * `Metaspace`: spaces become [marker], one character.
 *
 * @property split before every [marker]; else the text stays whole.
 */
internal class Metaspace(val marker: String, val prepend: Prepend, val split: Boolean)

/** Cuts text into the words that the model sees, none of them empty. */
internal class WordSplitter(
    private val splitAtSpace: Boolean,
    private val metaspace: Metaspace?,
) {
    fun split(text: NormalizedText, word: (String) -> Unit) {
        if (!splitAtSpace) return mark(text, word)
        var start = 0
        for (index in 0..text.text.length) {
            if (index < text.text.length && !text.text[index].isUnicodeSpace()) continue
            if (start < index) mark(text.slice(start, index), word)
            start = index + 1
        }
    }

    private fun mark(text: NormalizedText, word: (String) -> Unit) {
        if (metaspace == null) return word(text.text)
        val marker = metaspace.marker
        var marked = text.text.replace(" ", marker)
        val prepends = when (metaspace.prepend) {
            Prepend.ALWAYS -> true
            Prepend.FIRST -> text.head > 0
            Prepend.NEVER -> false
        }
        if (prepends && !marked.startsWith(marker)) marked = marker + marked
        if (!metaspace.split) return word(marked)
        var start = 0
        while (start < marked.length) {
            val next = marked.indexOf(marker, start + 1)
            val end = if (next < 0) marked.length else next
            word(marked.substring(start, end))
            start = end
        }
    }
}
