package org.arcmobile.tokenizer

/** UTF-8 bytes of a character. */
internal fun utf8Length(codePoint: Int): Int = when {
    codePoint < 0x80 -> 1
    codePoint < 0x800 -> 2
    codePoint < 0x10000 -> 3
    else -> 4
}

/** UTF-8 bytes of a range of well-formed UTF-16. */
internal fun utf8Length(text: String, start: Int, end: Int): Int {
    var length = 0
    var index = start
    while (index < end) {
        val codePoint = text.codePointAt(index)
        length += utf8Length(codePoint)
        index += Character.charCount(codePoint)
    }
    return length
}

/** Byte [position] of the [size] bytes of a character, 0 to 255. */
internal fun utf8Byte(codePoint: Int, position: Int, size: Int): Int {
    val bits = codePoint ushr (6 * (size - 1 - position))
    return when {
        position > 0 -> 0x80 or (bits and 0x3F)
        size == 1 -> bits
        else -> (0xF00 ushr size and 0xFF) or bits
    }
}
