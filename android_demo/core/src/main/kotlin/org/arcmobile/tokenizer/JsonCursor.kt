package org.arcmobile.tokenizer

import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement

/**
 * Walks once over JSON that [org.arcmobile.checkJson] has passed, from left to right: the long list
 * of pieces without an object for each bracket, everything else as values for the serialization
 * library.
 *
 * Every function throws [IllegalArgumentException] where the text is not what it is to be.
 */
internal class JsonCursor(json: String) {
    private val text = json.toCharArray() // megabytes are read before anything is compiled
    private var at = 0

    /** The members of an object; [member] reads the value. */
    fun readObject(member: (key: String) -> Unit) {
        readItems('{', '}') {
            val key = readString()
            expect(':')
            member(key)
        }
    }

    /** The items of a list; [item] reads one. */
    fun readArray(item: () -> Unit): Unit = readItems('[', ']', item)

    fun readString(): String {
        skipSpace()
        val start = at
        skipString()
        val plain = text.concatToString(start + 1, at - 1)
        return if ('\\' in plain) Json.decodeFromString("\"$plain\"") else plain
    }

    fun readNumber(): Double {
        skipSpace()
        val reader = NumberReader(text, at)
        return reader.read().also { at = reader.end }
    }

    fun readElement(): JsonElement {
        skipSpace()
        val start = at
        skipValue()
        return Json.parseToJsonElement(text.concatToString(start, at))
    }

    fun expect(char: Char) {
        if (!accept(char)) broken()
    }

    fun expectEnd() {
        skipSpace()
        if (at < text.size) broken()
    }

    private inline fun readItems(open: Char, close: Char, item: () -> Unit) {
        expect(open)
        if (accept(close)) return
        do item() while (accept(','))
        expect(close)
    }

    /** To the end of a value; what is between its brackets is looked at by whoever reads it. */
    private fun skipValue() {
        var depth = 0
        do {
            when (peek()) {
                '"' -> skipString()
                '{', '[' -> {
                    depth++
                    at++
                }
                '}', ']' -> {
                    depth--
                    at++
                }
                else -> if (depth > 0) at++ else skipLiteral()
            }
        } while (depth > 0)
    }

    private fun skipLiteral() {
        val start = at
        while (at < text.size && (text[at].isLetterOrDigit() || text[at] in "+-.")) at++
        if (at == start) broken()
    }

    private fun skipString() {
        expect('"')
        while (peek() != '"') at += if (text[at] == '\\') 2 else 1
        at++
    }

    private fun accept(char: Char): Boolean {
        skipSpace()
        val found = at < text.size && text[at] == char
        if (found) at++
        return found
    }

    private fun peek(): Char = if (at < text.size) text[at] else broken()

    private fun skipSpace() {
        while (at < text.size && text[at] <= ' ') at++
    }

    private fun broken(): Nothing =
        throw IllegalArgumentException("broken JSON at character ${at + 1}")
}
