package org.arcmobile.tokenizer

/**
 * From text to ids: what a `tokenizer.json` asks for, in order.
 *
 * @property vocabularySize ids are below it.
 */
internal class TokenizerSteps(
    private val literalTokens: AddedTokens,
    private val normalizers: List<Normalizer>,
    private val normalizedTokens: AddedTokens,
    private val splitter: WordSplitter,
    private val model: UnigramModel,
    private val template: Template,
    val vocabularySize: Int,
) {
    /** All ids of [prompt], which is well-formed UTF-16, and those that the template adds. */
    fun encode(prompt: String): IntArray {
        val ids = IdList()
        for (part in literalTokens.split(NormalizedText.ofPrompt(prompt))) {
            when (part) {
                is Part.Token -> ids.add(part.id)
                is Part.Text -> encodeText(part.text, ids)
            }
        }
        return template.fill(ids.toIntArray())
    }

    private fun encodeText(text: NormalizedText, ids: IdList) {
        for (part in normalizedTokens.split(normalizers.normalize(text))) {
            when (part) {
                is Part.Token -> ids.add(part.id)
                is Part.Text -> splitter.split(part.text) { word -> model.encode(word, ids) }
            }
        }
    }
}

/** What is put around the ids of the prompt: [pieces] in order, null standing for the prompt. */
internal class Template(private val pieces: List<IntArray?>) {
    fun fill(prompt: IntArray): IntArray =
        pieces.fold(IntArray(0)) { ids, piece -> ids + (piece ?: prompt) }

    companion object {
        val PROMPT_ALONE = Template(listOf(null))
    }
}
