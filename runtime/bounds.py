"""The largest values a manifest or a request may hold, the same for all three readers.

They stand in ``contract/bounds.json``, from which C++ and Kotlin take them too.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Final

_BOUNDS: Final[dict[str, int]] = json.loads(
    resources.files("arcmobile.runtime").joinpath("contract/bounds.json").read_text("utf-8")
)

MANIFEST_BYTES: Final = _BOUNDS["manifest_bytes"]
MANIFEST_DEPTH: Final = _BOUNDS["manifest_depth"]
TOKENIZER_BYTES: Final = _BOUNDS["tokenizer_bytes"]
TENSOR_ELEMENTS: Final = _BOUNDS["tensor_elements"]
SAMPLE_RATE: Final = _BOUNDS["sample_rate"]
CHANNELS: Final = _BOUNDS["channels"]
SAMPLES_PER_FRAME: Final = _BOUNDS["samples_per_frame"]
LATENT_CHANNELS: Final = _BOUNDS["latent_channels"]
FRAMES: Final = _BOUNDS["frames"]
SAMPLES: Final = _BOUNDS["samples"]
TOKENS: Final = _BOUNDS["tokens"]
PROMPT_BYTES: Final = _BOUNDS["prompt_bytes"]
TOKEN_ID: Final = _BOUNDS["token_id"]
STEPS: Final = _BOUNDS["steps"]
THREADS: Final = _BOUNDS["threads"]
