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

private const val SHOWN = 120

/**
 * The steps that a `tokenizer.json` of a T5 text encoder asks for; [json] is its text.
 *
 * @throws ArcMobileException of kind BUNDLE for a file that is broken, or asks for a step that is
 *     not known here. None is passed over: other ids are other music.
 */
internal fun readTokenizer(json: String): TokenizerSteps = try {
    steps(readTokenizerText(json, ::checkModelType))
} catch (error: IllegalArgumentException) {
    throw brokenTokenizer(error.message.orEmpty().lineSequence().first().take(SHOWN), error)
} catch (error: CharacterCodingException) {
    throw brokenTokenizer("the normalizer's replacements are no UTF-8", error)
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
    val tokens = distinctTokens(file.addedTokens, model)
    val (normalized, literal) = tokens.keys.partition { it.normalized }
    return TokenizerSteps(
        literalTokens = AddedTokens.of(literal, literal.ids(tokens)) { it.content },
        normalizers = normalizers,
        normalizedTokens = AddedTokens.of(normalized, normalized.ids(tokens)) {
            normalizers.normalize(NormalizedText(it.content, 0)).text
        },
        splitter = readSplitter(file.preTokenizer),
        model = model,
        template = file.postProcessor?.let(::readTemplate) ?: Template.PROMPT_ALONE,
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
        require(indexOfLoneSurrogate(token.content) < 0) { "an added token is no text" }
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
    require(indexOfLoneSurrogate(entry.content) < 0) { "a replacement is no text" }
    val (text, expression) = entry.pattern.let { it.text to it.expression }
    require((text == null) != (expression == null)) { "a pattern is no text and no expression" }
    if (text == null && expression != " {2,}") unsupported("expression ${expression?.take(SHOWN)}")
    if (text == null) return SpacesNormalizer(entry.content)
    require(text.isNotEmpty() && indexOfLoneSurrogate(text) < 0) { "a pattern is empty or no text" }
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

private fun readTemplate(element: JsonElement): Template {
    if (element.type() != "TemplateProcessing") unsupported("post_processor ${element.type()}")
    val entry = element.read(TemplateEntry.serializer())
    return Template(
        entry.single.map { piece ->
            val (sequence, token) = piece.sequence to piece.specialToken
            require((sequence == null) != (token == null)) { "the template is broken" }
            if (sequence != null) {
                require(sequence.id == "A") { "the template wants a second text" }
                null
            } else {
                val ids = entry.specialTokens[token?.id]?.ids?.toIntArray()
                require(ids != null && ids.all { it >= 0 }) { "a token of the template is missing" }
                ids
            }
        },
    )
}

private fun <T> JsonElement.read(format: DeserializationStrategy<T>): T =
    Json.decodeFromJsonElement(format, this)

private fun JsonElement.type(): String {
    require(this !is JsonArray) { "a step is a list" }
    val type = (this as? JsonObject)?.get("type") as? JsonPrimitive
    require(type != null && type.isString) { "a step has no type" }
    return type.content.take(SHOWN)
}
