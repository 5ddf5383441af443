"""The subset of ``tokenizer.json`` that is read: a T5 tokenizer as its exporters write it.

The ``tokenizers`` library does whatever a file asks for, in whatever time and memory it takes, and
panics over some of it. The native runner reads the same subset.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Final

from arcmobile.runtime import bounds
from arcmobile.runtime.strict_json import parse_json

_MOST_LEVELS: Final = 127
_MOST_NORMALIZERS: Final = 64
_LONGEST_PIECE: Final = 256  # bytes
_LONGEST_REPLACEMENT: Final = 64  # bytes, of one character; the longest of NFKC has 33
_SPACES: Final = " {2,}"  # the one expression that T5 tokenizers have


def check_tokenizer_file(text: str) -> int:
    """Check the text of a ``tokenizer.json``.

    Returns:
        The number of token ids.

    Raises:
        ValueError: naming the field, in one line.
    """
    document = parse_json(text, most_bytes=bounds.TOKENIZER_BYTES, most_levels=_MOST_LEVELS)
    model = document.get("model") if isinstance(document, dict) else None
    if not isinstance(model, dict):
        raise ValueError("model: must be an object")
    if model.get("type") != "Unigram":
        raise ValueError("model: only the Unigram model of a T5 encoder is supported")
    pieces = model.get("vocab")
    if not isinstance(pieces, list) or not pieces:
        raise ValueError("model.vocab: must be a list")
    for index, piece in enumerate(pieces):
        if not (
            isinstance(piece, list)
            and len(piece) == 2
            and isinstance(piece[0], str)
            and len(piece[0].encode("utf-8", "surrogatepass")) <= _LONGEST_PIECE
            and isinstance(piece[1], int | float)
        ):
            raise ValueError(f"model.vocab.{index}: must be [text, score]")
    if not 0 <= _integer(model.get("unk_id"), "model.unk_id") < len(pieces):
        raise ValueError("model.unk_id: outside the vocabulary")
    known = {piece[0] for piece in pieces}
    added = _added_tokens(document)
    normalizers = list(_steps(document.get("normalizer"), "normalizers"))
    if len(normalizers) > _MOST_NORMALIZERS:
        raise ValueError("normalizer: too many steps")
    for step in normalizers:
        _check_normalizer(step)
    for step in _steps(document.get("pre_tokenizer"), "pretokenizers"):
        if step.get("type") not in ("WhitespaceSplit", "Metaspace"):
            raise ValueError(f"pre_tokenizer: {str(step.get('type'))[:80]!r} is not supported")
    processor = document.get("post_processor")
    if processor is not None and _type_of(processor) != "TemplateProcessing":
        raise ValueError("post_processor: only TemplateProcessing is supported")
    return len(pieces) + len(added - known)


def _added_tokens(document: dict[str, Any]) -> set[str]:
    tokens = document.get("added_tokens") or []
    if not isinstance(tokens, list):
        raise ValueError("added_tokens: must be a list")
    added: set[str] = set()
    for index, token in enumerate(tokens):
        content = token.get("content") if isinstance(token, dict) else None
        if not isinstance(content, str) or len(content) > _LONGEST_PIECE:
            raise ValueError(f"added_tokens.{index}: must have a short text as content")
        if content:
            added.add(content)
    return added


def _steps(step: Any, name: str) -> Iterator[dict[str, Any]]:
    """Yield a step, or those of a sequence; the depth of the document is bounded.

    Raises:
        ValueError: a sequence has no list of steps.
    """
    if step is None:
        return
    if _type_of(step) == "Sequence":
        inner = step.get(name)
        if not isinstance(inner, list):
            raise ValueError(f"{name}: must be a list")
        for item in inner:
            yield from _steps(item, name)
    else:
        yield step


def _check_normalizer(step: dict[str, Any]) -> None:
    kind = step.get("type")
    if kind == "Precompiled":
        _check_charsmap(step.get("precompiled_charsmap"))
    elif kind == "Replace":
        pattern, content = step.get("pattern"), step.get("content")
        if not isinstance(pattern, dict) or len(pattern) != 1 or not isinstance(content, str):
            raise ValueError("normalizer: Replace needs a pattern and a content")
        wanted = pattern.get("String")
        if pattern.get("Regex") != _SPACES and not (isinstance(wanted, str) and wanted):
            raise ValueError("normalizer: this pattern of Replace is not supported")
        if max(len(content), len(wanted or "")) > _LONGEST_PIECE:
            raise ValueError("normalizer: a text of Replace is too long")
    elif kind != "Strip":
        raise ValueError(f"normalizer: {str(kind)[:80]!r} is not supported")


def _check_charsmap(table: Any) -> None:
    # The size in bytes of a double array of 32-bit units, the array, then the replacements.
    where = "normalizer.precompiled_charsmap"
    if not isinstance(table, str):
        raise ValueError(f"{where}: must be a string")
    try:
        data = base64.b64decode(table, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{where}: is not base64") from None
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 or size % 4 or not size or 4 + size > len(data):
        raise ValueError(f"{where}: is cut short")
    replacements = data[4 + size :].split(b"\0")
    try:
        data[4 + size :].decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{where}: replacements must be UTF-8") from None
    if max(map(len, replacements)) > _LONGEST_REPLACEMENT:
        raise ValueError(f"{where}: a replacement is longer than {_LONGEST_REPLACEMENT} bytes")


def _type_of(step: Any) -> str:
    if not isinstance(step, dict) or not isinstance(step.get("type"), str):
        raise ValueError("a step of the tokenizer has no type")
    kind: str = step["type"]
    return kind


def _integer(value: Any, where: str) -> int:
    if type(value) is not int:
        raise ValueError(f"{where}: must be an integer")
    return value
