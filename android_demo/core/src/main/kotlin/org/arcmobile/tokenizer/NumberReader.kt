package org.arcmobile.tokenizer

private val POWERS_OF_TEN = DoubleArray(309) { "1e$it".toDouble() }

/** Another digit fits 64 bits for certain. */
private const val ROOMY = Long.MAX_VALUE / 10 - 1

/** More than any exponent that leaves a number other than 0. */
private const val MOST_EXPONENT = 1_000_000

/**
 * Reads the JSON number at [start] of [text] as the float64 that the `tokenizers` library reads.
 *
 * Its JSON reader takes the digits as an integer, rounds that to float64 and scales it by a power
 * of ten: for the 16 digits of a score the result is often the neighbour of the closest float64.
 * Cuts of equal score compete (`a·aa`, `aa·a`), so the last bit counts, and [String.toDouble] will
 * not do.
 */
internal class NumberReader(private val text: CharArray, start: Int) {
    /** Behind the number, once it is [read]. */
    var end = start
        private set

    private var digits = 0L // unsigned
    private var power = 0

    /** @throws IllegalArgumentException for text that is not a number, or too large. */
    fun read(): Double {
        val negative = accept('-')
        readWhole()
        if (accept('.')) readFraction()
        if (accept('e') || accept('E')) readExponent()
        val magnitude = scaled()
        return if (negative) -magnitude else magnitude
    }

    private fun readWhole() {
        val start = end
        var full = false
        while (digitFollows()) {
            full = full || !take()
            if (full) power++
            end++
        }
        if (end == start || text[start] == '0' && end > start + 1) notANumber()
    }

    private fun readFraction() {
        val start = end
        var full = false
        while (digitFollows()) {
            full = full || !take()
            if (!full) power--
            end++
        }
        if (end == start) notANumber()
    }

    private fun readExponent() {
        val negative = accept('-')
        if (!negative) accept('+')
        val start = end
        var exponent = 0
        while (digitFollows()) {
            exponent = minOf(exponent * 10 + (text[end++] - '0'), MOST_EXPONENT)
        }
        if (end == start) notANumber()
        power += if (negative) -exponent else exponent
    }

    /** Appends the current digit if the digits still fit 64 bits. */
    private fun take(): Boolean {
        val digit = text[end] - '0'
        if (digits !in 0..ROOMY && !fits(digit)) return false
        digits = digits * 10 + digit
        return true
    }

    private fun fits(digit: Int): Boolean =
        digits.toULong() <= (ULong.MAX_VALUE - digit.toULong()) / 10u

    private fun scaled(): Double {
        var value = digits.toULong().toDouble()
        while (power < -308 && value != 0.0) {
            value /= 1e308
            power += 308
        }
        if (value == 0.0) return 0.0
        require(power <= 308) { "a score is out of range" }
        value = if (power >= 0) value * POWERS_OF_TEN[power] else value / POWERS_OF_TEN[-power]
        require(value.isFinite()) { "a score is out of range" }
        return value
    }

    private fun digitFollows() = end < text.size && text[end] in '0'..'9'

    private fun accept(char: Char): Boolean {
        val found = end < text.size && text[end] == char
        if (found) end++
        return found
    }

    private fun notANumber(): Nothing = throw IllegalArgumentException("a score is not a number")
}
