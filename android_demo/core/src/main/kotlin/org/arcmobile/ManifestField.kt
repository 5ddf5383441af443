package org.arcmobile

import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive

/** What is wrong with a manifest, beginning with the field. [wayOut] null: export it again. */
internal class InvalidManifest(message: String, val wayOut: String? = null) : Exception(message)

/**
 * One value of the manifest and its place in it. Every read checks the type as strictly as the
 * Python side does, which generated readers do not: they take `"5"` for 5.
 */
internal class ManifestField(private val element: JsonElement, private val path: String = "") {
    val isNull: Boolean get() = element is JsonNull

    fun fail(problem: String): Nothing =
        throw InvalidManifest(if (path.isEmpty()) problem else "$path: $problem")

    /** The members of an object that has all of [required], maybe some of [optional], no others. */
    fun record(required: List<String>, optional: List<String> = emptyList()): ManifestRecord {
        val members = members()
        required.firstOrNull { it !in members }?.let { at(it).fail("is missing") }
        members.keys.firstOrNull { it !in required && it !in optional }?.let {
            at(it).fail("is unknown")
        }
        return ManifestRecord(members)
    }

    /** The members of an object whose keys are free. */
    fun members(): Map<String, ManifestField> {
        val members = element as? JsonObject ?: fail("must be an object")
        return members.mapValues { (key, value) -> ManifestField(value, place(key)) }
    }

    fun list(atLeast: Int = 0): List<ManifestField> {
        val items = element as? JsonArray ?: fail("must be a list")
        if (items.size < atLeast) fail("is empty")
        return items.mapIndexed { index, item -> ManifestField(item, "$path[$index]") }
    }

    fun text(): String {
        val value = element as? JsonPrimitive
        return if (value != null && value.isString) value.content else fail("must be a string")
    }

    /** Text that is one of [known]; a newer export may say something else. */
    fun choice(vararg known: String): String {
        val text = text()
        if (text in known) return text
        throw InvalidManifest(
            "$path: '${text.take(SHOWN)}' is unknown (known: ${known.joinToString()})",
            "upgrade the app or export the bundle again",
        )
    }

    fun integer(least: Int, most: Int = Int.MAX_VALUE): Int =
        long(least.toLong(), most.toLong()).toInt()

    fun long(least: Long, most: Long = Long.MAX_VALUE): Long {
        val value = unquoted()?.takeIf(WHOLE::matches)?.toLongOrNull() ?: fail("must be an integer")
        if (value !in least..most) fail("is $value, not $least to $most")
        return value
    }

    /** A finite number. */
    fun number(): Double {
        val value = unquoted()?.takeIf(NUMBER::matches)?.toDouble() ?: fail("must be a number")
        return if (value.isFinite()) value else fail("is out of range")
    }

    fun digest(): String {
        val text = text()
        return if (DIGEST.matches(text)) text else fail("must be a sha256 in hex")
    }

    /** A release of a runtime, such as `1.5.1`. */
    fun release(): String {
        val text = text()
        return if (RELEASE.matches(text)) text else fail("is not a release such as 1.5.1")
    }

    /** A name that cannot leave the bundle's folder. */
    fun fileName(): String {
        val name = text()
        if (!PLAIN_NAME.matches(name)) {
            fail("'${name.take(SHOWN)}' leaves the bundle's folder or is not a plain file name")
        }
        if (name == MANIFEST_FILE) fail("'$name' is reserved for the manifest")
        return name
    }

    private fun unquoted(): String? =
        (element as? JsonPrimitive)?.takeUnless { it.isString || it is JsonNull }?.content

    private fun at(key: String) = ManifestField(JsonNull, place(key))

    private fun place(key: String) =
        if (path.isEmpty()) key.take(SHOWN) else "$path.${key.take(SHOWN)}"

    private companion object {
        const val SHOWN = 60
        val WHOLE = Regex("-?(0|[1-9][0-9]*)")
        val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
        val DIGEST = Regex("[0-9a-f]{64}")
        val RELEASE = Regex("[0-9]{1,4}(\\.[0-9]{1,4}){1,2}")
        val PLAIN_NAME = Regex("[A-Za-z0-9][A-Za-z0-9._-]*")
    }
}

/** The members of one object of the manifest, all of whose required ones are there. */
internal class ManifestRecord(private val members: Map<String, ManifestField>) {
    operator fun get(key: String): ManifestField = members.getValue(key)

    /** An optional member; null where it is missing or null. */
    fun find(key: String): ManifestField? = members[key]?.takeUnless { it.isNull }
}
