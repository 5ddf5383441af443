package org.arcmobile.tokenizer

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith

class NumberReaderTest {
    @Test
    fun `numbers are those of the Python library, not the closest ones`() {
        // Read by the library, written by it with all digits.
        val numbers = mapOf(
            "-9.531939083047117" to -9.531939083047115,
            "-15.159088134765625" to -15.159088134765623,
            "-2.396315097808838" to -2.396315097808838,
            "0" to 0.0,
            "-3" to -3.0,
            "1.25e2" to 125.0,
            "5E-1" to 0.5,
            "18446744073709551616" to 18446744073709551616.0,
            "0.12345678901234567890123" to 0.12345678901234568,
            "1e-400" to 0.0,
        )
        for ((text, number) in numbers) assertEquals(number, read(text), text)
    }

    @Test
    fun `text that is not a number is refused`() {
        for (text in listOf("", "-", "01", "1.", ".5", "1e", "1e+", "NaN", "1e309", "+1")) {
            assertFailsWith<IllegalArgumentException>(text) { read(text) }
        }
    }

    private fun read(text: String): Double = NumberReader(text.toCharArray(), 0).read()
}
