package org.arcmobile.tokenizer

import java.nio.charset.CharacterCodingException
import java.util.Base64
import kotlinx.serialization.DeserializationStrategy
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import org.arcmobile.ArcMobileException
import org.arcmobile.ArcMobileException.Kind.BUNDLE
import org.arcmobile.Bounds

private const val SHOWN = 120

// Far more than any T5 encoder has; a file from elsewhere must not cost minutes or gigabytes.
private const val MOST_NORMALIZERS = 32
private const val MOST_ADDED_TOKENS = 65_536

/**
 * The steps that a `tokenizer.json` of a T5 text encoder asks for; [json] is its text.
 *
 * @throws ArcMobileException of kind BUNDLE for a file that is broken, or asks for a step that is
 *     not known here. None is skipped: other ids are other music.
 */
internal fun readTokenizer(json: String): TokenizerSteps = try {
    steps(readTokenizerText(json, ::checkModelType))
} catch (error: IllegalArgumentException) {
    throw brokenTokenizer(error.message.orEmpty().lineSequence().first().take(SHOWN), error)
} catch (error: CharacterCodingException) {
    throw brokenTokenizer("the normalizer's replacements are not UTF-8", error)
}

internal fun brokenTokenizer(problem: String, cause: Throwable? = null): ArcMobileException =
    ArcMobileException(
        BUNDLE,
        "tokenizer.json: not a tokenizer ($problem); export the bundle again",
        cause,
    )

private fun unsupported(what: String): Nothing = throw ArcMobileException(
    BUNDLE,
    "tokenizer.json: $what is not supported; export the bundle with the tokenizer of a T5 encoder",
)

private fun steps(text: TokenizerText): TokenizerSteps {
    val file = text.file
    if (file.version != TokenizerFile.VERSION) unsupported("version ${file.version.take(SHOWN)}")
    val model = readModel(text)
    val normalizers = file.normalizer?.let(::readNormalizers).orEmpty()
    require(normalizers.size <= MOST_NORMALIZERS) { "more than $MOST_NORMALIZERS normalizers" }
    require(file.addedTokens.size <= MOST_ADDED_TOKENS) { "too many added tokens" }
    val tokens = distinctTokens(file.addedTokens, model)
    val (normalized, literal) = tokens.keys.partition { it.normalized }
    val size = maxOf(model.size, (tokens.values.maxOrNull() ?: 0) + 1)
    return TokenizerSteps(
        literalTokens = AddedTokens.of(literal, literal.ids(tokens)) { it.content },
        normalizers = normalizers,
        normalizedTokens = AddedTokens.of(normalized, normalized.ids(tokens)) {
            normalizers.normalize(NormalizedText(it.content, 0)).text
        },
        splitter = readSplitter(file.preTokenizer),
        model = model,
        template = file.postProcessor?.let { readTemplate(it, size) } ?: Template.PROMPT_ALONE,
        vocabularySize = size,
    )
}

private fun checkModelType(type: JsonElement?) {
    if (type != JsonPrimitive("Unigram")) unsupported("model ${type.toString().take(SHOWN)}")
}

private fun readModel(text: TokenizerText): UnigramModel {
    val unknown = text.model.unknown ?: unsupported("a model without unk_id")
    val vocabulary = text.vocabulary
    require(unknown in vocabulary.scores.indices) { "unk_id is outside the vocabulary" }
    return UnigramModel(
        vocabulary.pieces,
        vocabulary.scores,
        unknown,
        byteFallback = text.model.byteFallback,
    )
}

/** Ids by token. A text that is there twice counts as the last one says. */
private fun distinctTokens(all: List<AddedToken>, model: UnigramModel): Map<AddedToken, Int> {
    val latest = all.filter { it.content.isNotEmpty() }.associateBy { it.content }
    var next = model.size
    return latest.values.associateWith { token ->
        require(indexOfLoneSurrogate(token.content) < 0) { "an added token is not valid Unicode" }
        model.idOf(token.content) ?: next++
    }
}

private fun List<AddedToken>.ids(of: Map<AddedToken, Int>): IntArray =
    IntArray(size) { of.getValue(this[it]) }

private fun readNormalizers(element: JsonElement): List<Normalizer> =
    when (val type = element.type()) {
        "Precompiled" -> {
            val charsmap = element.read(PrecompiledEntry.serializer()).charsmap
            listOf(CharsmapNormalizer(Base64.getDecoder().decode(charsmap)))
        }
        "Strip" -> {
            val entry = element.read(StripEntry.serializer())
            listOf(StripNormalizer(entry.left, entry.right))
        }
        "Replace" -> listOf(readReplace(element.read(ReplaceEntry.serializer())))
        "Sequence" ->
            element.read(NormalizerSequence.serializer()).normalizers.flatMap(::readNormalizers)
        else -> unsupported("normalizer $type")
    }

private fun readReplace(entry: ReplaceEntry): Normalizer {
    require(indexOfLoneSurrogate(entry.content) < 0) { "a replacement is not valid Unicode" }
    val (text, expression) = entry.pattern.let { it.text to it.expression }
    require((text == null) != (expression == null)) { "a pattern must be a string or an expression" }
    if (text == null && expression != " {2,}") unsupported("expression ${expression?.take(SHOWN)}")
    if (text == null) return SpacesNormalizer(entry.content)
    require(text.isNotEmpty() && indexOfLoneSurrogate(text) < 0) { "a pattern is empty or not valid Unicode" }
    return ReplaceNormalizer(text, entry.content)
}

private fun readSplitter(element: JsonElement?): WordSplitter {
    val (first, second) = when {
        element == null -> null to null
        element.type() != "Sequence" -> null to element
        else -> {
            val steps = element.read(PreTokenizerSequence.serializer()).preTokenizers
            val split = steps.firstOrNull()?.takeIf { it.type() == "WhitespaceSplit" }
            val rest = if (split == null) steps else steps.drop(1)
            if (rest.size > 1) unsupported("this order of pre_tokenizers")
            split to rest.singleOrNull()
        }
    }
    first?.read(WhitespaceSplitEntry.serializer())
    return when (val type = second?.type()) {
        null -> WordSplitter(splitAtSpace = first != null, metaspace = null)
        "Metaspace" -> WordSplitter(first != null, readMetaspace(second))
        "WhitespaceSplit" -> {
            second.read(WhitespaceSplitEntry.serializer())
            WordSplitter(splitAtSpace = true, metaspace = null)
        }
        else -> unsupported("pre_tokenizer $type")
    }
}

private fun readMetaspace(element: JsonElement): Metaspace {
    val entry = element.read(MetaspaceEntry.serializer())
    val marker = entry.replacement
    require(indexOfLoneSurrogate(marker) < 0 && marker.codePointCount(0, marker.length) == 1) {
        "the replacement of spaces is not one character"
    }
    val prepend = when (entry.prepend) {
        "always" -> Prepend.ALWAYS
        "first" -> Prepend.FIRST
        "never" -> Prepend.NEVER
        else -> unsupported("prepend_scheme ${entry.prepend.take(SHOWN)}")
    }
    require(entry.addPrefixSpace != false || prepend == Prepend.NEVER) {
        "add_prefix_space does not match prepend_scheme"
    }
    return Metaspace(marker, prepend, entry.split ?: true)
}

private fun readTemplate(element: JsonElement, vocabularySize: Int): Template {
    if (element.type() != "TemplateProcessing") unsupported("post_processor ${element.type()}")
    val entry = element.read(TemplateEntry.serializer())
    val pieces = entry.single.map { piece ->
        val (sequence, token) = piece.sequence to piece.specialToken
        require((sequence == null) != (token == null)) { "the template is broken" }
        if (sequence != null) {
            require(sequence.id == "A") { "the template wants a second text" }
            null
        } else {
            val ids = entry.specialTokens[token?.id]?.ids?.toIntArray()
            require(ids != null && ids.all { it in 0 until vocabularySize }) {
                "a token of the template is missing, or not in the vocabulary"
            }
            ids
        }
    }
    require(pieces.count { it == null } <= 1) { "the template wants the text twice" }
    val added = pieces.sumOf { (it?.size ?: 0).toLong() }
    require(pieces.size <= Bounds.TOKENS && added <= Bounds.TOKENS) { "the template is too long" }
    return Template(pieces)
}

private fun <T> JsonElement.read(format: DeserializationStrategy<T>): T =
    Json.decodeFromJsonElement(format, this)

private fun JsonElement.type(): String {
    require(this !is JsonArray) { "a step is a list" }
    val type = (this as? JsonObject)?.get("type") as? JsonPrimitive
    require(type != null && type.isString) { "a step has no type" }
    return type.content.take(SHOWN)
}
