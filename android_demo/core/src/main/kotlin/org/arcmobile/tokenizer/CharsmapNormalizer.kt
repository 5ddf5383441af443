package org.arcmobile.tokenizer

import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val LONGEST_CLUSTER = 5 // UTF-8 bytes of a cluster that is looked up as one

/**
 * `Precompiled`: the normalization rules of a SentencePiece model.
 *
 * [charsmap] is a double array (its size in bytes, then uint32 units) that maps UTF-8 texts to
 * offsets in the rest, where the replacements stand, each closed by a NUL. The library's behaviour
 * is not that of SentencePiece, and is kept to the letter: a grapheme cluster of up to five bytes
 * is looked up as a whole, and of what matches, the *shortest* beginning replaces all of it, so
 * that "fi" ligature + accent loses its accent. Longer clusters, and those that do not match, are
 * looked up character by character.
 *
 * @throws IllegalArgumentException for a table that is cut off.
 */
internal class CharsmapNormalizer(charsmap: ByteArray) : Normalizer {
    private val units: IntArray
    private val replacements: ByteArray

    init {
        require(charsmap.size >= Int.SIZE_BYTES) { "the normalizer's table is cut off" }
        val bytes = ByteBuffer.wrap(charsmap).order(ByteOrder.LITTLE_ENDIAN)
        val count = bytes.getInt().ushr(2)
        require(count in 1..bytes.remaining() / Int.SIZE_BYTES) {
            "the normalizer's table is cut off"
        }
        units = IntArray(count) { bytes.getInt() }
        replacements = ByteArray(bytes.remaining()).also(bytes::get)
        replacements.decodeToString(throwOnInvalidSequence = true)
    }

    override fun normalize(input: NormalizedText): NormalizedText {
        val text = input.text
        val output = Rewriting(input)
        var start = 0
        while (start < text.length) {
            val end = graphemeClusterEnd(text, start)
            val short = utf8Length(text, start, end) <= LONGEST_CLUSTER
            val replacement = if (short) find(text, start, end) else null
            if (replacement != null) {
                output.replace(text.codePointCount(start, end), replacement)
            } else {
                normalizeEach(text, start, end, output)
            }
            start = end
        }
        return output.result()
    }

    private fun normalizeEach(text: String, start: Int, end: Int, output: Rewriting) {
        var index = start
        while (index < end) {
            val next = index + text.codePointSize(index)
            val replacement = find(text, index, next)
            if (replacement != null) {
                output.replace(1, replacement)
            } else {
                output.keep(text, index, next)
            }
            index = next
        }
    }

    /** Replacement of the shortest beginning of the range that has one. */
    private fun find(text: String, start: Int, end: Int): String? {
        var node = childrenOf(unit(0))
        var index = start
        while (index < end) {
            val codePoint = text.codePointAt(index)
            index += Character.charCount(codePoint)
            val size = utf8Length(codePoint)
            for (position in 0 until size) {
                val byte = utf8Byte(codePoint, position, size)
                if (byte == 0) return null // closes every key
                node = node xor byte
                val unit = unit(node)
                if (labelOf(unit) != byte) return null
                node = node xor childrenOf(unit)
                if (hasLeaf(unit)) return replacementAt(unit(node) and Int.MAX_VALUE)
            }
        }
        return null
    }

    private fun replacementAt(offset: Int): String {
        if (offset > replacements.size) damaged()
        var end = offset
        while (end < replacements.size && replacements[end] != 0.toByte()) end++
        if (end > offset && replacements[offset].toInt() and 0xC0 == 0x80) damaged()
        return replacements.decodeToString(offset, end)
    }

    private fun unit(index: Int): Int = if (index in units.indices) units[index] else damaged()

    private fun damaged(): Nothing = throw brokenTokenizer("the normalizer's table is damaged")
}

// Layout of a unit of the double array.
private fun hasLeaf(unit: Int): Boolean = unit ushr 8 and 1 == 1

private fun labelOf(unit: Int): Int = unit and (Int.MIN_VALUE or 0xFF)

private fun childrenOf(unit: Int): Int = (unit ushr 10) shl (unit and (1 shl 9) ushr 6)

/**
 * Text being rewritten, with the library's bookkeeping of where each new character comes from: it
 * stands for the old one at its place, is inserted after the last old one, or stands for several.
 */
private class Rewriting(private val input: NormalizedText) {
    private val text = StringBuilder(input.text.length)
    private val oldHead = input.text.codePointCount(0, input.head)
    private var head = 0
    private var consumed = 0 // old characters

    // The latest new character: a removal after it is still to be added to it.
    private var size = 0
    private var change = 0

    fun keep(source: String, start: Int, end: Int) {
        text.append(source, start, end)
        push(end - start, 0)
    }

    /** The next [old] characters become [replacement]. */
    fun replace(old: Int, replacement: String) {
        text.append(replacement)
        checkLength(text.length)
        val new = replacement.codePointCount(0, replacement.length)
        var index = 0
        for (position in 0 until new) {
            val next = index + replacement.codePointSize(index)
            push(next - index, if (position < old) 0 else 1)
            index = next
        }
        // With nothing before it a removal is forgotten, in the library too.
        if (new < old && size > 0) change -= old - new
    }

    fun result(): NormalizedText {
        settle()
        return NormalizedText(text.toString(), head)
    }

    private fun push(newSize: Int, newChange: Int) {
        settle()
        size = newSize
        change = newChange
    }

    private fun settle() {
        if (size == 0) return
        val origin = if (change > 0) consumed - 1 else consumed
        if (change <= 0) consumed += 1 - change
        if (origin < oldHead) head += size
        size = 0
    }
}
