package org.arcmobile

/**
 * Checks that [text] is one JSON value, as RFC 8259 has it, of at most [deepest] levels, in which
 * no object has a key twice and no string half of a surrogate pair. The parser that reads it
 * afterwards passes over all of that, and calls itself for each level.
 *
 * @throws IllegalArgumentException saying what is wrong, and where.
 */
internal fun checkJson(text: String, deepest: Int): Unit = JsonCheck(text, deepest).check()

private class JsonCheck(private val text: String, private val deepest: Int) {
    private var at = 0

    /** Keys of each object around this place; null for a list. */
    private val around = ArrayList<HashSet<String>?>()
    private var isFirst = false // of the innermost object or list

    fun check() {
        begin()
        while (around.isNotEmpty()) {
            val keys = around.last()
            skipSpace()
            if (accept(if (keys == null) ']' else '}')) {
                around.removeAt(around.lastIndex)
                isFirst = false
                continue
            }
            if (!isFirst) expect(',')
            isFirst = false
            if (keys != null) readKey(keys)
            begin()
        }
        skipSpace()
        if (at < text.length) broken()
    }

    /** Passes over a plain value, or over the bracket that begins an object or a list. */
    private fun begin() {
        skipSpace()
        when (val char = peek()) {
            '"' -> readString(keep = null)
            '{', '[' -> {
                require(around.size < deepest) { "nested too deeply" }
                at++
                around += if (char == '{') HashSet() else null
                isFirst = true
            }
            't' -> readWord("true")
            'f' -> readWord("false")
            'n' -> readWord("null")
            else -> readNumber()
        }
    }

    private fun readKey(keys: HashSet<String>) {
        skipSpace()
        val key = StringBuilder().also(::readString).toString()
        require(keys.add(key)) { "the key '${key.take(SHOWN)}' is there twice" }
        skipSpace()
        expect(':')
    }

    private fun readString(keep: StringBuilder?) {
        expect('"')
        var half = false // the first of a surrogate pair waits for the second
        while (true) {
            val char = next()
            if (char == '"') break
            if (char < ' ') broken()
            val unit = if (char == '\\') readEscaped() else char
            if (half != unit.isLowSurrogate()) surrogate()
            half = unit.isHighSurrogate()
            keep?.append(unit)
        }
        if (half) surrogate()
    }

    private fun readEscaped(): Char = when (val char = next()) {
        '"', '\\', '/' -> char
        'b' -> '\b'
        'f' -> '\u000C'
        'n' -> '\n'
        'r' -> '\r'
        't' -> '\t'
        'u' -> {
            var unit = 0
            repeat(HEX_DIGITS) { unit = unit * HEX + hexDigit(next()) }
            unit.toChar()
        }
        else -> broken()
    }

    private fun hexDigit(char: Char): Int = when (char) {
        in '0'..'9' -> char - '0'
        in 'a'..'f' -> char - 'a' + 10
        in 'A'..'F' -> char - 'A' + 10
        else -> broken()
    }

    private fun readWord(word: String) {
        if (!text.startsWith(word, at)) broken()
        at += word.length
    }

    private fun readNumber() {
        accept('-')
        if (!accept('0')) readDigits()
        if (accept('.')) readDigits()
        if (accept('e') || accept('E')) {
            if (!accept('+')) accept('-')
            readDigits()
        }
    }

    private fun readDigits() {
        if (peek() !in '0'..'9') broken()
        while (at < text.length && text[at] in '0'..'9') at++
    }

    private fun skipSpace() {
        while (at < text.length && text[at].let { it == ' ' || it in "\n\r\t" }) at++
    }

    private fun accept(char: Char): Boolean {
        val found = at < text.length && text[at] == char
        if (found) at++
        return found
    }

    private fun expect(char: Char) {
        if (!accept(char)) broken()
    }

    private fun peek(): Char = if (at < text.length) text[at] else broken()

    private fun next(): Char = peek().also { at++ }

    private fun surrogate(): Nothing =
        throw IllegalArgumentException("half of a surrogate pair before character ${at + 1}")

    private fun broken(): Nothing =
        throw IllegalArgumentException("broken at character ${at + 1}")

    private companion object {
        const val SHOWN = 60
        const val HEX_DIGITS = 4
        const val HEX = 16
    }
}
