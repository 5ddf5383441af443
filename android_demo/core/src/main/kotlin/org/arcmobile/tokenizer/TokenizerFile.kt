package org.arcmobile.tokenizer

import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import org.arcmobile.checkJson

/** Levels of the file, as the Python library allows. */
private const val DEEPEST = 127

/** Beginnings of pieces: 250,000 pieces have some 2 million, and each takes 32 bytes. */
private const val MOST_NODES = 4_000_000

// The format of tokenizer.json. A key that is not here is refused: it could change the ids.

/** Truncation and padding are overruled, as in Python; the decoder makes text of ids. */
@Serializable
internal class TokenizerFile(
    val version: String = VERSION,
    @Suppress("unused") val truncation: JsonElement? = null,
    @Suppress("unused") val padding: JsonElement? = null,
    @SerialName("added_tokens") val addedTokens: List<AddedToken> = emptyList(),
    val normalizer: JsonElement? = null,
    @SerialName("pre_tokenizer") val preTokenizer: JsonElement? = null,
    @SerialName("post_processor") val postProcessor: JsonElement? = null,
    @Suppress("unused") val decoder: JsonElement? = null,
) {
    companion object {
        const val VERSION = "1.0"
    }
}

/** The model, but for its vocabulary. */
@Serializable
internal class UnigramEntry(
    @Suppress("unused") val type: String,
    @SerialName("unk_id") val unknown: Int? = null,
    @SerialName("byte_fallback") val byteFallback: Boolean = false,
)

@Serializable
internal class PrecompiledEntry(
    @Suppress("unused") val type: String,
    @SerialName("precompiled_charsmap") val charsmap: String,
)

@Serializable
internal class StripEntry(
    @Suppress("unused") val type: String,
    @SerialName("strip_left") val left: Boolean,
    @SerialName("strip_right") val right: Boolean,
)

@Serializable
internal class ReplaceEntry(
    @Suppress("unused") val type: String,
    val pattern: PatternEntry,
    val content: String,
)

@Serializable
internal class PatternEntry(
    @SerialName("String") val text: String? = null,
    @SerialName("Regex") val expression: String? = null,
)

@Serializable
internal class NormalizerSequence(
    @Suppress("unused") val type: String,
    val normalizers: List<JsonElement>,
)

@Serializable
internal class WhitespaceSplitEntry(@Suppress("unused") val type: String)

@Serializable
internal class MetaspaceEntry(
    @Suppress("unused") val type: String,
    val replacement: String,
    @SerialName("prepend_scheme") val prepend: String = "always",
    val split: Boolean? = null,
    @SerialName("add_prefix_space") val addPrefixSpace: Boolean? = null,
    @SerialName("str_rep") @Suppress("unused") val legacyReplacement: String? = null,
)

@Serializable
internal class PreTokenizerSequence(
    @Suppress("unused") val type: String,
    @SerialName("pretokenizers") val preTokenizers: List<JsonElement>,
)

@Serializable
internal class TemplateEntry(
    @Suppress("unused") val type: String,
    val single: List<TemplatePieceEntry>,
    @Suppress("unused") val pair: JsonElement? = null,
    @SerialName("special_tokens") val specialTokens: Map<String, SpecialTokenEntry>,
)

@Serializable
internal class TemplatePieceEntry(
    @SerialName("Sequence") val sequence: TemplateReference? = null,
    @SerialName("SpecialToken") val specialToken: TemplateReference? = null,
)

@Serializable
internal class TemplateReference(
    val id: String,
    @SerialName("type_id") @Suppress("unused") val typeId: Int,
)

@Serializable
internal class SpecialTokenEntry(
    @Suppress("unused") val id: String,
    val ids: List<Int>,
    @Suppress("unused") val tokens: List<String>,
)

/** The pieces, numbered in their order; of two that are the same the last one counts. */
internal class Vocabulary(val pieces: PieceTrie, val scores: DoubleArray)

/** The parts of the text of a tokenizer.json. */
internal class TokenizerText(
    val file: TokenizerFile,
    val model: UnigramEntry,
    val vocabulary: Vocabulary,
)

/**
 * @param checkModel throws where the type of the model is not known.
 * @throws IllegalArgumentException for text that is no tokenizer.
 */
internal fun readTokenizerText(json: String, checkModel: (JsonElement?) -> Unit): TokenizerText {
    checkJson(json, DEEPEST)
    val cursor = JsonCursor(json)
    val fields = HashMap<String, JsonElement>()
    val modelFields = HashMap<String, JsonElement>()
    var vocabulary: Vocabulary? = null
    cursor.readObject { key ->
        if (key != "model") {
            fields[key] = cursor.readElement()
        } else {
            cursor.readObject { name ->
                when (name) {
                    "vocab" -> vocabulary = readVocabulary(cursor)
                    else -> modelFields[name] = cursor.readElement()
                }
                // Before the vocabulary: that of another model is no list.
                if (name == "type") checkModel(modelFields[name])
            }
        }
    }
    cursor.expectEnd()
    val model = Json.decodeFromJsonElement(UnigramEntry.serializer(), JsonObject(modelFields))
    return TokenizerText(
        Json.decodeFromJsonElement(TokenizerFile.serializer(), JsonObject(fields)),
        model,
        requireNotNull(vocabulary) { "no vocabulary" },
    )
}

private fun readVocabulary(cursor: JsonCursor): Vocabulary {
    val pieces = PieceTrie()
    var scores = DoubleArray(1024)
    var count = 0
    cursor.readArray {
        cursor.expect('[')
        val text = cursor.readString()
        cursor.expect(',')
        if (count == scores.size) scores = scores.copyOf(count * 2)
        scores[count] = cursor.readNumber()
        cursor.expect(']')
        require(indexOfLoneSurrogate(text) < 0) { "piece $count is not valid Unicode" }
        // The library never looks the empty piece up.
        require(pieces.size + text.length <= MOST_NODES) { "the vocabulary is too large" }
        if (text.isNotEmpty()) pieces.put(text, count)
        count++
    }
    return Vocabulary(pieces, scores.copyOf(count))
}
