package org.arcmobile

import java.io.File
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.double
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/** A file of `runtime/contract`, which Python and C++ read as well. */
internal fun contractFile(name: String): File =
    File(System.getProperty("arcmobile.contract"), name)

internal fun contractJson(name: String): JsonObject =
    Json.parseToJsonElement(contractFile(name).readText()).jsonObject

/** The cases under [key] in a file of test vectors; never none. */
internal fun vectors(name: String, key: String = "cases"): List<JsonObject> =
    contractJson("vectors/$name").list(key).map { it.jsonObject }.also { check(it.isNotEmpty()) }

/** The small tokenizer that the ids of the vectors belong to. */
internal fun vectorTokenizer(): String = contractFile("vectors/tokenizer.json").readText()

internal fun JsonObject.list(key: String): List<JsonElement> = getValue(key).jsonArray

internal fun JsonObject.text(key: String): String = primitive(key).content

internal fun JsonObject.int(key: String): Int = primitive(key).int

internal fun JsonObject.double(key: String): Double = primitive(key).double

internal fun JsonObject.ints(key: String): List<Int> = list(key).map { it.jsonPrimitive.int }

internal fun JsonObject.texts(key: String): List<String> = list(key).map { it.jsonPrimitive.content }

private fun JsonObject.primitive(key: String): JsonPrimitive = getValue(key).jsonPrimitive

/** The bits of each value, in hex. */
internal fun bits(values: FloatArray): List<String> = values.map { "%08x".format(it.toRawBits()) }
