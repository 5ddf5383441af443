"""Whether the tokenizer files of a text encoder are sound, agree, and fit its embedding.

Runtimes read a bundle's ``tokenizer.json``, other tools the ``spiece.model`` beside it. A broken or
foreign one would be found on the device, or never: other ids are another prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sentencepiece

from arcmobile.export.checkpoint.tokenizer_files import (
    read_sentencepiece,
    tokenizer_json_from_sentencepiece,
)
from arcmobile.export.messages import shown_name
from arcmobile.export.model.config import T5Config
from arcmobile.runtime import bounds
from arcmobile.runtime.errors import CheckpointError
from arcmobile.runtime.tokenizer import PromptTokenizer
from arcmobile.runtime.tokenizer_file import check_tokenizer_file

# Words, digits, punctuation, case, accents, other scripts, spaces: what prompts are made of.
_PROBES: Final = (
    "warm analog synth pad with soft rain, 90 BPM",
    "A dog barks twice; footsteps on gravel (left), 3.5 seconds.",
    "LO-FI hip-hop beat — drums & bass, 120bpm!",
    "café Ångström naïve façade",
    "  two  spaces and a tab\tinside ",
    "don't stop: “quotes”, 'single' and #hash/slash",
    "",
)
_LENGTH: Final = 128
_SCORE_TOLERANCE: Final = 1e-3


def tokenizer_faults(files: list[Path], config: T5Config) -> Iterator[str]:
    """Return a line for each fault of the tokenizer files of a text encoder.

    Args:
        files: those of ``tokenizer.json`` and ``spiece.model`` that there are.
        config: the text encoder's.
    """
    sound: list[_Sound] = []
    for path in files:
        try:
            if path.suffix == ".json":
                text = read_tokenizer_json(path)
            else:
                with _library_errors(path, "a SentencePiece model"):
                    text = tokenizer_json_from_sentencepiece(path)
                    # As tools do that read this file alone.
                    sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
            with _library_errors(path, "a tokenizer"):
                tokenizer = PromptTokenizer(
                    text, max_length=_LENGTH, pad_id=config.pad_token_id, eos_id=config.eos_token_id
                )
                size = check_tokenizer_file(text)
                ids = [_tokens(tokenizer, probe) for probe in _PROBES]
        except CheckpointError as error:
            yield str(error).removeprefix(f"{path.parent}/")
        else:
            yield from _misfits(path, size, ids, config)
            sound.append(_Sound(path, text, ids))
    if len(sound) == 2:
        yield from _differences(*sound)


@dataclass(frozen=True)
class _Sound:
    """A file that could be read: its ``tokenizer.json``, and the ids of each probe."""

    path: Path
    text: str
    ids: list[list[int]]


def read_tokenizer_json(path: Path) -> str:
    """Return the text of a ``tokenizer.json``.

    Raises:
        CheckpointError: it is too large, or not UTF-8.
    """
    if path.stat().st_size > bounds.TOKENIZER_BYTES:
        raise CheckpointError(
            f"{path}: larger than {bounds.TOKENIZER_BYTES} bytes; give that of a T5 encoder"
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: not UTF-8 text; download it again") from None


@contextmanager
def _library_errors(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a tokenizer library raises about a file into one line.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # they raise nothing narrower
        raise CheckpointError(f"{path}: not {what} ({error}); download it again") from error


def _misfits(path: Path, size: int, ids: list[list[int]], config: T5Config) -> Iterator[str]:
    """Yield the faults of one file against the text encoder's config."""
    if size > config.vocab_size:
        yield (
            f"{path.name} has {size} ids, the embedding {config.vocab_size} rows; "
            "give the tokenizer of this text encoder"
        )
    for probe, found in zip(_PROBES, ids, strict=True):
        if not found or found[-1] != config.eos_token_id:
            yield (
                f"{path.name} does not end {probe!r} with eos_token_id {config.eos_token_id}; "
                "give the tokenizer of a T5 encoder"
            )
            return


def _tokens(tokenizer: PromptTokenizer, prompt: str) -> list[int]:
    tokens = tokenizer(prompt)
    return [int(one) for one in tokens.input_ids[0, : min(tokens.count, _LENGTH)]]


def _differences(given: _Sound, spiece: _Sound) -> Iterator[str]:
    """Return the first point in which ``tokenizer.json`` and ``spiece.model`` differ."""
    names, way_out = f"{given.path.name} and {spiece.path.name}", "give both from one text encoder"
    # Sentinels stand behind the pieces, in either file or in both.
    count = len(read_sentencepiece(spiece.path).pieces)
    first, second = (json.loads(one.text)["model"]["vocab"][:count] for one in (given, spiece))
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if not _same_piece(one, other):
            yield (
                f"{names} differ: id {index} is {shown_name(one[0])} ({one[1]:g}) and "
                f"{shown_name(other[0])} ({other[1]:g}); {way_out}"
            )
            return
    if len(first) < count:
        yield f"{names} differ: {len(first)} and {count} pieces; {way_out}"
        return
    for probe, ids, others in zip(_PROBES, given.ids, spiece.ids, strict=True):
        if ids != others:
            yield f"{names} give other ids for {probe!r}; {way_out}"
            return


def _same_piece(one: list[Any], other: list[Any]) -> bool:
    return bool(one[0] == other[0] and abs(one[1] - other[1]) <= _SCORE_TOLERANCE)
