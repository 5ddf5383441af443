package org.arcmobile

// Names in a manifest: those of runtime/contract/names.json, which says what each tensor holds.

internal const val MANIFEST_FILE = "manifest.json"
internal const val TOKENIZER_FILE = "tokenizer.json"
internal const val TOKENIZER_KIND = "t5-unigram"
internal const val SCHEDULE_KIND = "logsnr-pingpong"
internal const val NOISE_ID = "philox4x32-10-boxmuller-1"

/** The number input whose default is the length of the sound. */
internal const val SECONDS_INPUT = "seconds_total"
internal const val FEW_STEP_OBJECTIVE = "rf_denoiser"
internal const val FLOW_OBJECTIVE = "rectified_flow"

internal const val CONDITIONER = "conditioner"
internal const val DIT = "dit"
internal const val DECODER = "decoder"
internal const val ENCODER = "encoder"

internal const val INPUT_IDS = "input_ids"
internal const val ATTENTION_MASK = "attention_mask"
internal const val LATENT = "latent"
internal const val TIMESTEP = "timestep"
internal const val VELOCITY = "velocity"
internal const val FEATURES = "features"
internal const val NEXT_FEATURES = "next_features"
internal const val AUDIO = "audio"
internal const val MEAN = "mean"
internal const val STDEV = "stdev"

internal const val FLOAT32 = "float32"
internal const val INT32 = "int32"

/** Name of the component that holds the decoder's part [index], counted from 0. */
internal fun decoderPart(index: Int): String = "${DECODER}_${index + 1}"
