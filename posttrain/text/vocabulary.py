"""The vocabulary of the text encoder: pieces of captions and of prompts beyond them."""

from __future__ import annotations

import string
from pathlib import Path

from arcmobile.export.checkpoint.presets import MAX_PIECES, preset_prompts
from arcmobile.export.checkpoint.tokenizer_files import write_tokenizer
from arcmobile.posttrain.sounds import corpus

CAPTIONS = 40_000
_FOLDED = "nmt_nfkc_cf"  # upper case costs no pieces and no learning
_FREE_PROMPT_REPEATS = 10  # else the few of them would count for nothing among the captions


def vocabulary_lines(captions: int, seed: int) -> list[str]:
    """Return captions, then prompts as people write them and all ASCII characters, repeated."""
    characters = " ".join(string.ascii_lowercase + string.digits + string.punctuation)
    free = [*preset_prompts(), characters]
    return [*corpus(captions, seed), *free * _FREE_PROMPT_REPEATS]


def write_vocabulary(folder: Path, seed: int, captions: int = CAPTIONS) -> int:
    """Write ``spiece.model``, ``tokenizer.json`` and ``tokenizer_config.json``.

    The same seed gives the same files.

    Returns:
        The number of pieces.
    """
    lines = vocabulary_lines(captions, seed)
    return write_tokenizer(folder, lines, max_pieces=MAX_PIECES, normalization=_FOLDED)
