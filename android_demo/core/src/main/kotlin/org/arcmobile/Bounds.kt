package org.arcmobile

/**
 * The largest values that a manifest or a request may hold: those of `runtime/contract/bounds.json`,
 * which Python and C++ keep to as well.
 */
internal object Bounds {
    const val MANIFEST_BYTES = 4_194_304
    const val MANIFEST_DEPTH = 32
    const val TOKENIZER_BYTES = 67_108_864

    /** Values of one tensor: it must fit a direct buffer. */
    const val TENSOR_ELEMENTS = 536_870_911
    const val SAMPLE_RATE = 16_777_216
    const val CHANNELS = 64
    const val SAMPLES_PER_FRAME = 1_048_576
    const val LATENT_CHANNELS = 65_536
    const val FRAMES = 1_048_576

    /** Samples per channel of one sound. */
    const val SAMPLES = 2_147_483_647
    const val TOKENS = 65_536

    /** UTF-8 bytes of a prompt. */
    const val PROMPT_BYTES = 65_536
    const val TOKEN_ID = 2_147_483_647
    const val STEPS = 64
    const val THREADS = 1_024
}
