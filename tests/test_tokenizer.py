"""T5 tokenization, against the SentencePiece library itself as the second opinion."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_bundle
import pytest
import sentencepiece

from arcmobile.export.checkpoint.tokenizer_files import (
    sentencepiece_from_tokenizer_json,
    tokenizer_json_from_sentencepiece,
)
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.errors import BundleError, CheckpointError, InputError
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


def changed(**fields: Any) -> str:
    """The tokenizer file with other members at its top, or of its model."""
    document = json.loads(onnx_bundle.tokenizer_json())
    for name, value in fields.items():
        (document["model"] if name in ("vocab", "unk_id") else document)[name] = value
    return json.dumps(document)


def charsmap(*, size: int, text: bytes = b"\0") -> dict[str, str]:
    table = size.to_bytes(4, "little") + bytes(8) + text
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[]", "model"),
        ("[" * 100_000, "deeper"),
        ('{"model": {}, "model": {}}', "twice"),
        (changed(vocab=[["a", 0.0], ["b"]]), "model.vocab.1"),
        (changed(vocab=[["a" * 300, 0.0]]), "model.vocab.0"),
        (changed(unk_id=10**9), "unk_id"),
        (changed(unk_id=1.0), "unk_id"),
        (changed(normalizer={"type": "Precompiled"}), "precompiled_charsmap"),
        (changed(normalizer=charsmap(size=1 << 30)), "cut short"),
        (changed(normalizer=charsmap(size=8, text=b"a" * 1000)), "longer than 64"),
        (
            changed(normalizer={"type": "Replace", "pattern": {"Regex": "(a*)*b"}, "content": ""}),
            "not supported",
        ),
        (
            changed(
                normalizer={"type": "Replace", "pattern": {"String": ""}, "content": "x" * 100}
            ),
            "not supported",
        ),
        (changed(normalizer={"type": "Sequence", "normalizers": [[]]}), "no type"),
        (changed(pre_tokenizer={"type": "Split"}), "Split"),
        (changed(added_tokens=[{"content": "x" * 1000}]), "added_tokens.0"),
    ],
)
def test_files_the_library_would_fail_or_hang_on(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as raised:
        PromptTokenizer(text, max_length=16, pad_id=PAD, eos_id=EOS)
    assert "\n" not in str(raised.value)


def test_ids_are_inside_the_vocabulary(tmp_path: Path) -> None:
    folder = onnx_bundle.make_bundle(tmp_path / "tiny")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["tokenizer"]["eos_id"] = 1_000_000
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"tokenizer\.eos_id 1000000"):
        PromptTokenizer.from_bundle(Bundle.open(folder))


def test_a_prompt_of_a_book_is_refused(tokenizer: PromptTokenizer) -> None:
    with pytest.raises(InputError, match="65536"):
        tokenizer("rain " * 20_000)
