package org.arcmobile

import kotlin.math.exp

/**
 * Times of the ping-pong sampler, steps + 1 values from 1 down to 0, in float32 as
 * `runtime/schedule.py` computes them: `sigmoid(-linspace(logsnrStart, logsnrEnd, steps + 1))`
 * with the first value replaced by 1 and the last by 0.
 *
 * The exponential is that of float64: those of float32 differ between libraries in the last bit,
 * which int8 networks turn into other roundings, and a seed would sound a little different here.
 */
internal fun Schedule.times(steps: Int): FloatArray {
    val first = logsnrStart.toFloat()
    val last = logsnrEnd.toFloat()
    val step = (last - first) / steps
    val count = steps + 1
    val times = FloatArray(count) { index ->
        // From both ends, as PyTorch's linspace does.
        val logsnr =
            if (index < count / 2) first + step * index else last - step * (count - 1 - index)
        1f / (1f + exp(logsnr.toDouble()).toFloat())
    }
    times[0] = 1f
    times[steps] = 0f
    return times
}
