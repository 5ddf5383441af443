"""Names of every program's tensors, written once.

======================  ==========================================  =======
tensor                  shape                                       dtype
======================  ==========================================  =======
``input_ids``           ``(1, tokens)``                             int32
``attention_mask``      ``(1, tokens)``, 1 = token, 0 = padding     float32
one per number input    ``(1,)``, named by its id, e.g. seconds     float32
``global_cond``         ``(1, embed_dim)``                          float32
``cross_keys``          ``(layers * heads, head_dim, cond_tokens)`` float32
``cross_values``        ``(layers * heads, cond_tokens, head_dim)`` float32
``latent``              ``(1, latent_channels, frames)``            float32
``timestep``            ``(1,)``, in [0, 1]                         float32
``velocity``            ``(1, latent_channels, frames)``            float32
``audio``               ``(1, audio_channels, samples)``            float32
``mean``, ``stdev``     ``(1, latent_channels, frames)``            float32
======================  ==========================================  =======

Components: ``conditioner`` (ids, mask, numbers -> global_cond, cross_keys, cross_values),
``dit`` (latent, timestep, global_cond, cross_keys, cross_values -> velocity),
``decoder`` (latent -> audio), ``encoder`` (audio -> mean, stdev).
"""

from __future__ import annotations

INPUT_IDS = "input_ids"
ATTENTION_MASK = "attention_mask"
GLOBAL_COND = "global_cond"
CROSS_KEYS = "cross_keys"
CROSS_VALUES = "cross_values"
LATENT = "latent"
TIMESTEP = "timestep"
VELOCITY = "velocity"
AUDIO = "audio"
MEAN = "mean"
STDEV = "stdev"

CONDITIONER = "conditioner"
DIT = "dit"
DECODER = "decoder"
ENCODER = "encoder"
COMPONENTS = (CONDITIONER, DIT, DECODER, ENCODER)
