"""Checks that a latent cache is complete.

``cache.json`` holds the number of sounds of the complete cache. Older caches have none; there only
gaps are noticed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from arcmobile.runtime.errors import CheckpointError, InputError
from arcmobile.runtime.strict_json import parse_json
from arcmobile.runtime.whole_output import write_whole_text

INDEX: Final = "cache.json"
_SOUNDS: Final = "sounds"
_MOST_BYTES: Final = 1024


def write_index(folder: Path, sounds: int) -> None:
    """Write how many sounds the cache will have; raise OutputError if that fails."""
    text = json.dumps({_SOUNDS: sounds}) + "\n"
    write_whole_text(folder / INDEX, text, overwrite=True, option="--out")


def wanted_sounds(folder: Path) -> int:
    """Return how many sounds the complete cache has; 0 if that is unknown.

    Raises:
        CheckpointError: the index is damaged.
    """
    path = folder / INDEX
    try:
        with path.open("rb") as file:
            index = parse_json(file.read(_MOST_BYTES + 1), most_bytes=_MOST_BYTES, most_levels=2)
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); cache the latents again"
        ) from None
    sounds = index.get(_SOUNDS) if isinstance(index, dict) else None
    if type(sounds) is not int or sounds < 0:
        raise CheckpointError(f"{path}: does not hold a number of sounds; cache the latents again")
    return sounds


def require_complete(folder: Path, paths: Sequence[Path], seeds: Sequence[range]) -> None:
    """Check that no shard is missing.

    Args:
        folder: the cache.
        paths: its shards, in order.
        seeds: the seeds of the sounds in each.

    Raises:
        InputError: sounds are missing.
        CheckpointError: the index is damaged.
    """
    found, wanted = sum(map(len, seeds)), wanted_sounds(folder)
    gaps = any(before.stop != after.start for before, after in pairwise(seeds))
    first_is_missing = not paths[0].stem.endswith("-00000")
    if gaps or first_is_missing or found < wanted:
        of = f" of {wanted}" if wanted else ""
        raise InputError(
            f"{folder}: is not complete, only {found}{of} sounds are cached; "
            "run arcmobile posttrain latents again to cache the rest"
        )
