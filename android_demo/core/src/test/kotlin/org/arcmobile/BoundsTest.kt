package org.arcmobile

import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

class BoundsTest {
    @Test
    fun `bounds are those of Python and C++`() {
        val file = File(System.getProperty("arcmobile.contract"), "bounds.json")
        val table = Json.parseToJsonElement(file.readText()).jsonObject
            .mapValues { it.value.jsonPrimitive.int }
        val constants = Bounds::class.java.declaredFields
            .filter { it.type == Int::class.javaPrimitiveType }
            .associate { it.name.lowercase() to it.getInt(null) }
        assertEquals(table, constants)
    }
}
