package org.arcmobile

/**
 * Ping-pong sampling: denoise fully, add fresh noise at the next level, repeat; in float32 and in
 * the order of operations of `runtime/sampler.py`.
 *
 * At every step the model gives the velocity `v` at time `t`: `denoised = x - t * v` is its guess
 * of the clean latent, and `x = (1 - next) * denoised + next * fresh noise` goes to the next step.
 *
 * @param times of the schedule, steps + 1 values.
 * @param shape of the latent.
 */
internal class PingPongSampler(
    private val times: FloatArray,
    private val noise: PhiloxNoise,
    shape: LongArray,
) {
    private val x: FloatArray = noise.initial(shape.fold(1L, Long::times).toInt())
    private val fromModel = FloatArray(x.size)

    /** What the model takes now; the sampler's result after the last step. */
    val latent: FloatTensor = FloatTensor.of(x, *shape)

    val steps: Int get() = times.size - 1

    /** The time that belongs to [latent] before step [index], counted from 0. */
    fun time(index: Int): Float = times[index]

    /** Takes the model's [velocity] for [latent] at step [index], and sets [latent] anew. */
    fun advance(index: Int, velocity: FloatTensor) {
        val now = times[index]
        val next = times[index + 1]
        velocity.data.from(0).get(fromModel)
        for (i in x.indices) x[i] = x[i] - now * fromModel[i]
        if (next > 0f) {
            val fresh = noise.step(index + 1, x.size)
            val rest = 1f - next
            for (i in x.indices) x[i] = rest * x[i] + next * fresh[i]
        }
        latent.data.from(0).put(x)
    }
}
