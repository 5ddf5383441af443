"""SentencePiece model <-> tokenizer.json, for text-encoder folders that carry only one of them.

The runtimes read ``tokenizer.json``; a bundle holds ``spiece.model`` beside it, for other tools,
where SentencePiece can express the tokenizer. The first is built as transformers builds it from a
T5 ``spiece.model``: the pieces, then the sentinels ``<extra_id_N>`` from the highest N down to 0;
the model's own normalization; words marked by ``▁``; ``</s>`` at the end.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import sentencepiece
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

from arcmobile.runtime import bounds
from arcmobile.runtime.errors import CheckpointError

EXTRA_IDS: Final = 100
"""T5's sentinel tokens, after the pieces."""

_SPACE: Final = "▁"
_WAY_OUT: Final = "give the spiece.model of a T5 encoder"
# The generated module declares its messages at run time, where type checkers cannot see them.
_ModelProto: Final[Any] = vars(sentencepiece_model_pb2)["ModelProto"]
_TrainerSpec: Final[Any] = vars(sentencepiece_model_pb2)["TrainerSpec"]


def write_tokenizer(
    folder: Path, lines: Iterable[str], *, max_pieces: int, normalization: str = "nmt_nfkc"
) -> int:
    """Train a SentencePiece model on ``lines`` and write the tokenizer of a T5 encoder's folder.

    Args:
        folder: gets ``spiece.model``, ``tokenizer.json`` and ``tokenizer_config.json``.
        lines: the corpus; the same lines give the same files.
        max_pieces: with ``<pad>``, ``</s>`` and ``<unk>``, without the sentinels.
        normalization: SentencePiece's name of the rules; ``nmt_nfkc_cf`` also folds case.

    Returns:
        The number of pieces.
    """
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=trained,
        model_type="unigram",
        vocab_size=max_pieces,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name=normalization,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,  # with more, the pieces' scores depend on timing
        minloglevel=2,
    )
    model = trained.getvalue()
    (folder / "spiece.model").write_bytes(model)
    text = tokenizer_json_from_sentencepiece(model, extra_ids=EXTRA_IDS)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    config = {
        "tokenizer_class": "T5Tokenizer",
        "model_max_length": 512,
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "extra_ids": EXTRA_IDS,
        "additional_special_tokens": [f"<extra_id_{index}>" for index in range(EXTRA_IDS)],
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config, indent=4) + "\n", encoding="utf-8"
    )
    return int(sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size())


def tokenizer_json_from_sentencepiece(
    spiece: bytes | str | os.PathLike[str], extra_ids: int = EXTRA_IDS
) -> str:
    """Return the ``tokenizer.json`` equal to a T5 SentencePiece model (its bytes or its path).

    Raises:
        CheckpointError: the file is missing, damaged, or not a unigram model with ``<unk>`` and
            ``</s>``.
    """
    name = "spiece.model" if isinstance(spiece, bytes) else os.fspath(spiece)
    model = read_sentencepiece(spiece, name)
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
    """Return the ``spiece.model`` equal to a ``tokenizer.json`` of a T5 encoder.

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


def read_sentencepiece(spiece: bytes | str | os.PathLike[str], name: str = "") -> Any:
    """Return the parsed ``spiece.model`` of a T5 encoder: a protobuf ``ModelProto``.

    Args:
        spiece: its bytes or its path.
        name: what messages call it; "": its path.

    Raises:
        CheckpointError: the file is missing, too large, damaged, or not a unigram model with
            ``<unk>`` and ``</s>``.
    """
    model = _ModelProto()
    name = name or ("spiece.model" if isinstance(spiece, bytes) else os.fspath(spiece))
    try:
        data = spiece if isinstance(spiece, bytes) else _bounded(Path(spiece))
        model.ParseFromString(data)
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read ({error.strerror})") from error
    except DecodeError as error:
        raise CheckpointError(f"{name}: not a SentencePiece model; {_WAY_OUT}") from error
    spec = model.trainer_spec
    if not model.pieces:
        raise CheckpointError(f"{name}: not a SentencePiece model (no pieces); {_WAY_OUT}")
    if spec.model_type != _TrainerSpec.UNIGRAM:
        raise CheckpointError(f"{name}: not a unigram model; {_WAY_OUT}")
    if not (0 <= spec.unk_id < len(model.pieces) and 0 <= spec.eos_id < len(model.pieces)):
        raise CheckpointError(f"{name}: has no <unk> or </s>; {_WAY_OUT}")
    if not all(piece.piece and math.isfinite(piece.score) for piece in model.pieces):
        raise CheckpointError(f"{name}: a piece is empty or its score not finite; {_WAY_OUT}")
    return model


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(bounds.TOKENIZER_BYTES + 1)
    if len(data) > bounds.TOKENIZER_BYTES:
        raise CheckpointError(f"{path}: larger than {bounds.TOKENIZER_BYTES} bytes; {_WAY_OUT}")
    return data
