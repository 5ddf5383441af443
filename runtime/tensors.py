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
``features``            ``(1, channels, frames)``, see below        float32
``next_features``       the same, of the next part                  float32
``audio``               ``(1, audio_channels, samples)``            float32
``mean``, ``stdev``     ``(1, latent_channels, frames)``            float32
======================  ==========================================  =======

Stages of a generation: ``conditioner`` (ids, mask, numbers -> global_cond, cross_keys,
cross_values), ``dit`` (latent, timestep, global_cond, cross_keys, cross_values -> velocity),
``decoder`` (latent -> audio), ``encoder`` (audio -> mean, stdev).

Each stage is one component, i.e. one program file, but for the decoder: it is cut into parts,
``decoder_1``, ``decoder_2`` and so on. The first takes ``latent``, the last gives ``audio``;
between them go features, at more frames per second from part to part: what one gives as
``next_features``, the next takes as ``features``.
"""

from __future__ import annotations

import re

INPUT_IDS = "input_ids"
ATTENTION_MASK = "attention_mask"
GLOBAL_COND = "global_cond"
CROSS_KEYS = "cross_keys"
CROSS_VALUES = "cross_values"
LATENT = "latent"
TIMESTEP = "timestep"
VELOCITY = "velocity"
FEATURES = "features"
NEXT_FEATURES = "next_features"
AUDIO = "audio"
MEAN = "mean"
STDEV = "stdev"

CONDITIONER = "conditioner"
DIT = "dit"
DECODER = "decoder"
ENCODER = "encoder"
STAGES = (CONDITIONER, DIT, DECODER, ENCODER)

_DECODER_PART = re.compile(rf"{DECODER}_[1-9][0-9]?")


def decoder_part(index: int) -> str:
    """Name of the component that holds the decoder's part ``index``, counted from 0."""
    return f"{DECODER}_{index + 1}"


def stage_of(component: str) -> str:
    """The stage a component belongs to: ``decoder`` for its parts, else the component itself."""
    return DECODER if _DECODER_PART.fullmatch(component) else component
