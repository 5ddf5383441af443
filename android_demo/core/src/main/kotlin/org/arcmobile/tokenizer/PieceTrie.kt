package org.arcmobile.tokenizer

/**
 * Texts with a number each, stored by UTF-16 unit so that prefixes are shared.
 *
 * The edges are one open hash table in two arrays: 32,000 pieces take some 3 MB and no objects.
 */
internal class PieceTrie {
    private var edges = LongArray(INITIAL_CAPACITY) // 1 + (node, unit); 0 is free
    private var targets = IntArray(INITIAL_CAPACITY)
    private var values = IntArray(INITIAL_CAPACITY) { NONE } // by node
    private var nodes = 1

    /** Texts that one of the texts begins with. */
    val size: Int get() = nodes

    /** [value] (0 and up) for [text]; replaces the value it had. */
    fun put(text: String, value: Int) {
        var node = ROOT
        for (unit in text) {
            val next = child(node, unit)
            node = if (next == NONE) addChild(node, unit) else next
        }
        values[node] = value
    }

    /** The node that [unit] leads to, or [NONE]. */
    fun child(node: Int, unit: Char): Int {
        val slot = slot(edges, edge(node, unit))
        return if (edges[slot] == 0L) NONE else targets[slot]
    }

    /** The value of the text that ends at [node], or [NONE]. */
    fun value(node: Int): Int = values[node]

    /** The value of a range of [text], or [NONE]. */
    fun find(text: String, start: Int = 0, end: Int = text.length): Int {
        var node = ROOT
        for (index in start until end) {
            node = child(node, text[index])
            if (node == NONE) return NONE
        }
        return values[node]
    }

    private fun addChild(node: Int, unit: Char): Int {
        if (nodes * 2 >= edges.size) grow()
        val edge = edge(node, unit)
        val slot = slot(edges, edge)
        edges[slot] = edge
        targets[slot] = nodes
        return nodes++
    }

    private fun grow() {
        val larger = LongArray(edges.size * 2)
        val largerTargets = IntArray(larger.size)
        for (old in edges.indices) {
            if (edges[old] == 0L) continue
            val slot = slot(larger, edges[old])
            larger[slot] = edges[old]
            largerTargets[slot] = targets[old]
        }
        edges = larger
        targets = largerTargets
        values = values.copyOf(larger.size).also { it.fill(NONE, values.size) }
    }

    private fun edge(node: Int, unit: Char): Long = (node.toLong() shl 16 or unit.code.toLong()) + 1

    private fun slot(table: LongArray, edge: Long): Int {
        val mask = table.size - 1
        var slot = (edge * SCATTER ushr 32).toInt() and mask
        while (table[slot] != 0L && table[slot] != edge) slot = slot + 1 and mask
        return slot
    }

    companion object {
        const val ROOT = 0
        const val NONE = -1
        private const val INITIAL_CAPACITY = 1 shl 10
        private const val SCATTER = -0x61c8864680b583ebL // 2^64 / golden ratio
    }
}
