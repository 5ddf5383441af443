package org.arcmobile.tokenizer

/**
 * Classes of code points, each a letter; code points of no range are [NONE].
 *
 * In [encoded] a range is its class (an upper-case letter), the number of code points since the end
 * of the range before, and, where it holds more than one, `-` and the number of further ones. The
 * numbers are in base 36, with lower-case digits.
 */
internal class RangeTable(encoded: String) {
    private val count = encoded.count { it in 'A'..'Z' }
    private val classes = CharArray(count)
    private val starts = IntArray(count)
    private val ends = IntArray(count) // inclusive

    init {
        var at = 0
        var next = 0
        for (range in 0 until count) {
            classes[range] = encoded[at++]
            val gapEnd = at.numberEnd(encoded)
            starts[range] = next + encoded.substring(at, gapEnd).toInt(RADIX)
            ends[range] = starts[range]
            at = gapEnd
            if (at < encoded.length && encoded[at] == '-') {
                val lengthEnd = (at + 1).numberEnd(encoded)
                ends[range] += encoded.substring(at + 1, lengthEnd).toInt(RADIX)
                at = lengthEnd
            }
            next = ends[range] + 1
        }
    }

    fun classOf(codePoint: Int): Char {
        val found = starts.binarySearch(codePoint)
        val range = if (found >= 0) found else -found - 2
        return if (range >= 0 && codePoint <= ends[range]) classes[range] else NONE
    }

    private fun Int.numberEnd(text: String): Int {
        var end = this
        while (end < text.length && (text[end] in '0'..'9' || text[end] in 'a'..'z')) end++
        return end
    }

    companion object {
        const val NONE = '-'
        private const val RADIX = 36
    }
}
