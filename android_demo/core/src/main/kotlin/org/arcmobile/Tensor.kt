package org.arcmobile

import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer
import java.nio.IntBuffer

/** A tensor that engines take and give: row-major values in a direct buffer in native order. */
public sealed interface Tensor {
    public val shape: LongArray
}

/** float32 values; [data] starts at position 0 and holds one value per element of [shape]. */
public class FloatTensor(override val shape: LongArray, public val data: FloatBuffer) : Tensor {
    public companion object {
        /** All zeros. */
        public fun zeros(vararg shape: Long): FloatTensor =
            FloatTensor(shape, directBytes(shape).asFloatBuffer())

        public fun of(values: FloatArray, vararg shape: Long): FloatTensor =
            zeros(*shape).apply { data.from(0).put(values) }
    }

    /** A copy of the values. */
    public fun toFloatArray(): FloatArray =
        FloatArray(data.limit()).also { data.from(0).get(it) }
}

/** int32 values; [data] starts at position 0 and holds one value per element of [shape]. */
public class IntTensor(override val shape: LongArray, public val data: IntBuffer) : Tensor {
    public companion object {
        public fun of(values: IntArray, vararg shape: Long): IntTensor =
            IntTensor(shape, directBytes(shape).asIntBuffer().apply { duplicate().put(values) })
    }
}

/** A view of the same values that reads and writes from [position] on. */
internal fun FloatBuffer.from(position: Int): FloatBuffer {
    val view = duplicate()
    val buffer: Buffer = view // Android 8 has no position() that returns a FloatBuffer
    buffer.position(position)
    return view
}

private fun directBytes(shape: LongArray): ByteBuffer {
    val bytes = shape.fold(4L) { product, size -> Math.multiplyExact(product, size) }
    return ByteBuffer.allocateDirect(Math.toIntExact(bytes)).order(ByteOrder.nativeOrder())
}
