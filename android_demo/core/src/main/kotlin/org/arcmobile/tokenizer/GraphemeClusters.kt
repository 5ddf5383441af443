package org.arcmobile.tokenizer

private const val CARRIAGE_RETURN = 'R'
private const val LINE_FEED = 'F'
private const val CONTROL = 'C'
private const val EXTEND = 'E'
private const val LINKER = 'K' // also extends; links Indic consonants
private const val NON_JOINER = 'N' // also extends; ends an Indic conjunct
private const val JOINER = 'Z' // U+200D
private const val SPACING_MARK = 'S'
private const val PREPEND = 'P'
private const val CONSONANT = 'I' // of Indic conjuncts
private const val PICTOGRAPH = 'X'
private const val HANGUL_L = 'L'
private const val HANGUL_V = 'V'
private const val HANGUL_T = 'T'
private const val HANGUL_LV = 'A'
private const val HANGUL_LVT = 'B'

private const val DELETE = 0x7F
private const val FIRST_SYLLABLE = 0xAC00
private const val LAST_SYLLABLE = 0xD7A3
private const val TRAILING_CONSONANTS = 28

private val classes = RangeTable(GRAPHEME_BREAKS)

/**
 * End of the extended grapheme cluster (Unicode Standard Annex #29) that begins at [start].
 *
 * The platform's `BreakIterator` will not do: Android's and the desktop's know different versions
 * of Unicode, and neither is that of the `tokenizers` library. So the classes are a table of our
 * own ([GRAPHEME_BREAKS], generated from that library), and the rules are these few lines.
 *
 * One rule is left out: that regional indicators pair up to flags (GB12, GB13). The only reader,
 * [CharsmapNormalizer], treats clusters of six UTF-8 bytes and more character by character, as
 * separate clusters of one character would be. A regional indicator takes four bytes, so with
 * anything beside it a cluster is that long, whether paired or not.
 *
 * [text] is well-formed UTF-16.
 */
internal fun graphemeClusterEnd(text: String, start: Int): Int {
    var before = text.codePointAt(start)
    var index = start + Character.charCount(before)
    if (before in ' '.code..'~'.code && (index == text.length || text[index] < '\u0080')) {
        return index
    }
    val context = ClusterContext()
    while (index < text.length) {
        val after = text.codePointAt(index)
        val beforeClass = graphemeClass(before)
        context.add(beforeClass)
        if (context.isBreak(beforeClass, graphemeClass(after))) break
        index += Character.charCount(after)
        before = after
    }
    return index
}

private fun graphemeClass(codePoint: Int): Char = when {
    codePoint == '\r'.code -> CARRIAGE_RETURN
    codePoint == '\n'.code -> LINE_FEED
    codePoint < ' '.code || codePoint == DELETE -> CONTROL
    codePoint in FIRST_SYLLABLE..LAST_SYLLABLE ->
        if ((codePoint - FIRST_SYLLABLE) % TRAILING_CONSONANTS == 0) HANGUL_LV else HANGUL_LVT
    else -> classes.classOf(codePoint)
}

/** What of the cluster before its last character matters. */
private class ClusterContext {
    private var pictograph = false // pictograph extend*
    private var joinedPictograph = false // pictograph extend* joiner
    private var consonant = false // consonant (extend | linker)*
    private var linked = false // the same, with a linker in it

    fun add(of: Char) {
        joinedPictograph = of == JOINER && pictograph
        pictograph = of == PICTOGRAPH || pictograph && of.extends()
        linked = consonant && (of == LINKER || linked && (of == EXTEND || of == JOINER))
        consonant = of == CONSONANT || consonant && (of == EXTEND || of == LINKER || of == JOINER)
    }

    /** Rules GB3 to GB11 and GB999 in their order. */
    fun isBreak(before: Char, after: Char): Boolean = when {
        before == CARRIAGE_RETURN && after == LINE_FEED -> false
        before.isControl() || after.isControl() -> true
        joinsSyllable(before, after) -> false
        after.extends() || after == JOINER || after == SPACING_MARK -> false
        before == PREPEND -> false
        after == CONSONANT && linked -> false
        else -> !(after == PICTOGRAPH && joinedPictograph)
    }
}

private fun Char.isControl() = this == CONTROL || this == CARRIAGE_RETURN || this == LINE_FEED

private fun Char.extends() = this == EXTEND || this == LINKER || this == NON_JOINER

private fun joinsSyllable(before: Char, after: Char): Boolean = when (before) {
    HANGUL_L -> after == HANGUL_L || after == HANGUL_V || after == HANGUL_LV || after == HANGUL_LVT
    HANGUL_LV, HANGUL_V -> after == HANGUL_V || after == HANGUL_T
    HANGUL_LVT, HANGUL_T -> after == HANGUL_T
    else -> false
}
