"""SentencePiece model <-> tokenizer.json, for text-encoder folders that carry only one of them.

The Python runtime reads ``tokenizer.json``; the native runner reads ``spiece.model``, and from
``tokenizer.json`` the special tokens. A bundle holds both. The first is built as transformers
builds it from a T5 ``spiece.model``: the pieces, then the sentinels ``<extra_id_N>`` from the
highest N down to 0; the model's own normalization; words marked by ``▁``; ``</s>`` at the end.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from arcmobile.runtime.errors import CheckpointError

_SPACE: Final = "▁"
_MEND: Final = "give the spiece.model of a T5 encoder"
# The generated module declares its messages at run time, where type checkers cannot see them.
_ModelProto: Final[Any] = vars(sentencepiece_model_pb2)["ModelProto"]
_TrainerSpec: Final[Any] = vars(sentencepiece_model_pb2)["TrainerSpec"]


def tokenizer_json_from_sentencepiece(
    spiece: bytes | str | os.PathLike[str], extra_ids: int = 100
) -> str:
    """Text of the ``tokenizer.json`` equal to a T5 SentencePiece model (its bytes or its path).

    Raises :class:`CheckpointError` if the file is missing, damaged, or not a unigram model with
    ``<unk>`` and ``</s>``.
    """
    name = "spiece.model" if isinstance(spiece, bytes) else os.fspath(spiece)
    model = _read(spiece, name)
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    known = {piece for piece, _ in pieces}
    sentinels = [f"<extra_id_{n}>" for n in range(extra_ids - 1, -1, -1)]
    pieces += [(sentinel, 0.0) for sentinel in sentinels if sentinel not in known]
    spec = model.trainer_spec

    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=spec.unk_id, byte_fallback=False))
    if model.normalizer_spec.precompiled_charsmap:
        charsmap = model.normalizer_spec.precompiled_charsmap
        tokenizer.normalizer = normalizers.Precompiled(charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always", split=True),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=_SPACE, prepend_scheme="always", split=True)
    eos = model.pieces[spec.eos_id].piece
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["$A", eos],
        pair=["$A", eos, "$B", eos],
        special_tokens=[(eos, spec.eos_id)],
    )
    # Control pieces (<pad>, </s>), <unk> and user-defined ones are matched as text, in id order.
    kinds = _ModelProto.SentencePiece
    special = (kinds.CONTROL, kinds.UNKNOWN, kinds.USER_DEFINED)
    marked = [piece.piece for piece in model.pieces if piece.type in special]
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False) for token in [*marked, *sentinels]]
    )
    return tokenizer.to_str()


def sentencepiece_from_tokenizer_json(text: str) -> bytes | None:
    """The ``spiece.model`` equal to a ``tokenizer.json`` of a T5 encoder.

    Ids stay as they are: special tokens become control pieces, which text never matches. Returns
    ``None`` for a tokenizer that SentencePiece cannot express: not unigram, another normalizer.
    """
    try:
        document = json.loads(text)
        vocabulary, unk = document["model"]["vocab"], document["model"]["unk_id"]
        normalizer = document["normalizer"]
        if document["model"]["type"] != "Unigram" or document["model"].get("byte_fallback"):
            return None
        charsmap = b""
        if normalizer is not None:
            if normalizer["type"] != "Precompiled":
                return None
            charsmap = base64.b64decode(normalizer["precompiled_charsmap"], validate=True)
        special = {token["id"] for token in document["added_tokens"]}
        ids = {piece: index for index, (piece, _) in enumerate(vocabulary)}
        model = _ModelProto()
        for index, (piece, score) in enumerate(vocabulary):
            entry = model.pieces.add(piece=piece, score=score)
            if index == unk:
                entry.type = _ModelProto.SentencePiece.UNKNOWN
            elif index in special:
                entry.type = _ModelProto.SentencePiece.CONTROL
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
    trainer, normal = model.trainer_spec, model.normalizer_spec
    trainer.model_type, trainer.vocab_size = _TrainerSpec.UNIGRAM, len(vocabulary)
    trainer.unk_id, trainer.bos_id = unk, -1
    trainer.eos_id, trainer.pad_id = ids.get("</s>", -1), ids.get("<pad>", -1)
    normal.name, normal.precompiled_charsmap = "tokenizer.json", charsmap
    normal.add_dummy_prefix = normal.remove_extra_whitespaces = normal.escape_whitespaces = True
    return bytes(model.SerializeToString())


def _read(spiece: bytes | str | os.PathLike[str], name: str) -> Any:
    model = _ModelProto()
    try:
        model.ParseFromString(spiece if isinstance(spiece, bytes) else Path(spiece).read_bytes())
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read ({error.strerror})") from error
    except DecodeError as error:
        raise CheckpointError(f"{name}: not a SentencePiece model; fetch it again") from error
    spec = model.trainer_spec
    if spec.model_type != _TrainerSpec.UNIGRAM:
        raise CheckpointError(f"{name}: not a unigram model; {_MEND}")
    if not (0 <= spec.unk_id < len(model.pieces) and 0 <= spec.eos_id < len(model.pieces)):
        raise CheckpointError(f"{name}: has no <unk> or </s>; {_MEND}")
    return model
