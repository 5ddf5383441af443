"""T5 tokenization, against the SentencePiece library itself as the second opinion."""

from __future__ import annotations

import io
import json

import numpy as np
import onnx_bundle
import pytest
import sentencepiece

from arcmobile.export.tokenizer_files import (
    sentencepiece_from_tokenizer_json,
    tokenizer_json_from_sentencepiece,
)
from arcmobile.runtime.errors import CheckpointError, InputError
from arcmobile.runtime.tokenizer import PromptTokenizer

PAD, EOS, UNK = 0, 1, 2


@pytest.fixture(scope="module")
def reference() -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=onnx_bundle.sentencepiece_model())


@pytest.fixture(scope="module")
def tokenizer() -> PromptTokenizer:
    return make(16)


def make(max_length: int) -> PromptTokenizer:
    text = onnx_bundle.tokenizer_json()
    return PromptTokenizer(text, max_length=max_length, pad_id=PAD, eos_id=EOS)


@pytest.mark.parametrize(
    "prompt",
    [
        "warm rain",
        "  warm \t rain\n on  a roof ",
        "Warm RAIN!",
        "ﬁne ½ № 7 Ａ",  # compatibility forms are normalised
        "été 音楽 🎸",
        "zero\u200bwidth",
        "nul\0and\x07bell",
        "▁rain▁",
    ],
)
def test_ids_are_sentencepieces(
    prompt: str, tokenizer: PromptTokenizer, reference: sentencepiece.SentencePieceProcessor
) -> None:
    expected = [*reference.encode(prompt), EOS]
    tokens = make(len(expected) + 2)(prompt)
    assert tokens.input_ids.dtype == np.int32
    assert tokens.input_ids[0].tolist() == [*expected, PAD, PAD]
    assert tokens.attention_mask.dtype == np.float32
    assert tokens.attention_mask[0].tolist() == [1.0] * len(expected) + [0.0, 0.0]
    assert tokens.count == len(expected)
    assert tokens.warning is None


def test_empty_prompt_is_one_eos(tokenizer: PromptTokenizer) -> None:
    for prompt in ("", "   ", "\n"):
        tokens = tokenizer(prompt)
        assert tokens.input_ids[0].tolist() == [EOS] + [PAD] * 15
        assert tokens.attention_mask.sum() == 1


def test_truncation_keeps_eos_and_warns(
    tokenizer: PromptTokenizer, reference: sentencepiece.SentencePieceProcessor
) -> None:
    prompt = "slow drums and a warm bass on a tin roof"
    full = [*reference.encode(prompt), EOS]
    short = make(len(full) - 1)(prompt)
    assert short.input_ids[0].tolist() == [*full[: len(full) - 2], EOS]
    assert short.attention_mask.all()
    assert short.count == len(full)
    assert short.warning is not None
    assert str(len(full)) in short.warning
    assert make(len(full))(prompt).warning is None


def test_special_token_text_becomes_the_token(tokenizer: PromptTokenizer) -> None:
    size = sentencepiece.SentencePieceProcessor(
        model_proto=onnx_bundle.sentencepiece_model()
    ).get_piece_size()
    ids = tokenizer("<pad> </s> <extra_id_0> <extra_id_2>").input_ids[0]
    # Sentinels follow the pieces from the highest number down.
    assert [i for i in ids.tolist()[:4]] == [PAD, EOS, size + 2, size]
    assert tokenizer("<pad>").attention_mask.sum() == 2


@pytest.mark.parametrize("prompt", [b"rain", None, 3, ["rain"], "lone surrogate \ud800"])
def test_non_text(prompt: object, tokenizer: PromptTokenizer) -> None:
    with pytest.raises(InputError, match="prompt"):
        tokenizer(prompt)  # type: ignore[arg-type]


def test_broken_tokenizer_file() -> None:
    with pytest.raises(ValueError, match=r"."):
        PromptTokenizer("{}", max_length=4, pad_id=PAD, eos_id=EOS)


def test_settings_in_the_file_are_overruled() -> None:
    document = json.loads(onnx_bundle.tokenizer_json())
    document["truncation"] = {
        "direction": "Right",
        "max_length": 2,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    tokenizer = PromptTokenizer(json.dumps(document), max_length=64, pad_id=PAD, eos_id=EOS)
    assert tokenizer("slow drums and a warm bass").count > 2


def test_sentencepiece_files_that_do_not_fit(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="not a SentencePiece model"):
        tokenizer_json_from_sentencepiece(b"garbage")
    with pytest.raises(CheckpointError, match=r"spiece\.model"):
        tokenizer_json_from_sentencepiece(tmp_path / "spiece.model")
    bpe = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["warm rain on a tin roof"] * 9),
        model_writer=bpe,
        model_type="bpe",
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    with pytest.raises(CheckpointError, match="unigram"):
        tokenizer_json_from_sentencepiece(bpe.getvalue())


def test_sentencepiece_model_rebuilt_from_tokenizer_json(
    tokenizer: PromptTokenizer, reference: sentencepiece.SentencePieceProcessor
) -> None:
    rebuilt = sentencepiece_from_tokenizer_json(onnx_bundle.tokenizer_json())
    assert rebuilt is not None
    processor = sentencepiece.SentencePieceProcessor(model_proto=rebuilt)
    for prompt in ("slow drums, WARM bass!", "  a  b\tc ", "ｆｕｌｌ ½", "日本 🎵🎵", "<pad>"):
        assert processor.encode(prompt) == reference.encode(prompt)


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"type": "BPE", "vocab": {}, "merges": []}},
        {"normalizer": {"type": "Lowercase"}},
        {"added_tokens": None},
    ],
)
def test_tokenizers_beyond_sentencepiece_are_left_alone(change: dict[str, object]) -> None:
    document = json.loads(onnx_bundle.tokenizer_json()) | change
    assert sentencepiece_from_tokenizer_json(json.dumps(document)) is None
