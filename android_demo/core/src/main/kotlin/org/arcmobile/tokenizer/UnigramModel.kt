package org.arcmobile.tokenizer

import org.arcmobile.tokenizer.PieceTrie.Companion.NONE
import org.arcmobile.tokenizer.PieceTrie.Companion.ROOT

private const val UNKNOWN_PENALTY = 10.0

/**
 * Unigram language model: of all ways to cut a word into pieces, the one with the highest sum of
 * scores.
 *
 * Sums are built from the left in float64 and the first of equals stays, shorter pieces before
 * longer ones: ties between, say, `a·aa` and `aa·a` are settled by the last bit.
 *
 * @param scores by id.
 * @param unknown id of what no piece covers; characters of it that follow each other become one.
 * @param byteFallback whether unknown text is spelt in pieces `<0x00>` .. `<0xFF>` where all its
 *     bytes have one.
 */
internal class UnigramModel(
    private val pieces: PieceTrie,
    private val scores: DoubleArray,
    private val unknown: Int,
    byteFallback: Boolean,
) {
    private val unknownScore = scores.min() - UNKNOWN_PENALTY
    private val bytePieces = if (byteFallback) IntArray(256) { pieces.find(byteName(it)) } else null

    val size: Int get() = scores.size

    /** The id of the piece [text], or null. */
    fun idOf(text: String): Int? = pieces.find(text).takeIf { it != NONE }

    /** Appends the ids of the pieces of [word] to [ids]. */
    fun encode(word: String, ids: IdList) {
        val path = BestPath(word)
        var start = 0
        while (start < word.length) {
            var end = path.next[start]
            val id = path.ids[end]
            if (id != unknown) {
                ids.add(id)
            } else {
                while (end < word.length && path.ids[path.next[end]] == unknown) {
                    end = path.next[end]
                }
                encodeUnknown(word, start, end, ids)
            }
            start = end
        }
    }

    /** Joined, unknown characters may be a piece after all: one with a very low score. */
    private fun encodeUnknown(word: String, start: Int, end: Int, ids: IdList) {
        val piece = pieces.find(word, start, end)
        if (piece != NONE) return ids.add(piece)
        val bytes = bytePieces?.let { names ->
            word.substring(start, end).encodeToByteArray().map { names[it.toInt() and 0xFF] }
        }
        if (bytes == null || NONE in bytes) ids.add(unknown) else bytes.forEach(ids::add)
    }

    /** [ids] holds by end, and [next] by start, the pieces of the best way through the word. */
    private inner class BestPath(private val word: String) {
        val ids = IntArray(word.length + 1)
        val next = IntArray(word.length + 1)
        private val starts = IntArray(word.length + 1) { NONE }
        private val best = DoubleArray(word.length + 1)

        init {
            var start = 0
            while (start < word.length) {
                extend(start, word.codePointSize(start))
                start += word.codePointSize(start)
            }
            var end = word.length
            while (end > 0) {
                next[starts[end]] = end
                end = starts[end]
            }
        }

        private fun extend(start: Int, characterSize: Int) {
            var node = ROOT
            var covered = false
            for (end in start + 1..word.length) {
                node = pieces.child(node, word[end - 1])
                if (node == NONE) break
                val id = pieces.value(node)
                if (id == NONE) continue
                offer(start, end, id, scores[id])
                if (end == start + characterSize) covered = true
            }
            if (!covered) offer(start, start + characterSize, unknown, unknownScore)
        }

        private fun offer(start: Int, end: Int, id: Int, score: Double) {
            val sum = score + best[start]
            if (starts[end] != NONE && sum <= best[end]) return
            best[end] = sum
            starts[end] = start
            ids[end] = id
        }
    }
}

private fun byteName(byte: Int): String =
    "<0x${byte.toString(16).uppercase().padStart(2, '0')}>"

/** Ids, appended one by one. */
internal class IdList {
    private var ids = IntArray(64)
    private var size = 0

    fun add(id: Int) {
        if (size == ids.size) ids = ids.copyOf(size * 2)
        ids[size++] = id
    }

    fun toIntArray(): IntArray = ids.copyOf(size)
}
