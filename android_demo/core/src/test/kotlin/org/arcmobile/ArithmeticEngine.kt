package org.arcmobile

import java.util.concurrent.atomic.AtomicBoolean
import kotlin.test.assertTrue

/**
 * An engine that computes: a weighted sum for the conditioner, a mix for the DiT, convolutions for
 * the decoder's parts, whose windows are spoilt at their edges as a network's are. It keeps what it
 * is told of memory, and overwrites the outputs of one run in the next, as engines may.
 */
internal class ArithmeticEngine(private val bundle: Bundle) : Engine {
    val loaded = mutableSetOf<String>()

    /** Every load and run that began, in order: `load dit`, `run dit`. */
    val calls = mutableListOf<String>()
    var timesClosed = 0
        private set

    /** Called as each load and run begins, with its index; may throw, or do something rude. */
    var onCall: (index: Int) -> Unit = {}

    private val busy = AtomicBoolean()
    private val outputs = mutableMapOf<String, FloatTensor>()

    override fun load(component: String, entry: Entry) = alone {
        begin("load $component")
        check(bundle.file(component).readText() == "the program $component")
        loaded += component
    }

    override fun run(component: String, entry: Entry, inputs: List<Tensor>): List<FloatTensor> =
        alone {
            begin("run $component")
            check(component in loaded)
            check(inputs.map { it.shape.toList() } == entry.inputs.map { it.shape })
            val values = when (component) {
                "conditioner" -> condition(inputs)
                "dit" -> velocity(inputs)
                else -> convolve(component, inputs.single() as FloatTensor)
            }
            val shape = entry.outputs.single().shape.toLongArray()
            val output = outputs.getOrPut("$component ${entry.name}") { FloatTensor.zeros(*shape) }
            output.data.from(0).put(values)
            listOf(output)
        }

    override fun free(component: String) = alone {
        loaded -= component
    }

    override fun close() = alone {
        loaded.clear()
        timesClosed++
        Unit
    }

    private fun begin(call: String) {
        calls += call
        onCall(calls.lastIndex)
    }

    private fun <T> alone(action: () -> T): T {
        assertTrue(busy.compareAndSet(false, true), "the engine is called while it runs")
        try {
            return action()
        } finally {
            busy.set(false)
        }
    }
}

internal class ArithmeticProvider(
    override val backend: String = TestBundle.BACKEND,
    private val open: (Bundle) -> Engine = ::ArithmeticEngine,
) : EngineProvider {
    override val runtime: String = "arithmetic 1"

    override fun open(bundle: Bundle, options: EngineOptions): Engine = open.invoke(bundle)
}

/** Sums of ids and mask, and the numbers: `(1, 3)`. */
private fun condition(inputs: List<Tensor>): FloatArray {
    val ids = (inputs[0] as IntTensor).data
    val mask = (inputs[1] as FloatTensor).toFloatArray()
    val sum = mask.indices.sumOf { (ids.get(it) * mask[it] * (it + 1)).toDouble() }.toFloat()
    val (seconds, speed) = inputs.drop(2).map { (it as FloatTensor).data.get(0) }
    return floatArrayOf(sum / 100f, seconds, speed / 100f)
}

private fun velocity(inputs: List<Tensor>): FloatArray {
    val (cond, time, latent) = inputs.map { (it as FloatTensor).toFloatArray() }
    return FloatArray(latent.size) { 0.5f * latent[it] - time[0] * cond.sum() / (it + 1) }
}

/** A convolution with `2 * context + 1` taps, whose kernel depends on channels and phase. */
internal fun convolve(component: String, input: FloatTensor): FloatArray {
    val index = component.removePrefix("decoder_").toInt() - 1
    val context = TestBundle.CONTEXTS[index]
    val ratio = 4
    val given = if (index == 0) 3 else 2
    val (_, taken, frames) = input.shape.map { it.toInt() }
    val values = input.toFloatArray()
    return FloatArray(given * frames * ratio) { position ->
        val channel = position / (frames * ratio)
        val at = position % (frames * ratio)
        var sum = 0f
        for (source in 0 until taken) {
            for (tap in -context..context) {
                val frame = at / ratio + tap
                if (frame !in 0 until frames) continue
                val weight = 1f / (2 + channel + source + tap + context + at % ratio)
                sum += weight * values[source * frames + frame]
            }
        }
        sum
    }
}
