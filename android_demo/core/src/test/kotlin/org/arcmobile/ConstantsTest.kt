package org.arcmobile

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/** Constants that `runtime/contract` holds for all readers. */
class ConstantsTest {
    @Test
    fun `bounds are those of Python and C++`() {
        val table = contractJson("bounds.json").mapValues { it.value.jsonPrimitive.int }
        val constants = Bounds::class.java.declaredFields
            .filter { it.type == Int::class.javaPrimitiveType }
            .associate { it.name.lowercase() to it.getInt(null) }
        assertEquals(table, constants)
    }

    @Test
    fun `names are those of Python and C++`() {
        val names = contractJson("names.json")
        fun keys(group: String) = names.getValue(group).jsonObject.keys.associateWith { it }
        val values = names.getValue("values").jsonObject.mapValues { it.value.jsonPrimitive.content }
        val all = values - "native_backend" + keys("stages") + keys("tensors") + keys("dtypes")
        val constants = Class.forName("org.arcmobile.NamesKt").declaredFields
            .filter { it.type == String::class.java }
            .associate { it.name.lowercase() to it.get(null) }
        // What the DiT takes from the conditioner may be any tensors: no reader names them.
        assertEquals(all - setOf("global_cond", "cross_keys", "cross_values"), constants)
    }
}
