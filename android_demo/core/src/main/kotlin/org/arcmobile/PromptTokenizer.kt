package org.arcmobile

import org.arcmobile.tokenizer.indexOfLoneSurrogate
import org.arcmobile.tokenizer.readTokenizer
import org.arcmobile.tokenizer.utf8Length

/**
 * Inputs of the conditioner, and a warning for the user.
 *
 * @property inputIds token ids, padded to the model's length.
 * @property attentionMask 1 = token, 0 = padding; as long as [inputIds].
 * @property count tokens with the closing `</s>`, before anything was cut off.
 * @property warning says that the prompt was too long, or is null.
 */
public class TokenizedPrompt(
    public val inputIds: IntArray,
    public val attentionMask: FloatArray,
    public val count: Int,
    public val warning: String?,
)

/**
 * SentencePiece unigram tokenizer of a T5 text encoder, padded to a fixed length. Thread-safe.
 *
 * For any text it gives the ids that the `tokenizers` library gives in Python
 * (`runtime/tokenizer.py`).
 *
 * @param json text of the bundle's `tokenizer.json`.
 * @param maxLength ids that the conditioner takes.
 * @param padId fills up what is shorter.
 * @param eosId closes what had to be cut.
 * @throws ArcMobileException of kind BUNDLE for a file that is broken or asks for steps that are
 *     not known here, and for ids that are not in its vocabulary.
 */
public class PromptTokenizer(
    json: String,
    private val maxLength: Int,
    private val padId: Int,
    private val eosId: Int,
) {
    private val steps = readTokenizer(json)

    init {
        require(maxLength > 0) { "maxLength is $maxLength" }
        checkId("pad_id", padId)
        checkId("eos_id", eosId)
    }

    /**
     * One prompt as the conditioner takes it; the empty one is allowed and gives a lone `</s>`.
     *
     * Text of special tokens (`</s>`, `<extra_id_0>`) becomes the special token.
     *
     * @throws ArcMobileException of kind REQUEST for what is not text.
     */
    public fun tokenize(prompt: String): TokenizedPrompt {
        val ids = encode(prompt)
        val kept = minOf(ids.size, maxLength)
        val inputIds = IntArray(maxLength) { if (it < kept) ids[it] else padId }
        // By position, not by id: a literal "<pad>" in the prompt is a token like any other.
        val mask = FloatArray(maxLength) { if (it < kept) 1f else 0f }
        if (ids.size == kept) return TokenizedPrompt(inputIds, mask, ids.size, null)
        inputIds[maxLength - 1] = eosId
        val warning = "the prompt has ${ids.size} tokens; the model reads the first " +
            "${maxLength - 1}, the rest was cut off"
        return TokenizedPrompt(inputIds, mask, ids.size, warning)
    }

    /**
     * All ids of [prompt], with the closing `</s>`, however many.
     *
     * @throws ArcMobileException of kind REQUEST for what is not text.
     */
    public fun encode(prompt: String): IntArray {
        checkText(prompt)
        return steps.encode(prompt)
    }

    /** An id that the text encoder has no row for ends in a crash of native code, at best. */
    private fun checkId(field: String, id: Int) {
        if (id in 0 until steps.vocabularySize) return
        throw ArcMobileException(
            ArcMobileException.Kind.BUNDLE,
            "manifest.json: tokenizer.$field: is $id, and the vocabulary ends at " +
                "${steps.vocabularySize - 1}; export the bundle again",
        )
    }
}

/**
 * @throws ArcMobileException of kind REQUEST unless [prompt] can be written as UTF-8, in which half
 *     of a surrogate pair is no character, and is short enough.
 */
internal fun checkText(prompt: String) {
    val index = indexOfLoneSurrogate(prompt)
    if (index < 0) {
        val bytes = utf8Length(prompt, 0, prompt.length)
        if (bytes <= Bounds.PROMPT_BYTES) return
        throw ArcMobileException(
            ArcMobileException.Kind.REQUEST,
            "prompt: has $bytes bytes; give at most ${Bounds.PROMPT_BYTES}",
        )
    }
    val character = prompt.codePointCount(0, index) + 1
    throw ArcMobileException(
        ArcMobileException.Kind.REQUEST,
        "prompt: character $character is not valid Unicode; give UTF-8 text",
    )
}
