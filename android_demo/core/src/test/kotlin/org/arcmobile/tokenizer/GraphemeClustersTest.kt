package org.arcmobile.tokenizer

import kotlin.test.Test
import kotlin.test.assertEquals

class GraphemeClustersTest {
    /** Clusters are separated by `|`, which is a cluster of its own kind: any other character. */
    @Test
    fun `clusters end where Unicode says`() {
        val texts = listOf(
            "w|a|r|m| |r|a|i|n",
            "a|\r\n|b|\n|\r|c", // GB3 to GB5
            "\u0007|\u0301|\u007F|\u0301",
            "\uAC00|\uAC01|\u1100\u1100\uAC01\u11A8\u11A8|\u1100|a|\u1161\u11A8", // GB6 to GB8
            "e\u0301\u0323|e|\u200B|a\u200D", // GB9
            "\u0928\u093F|\u0E19\u0E33", // GB9a
            "\u0600a|\u0600\u0600\u0301|\u0600|\n", // GB9b
            "\u0915\u094D\u0937|\u0915\u094D\u200D\u0937|\u0915\u093C|\u0937", // GB9c
            "\u0915\u094D\u200C|\u0937|\u0915\u094D|a",
            "👨\u200D👩\u200D👧|👨🏽\u200D🚀|👨|👩|❤\uFE0F\u200D🔥|a\u200D|🔥", // GB11
        )
        for (text in texts) assertEquals(text.split("|"), clusters(text.replace("|", "")))
    }

    @Test
    fun `ranges of a table`() {
        val table = RangeTable("A2-1B0C10")
        assertEquals("--AAB", (0..4).map(table::classOf).joinToString(""))
        assertEquals('C', table.classOf(5 + 36))
        assertEquals(RangeTable.NONE, table.classOf(4 + 36))
        assertEquals(RangeTable.NONE, table.classOf(6 + 36))
        assertEquals(RangeTable.NONE, table.classOf(0x10FFFF))
    }

    private fun clusters(text: String): List<String> {
        val ends = generateSequence(0) { start ->
            if (start < text.length) graphemeClusterEnd(text, start) else null
        }
        return ends.zipWithNext { start, end -> text.substring(start, end) }.toList()
    }
}
