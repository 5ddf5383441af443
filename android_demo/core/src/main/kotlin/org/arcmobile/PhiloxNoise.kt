package org.arcmobile

import kotlin.math.sqrt

/**
 * The noise of one generation: generator `philox4x32-10-boxmuller-1`, bit for bit what
 * `docs/bundle.md` specifies, so that a seed gives the same sound in Python, C++ and Kotlin.
 *
 * Only integer arithmetic and the IEEE-754 operations `+ - * / sqrt` on float64 are used, each
 * rounded by itself. `Math.log`, `Math.sin` and `Math.cos` differ between machines and are absent.
 *
 * @param item index in a batch; 0 for a single sound.
 */
internal class PhiloxNoise(private val seed: ULong, private val item: UInt = 0u) {
    /** Noise that the sampler starts from: [count] standard normals, in C order of the tensor. */
    fun initial(count: Int): FloatArray = normals(INITIAL, count)

    /** Noise of sampler step [index]; the first step is 1. */
    fun step(index: Int, count: Int): FloatArray {
        require(index >= 1) { "step $index; the first is 1" }
        return normals(index.toUInt(), count)
    }

    /** Elements [first] until [first] + [count] of one [stream]. */
    fun normals(stream: UInt, count: Int, first: Long = 0): FloatArray {
        require(first >= 0 && first + count <= MAX_ELEMENTS) { "elements $first + $count" }
        val noise = FloatArray(count)
        var block = first / PER_BLOCK
        while (block * PER_BLOCK < first + count) {
            val words = philox4x32(intArrayOf(block.toInt(), 0, stream.toInt(), item.toInt()), seed)
            for (half in 0..1) {
                val element = (block * PER_BLOCK - first).toInt() + 2 * half
                putPair(words[2 * half], words[2 * half + 1], noise, element)
            }
            block++
        }
        return noise
    }

    internal companion object {
        const val INITIAL: UInt = 0u
        private const val PER_BLOCK = 4
        private const val MAX_ELEMENTS = PER_BLOCK * (1L shl 32)
    }
}

private const val ROUNDS = 10
private const val MULTIPLIER_0 = 0xD2511F53L
private const val MULTIPLIER_1 = 0xCD9E8D57L
private const val WEYL_0 = -0x61c88647 // 0x9E3779B9
private const val WEYL_1 = -0x4498517b // 0xBB67AE85
private const val LOW_32 = 0xFFFFFFFFL

private const val SQRT_HALF = 0.7071067811865476
private const val LN2 = 0.6931471805599453
private const val TWO_PI_OVER_2_32 = 6.283185307179586 / 4294967296.0

// ln((1 + s) / (1 - s)) = 2 s (1 + z/3 + z^2/5 + ...), and the Taylor series of cosine and sine.
private val LOG_TERMS = DoubleArray(11) { 1.0 / (2 * it + 1) }
private val COS_TERMS = DoubleArray(9) { sign(it) / factorial(2 * it) }
private val SIN_TERMS = DoubleArray(9) { sign(it) / factorial(2 * it + 1) }

private fun sign(k: Int): Double = if (k % 2 == 0) 1.0 else -1.0

/** Exact up to 18!. */
private fun factorial(n: Int): Double = (1..n).fold(1.0) { product, k -> product * k }

/** Philox4x32-10 of four counter words under the two words of [key]; all are uint32. */
internal fun philox4x32(counter: IntArray, key: ULong): IntArray {
    var (c0, c1, c2, c3) = counter
    var k0 = key.toInt()
    var k1 = (key shr 32).toInt()
    repeat(ROUNDS) {
        val product0 = (c0.toLong() and LOW_32) * MULTIPLIER_0
        val product1 = (c2.toLong() and LOW_32) * MULTIPLIER_1
        c0 = (product1 ushr 32).toInt() xor c1 xor k0
        c1 = product1.toInt()
        c2 = (product0 ushr 32).toInt() xor c3 xor k1
        c3 = product0.toInt()
        k0 += WEYL_0
        k1 += WEYL_1
    }
    return intArrayOf(c0, c1, c2, c3)
}

/** Box-Muller of the words [a] and [b] into [noise] at [element] and the next, where they exist. */
private fun putPair(a: Int, b: Int, noise: FloatArray, element: Int) {
    val radius = sqrt(-2.0 * logUnit(a))
    val quadrant = (b + (1 shl 29)) ushr 30
    val x = (b - (quadrant shl 30)).toDouble() * TWO_PI_OVER_2_32
    val z = x * x
    val c = horner(COS_TERMS, z)
    val s = x * horner(SIN_TERMS, z)
    val odd = quadrant and 1 == 1
    val cosine = if (odd) s else c
    val sine = if (odd) c else s
    val negative = quadrant == 1 || quadrant == 2
    if (element in noise.indices) {
        noise[element] = (radius * (if (negative) -cosine else cosine)).toFloat()
    }
    if (element + 1 in noise.indices) {
        noise[element + 1] = (radius * (if (quadrant >= 2) -sine else sine)).toFloat()
    }
}

/** Natural logarithm of `(word + 1) / 2^32`. */
private fun logUnit(word: Int): Double {
    val n = ((word.toLong() and LOW_32) + 1).toDouble()
    var exponent = Math.getExponent(n) + 1
    var fraction = Math.scalb(n, -exponent) // in 0.5 .. 1, exact
    if (fraction < SQRT_HALF) {
        fraction *= 2.0
        exponent--
    }
    val s = (fraction - 1.0) / (fraction + 1.0)
    return (exponent - 32).toDouble() * LN2 + (2.0 * s) * horner(LOG_TERMS, s * s)
}

private fun horner(terms: DoubleArray, z: Double): Double {
    var value = terms.last()
    for (k in terms.size - 2 downTo 0) value = value * z + terms[k]
    return value
}
