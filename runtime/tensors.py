"""Names of stages and of their programs' tensors, as ``contract/names.json`` has them.

That file also says the shape and type of each tensor, and what each stage takes and gives. A stage
is one component, i.e. one program file, except the decoder: its parts are components of their own,
``decoder_1``, ``decoder_2`` and so on. The first takes ``latent``, the last gives ``audio``. What
one part gives as ``next_features``, at more frames per second, the next takes as ``features``.
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
    """Return the component that holds the decoder's part ``index``, counted from 0."""
    return f"{DECODER}_{index + 1}"


def stage_of(component: str) -> str:
    """Return the stage of a component: ``decoder`` for its parts, else the component itself."""
    return DECODER if _DECODER_PART.fullmatch(component) else component
