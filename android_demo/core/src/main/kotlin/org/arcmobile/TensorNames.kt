package org.arcmobile

// Names of components and tensors, as runtime/tensors.py has them.

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
