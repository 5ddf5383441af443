"""Weights, configs and tokenizers that look right and are not, or are another model's."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from spoiled_checkpoints import (
    DECODER_CONFIG,
    DIT_CONFIG,
    edit_config,
    edit_tensors,
    fault,
)

from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
from arcmobile.runtime.errors import CheckpointError
from arcmobile.runtime.tensors import DIT

# --- types and origins of tensors -----------------------------------------------------------------

QKV = "model.model.transformer.layers.1.self_attn.to_qkv.weight"


def to_type(tensor: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """The values as a type that has no room for them, as quantized checkpoints store them."""
    return (tensor * 100).to(kind) if not kind.is_floating_point else tensor.to(kind)


@pytest.mark.parametrize(
    "kind", [torch.int8, torch.uint8, torch.int16, torch.int64, torch.bool, torch.complex64]
)
def test_weights_that_are_no_floats_are_refused_by_name_and_type(
    tiny: Path, kind: torch.dtype
) -> None:
    path = tiny / "model.safetensors"
    edit_tensors(path, lambda tensors: tensors.update({QKV: to_type(tensors[QKV], kind)}))
    name = str(kind).removeprefix("torch.")
    assert f"not stored as floats: {QKV}: {name}" in fault(tiny)
    with pytest.raises(CheckpointError, match=rf"{QKV}: {name}"):
        CheckpointFolder.open(tiny).build(DIT)


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16])
def test_small_floats_are_read(tiny: Path, kind: torch.dtype) -> None:
    def narrow(tensors: dict[str, torch.Tensor]) -> None:
        tensors.update({name: tensor.to(kind) for name, tensor in tensors.items()})

    edit_tensors(tiny / "model.safetensors", narrow)
    folder = CheckpointFolder.open(tiny)
    require_sound(folder)
    assert {p.dtype for p in folder.build(DIT).parameters()} == {torch.float32}
    edit_tensors(
        tiny / "model.safetensors",
        lambda tensors: tensors.update(
            {QKV: torch.full_like(tensors[QKV].float(), torch.nan).to(kind)}
        ),
    )
    assert f"NaN or infinite values in: {QKV}" in fault(tiny)


@pytest.mark.parametrize(
    ("names", "phrase"),
    [
        (["diffusion.model.model.preprocess_conv.weight"], "a training checkpoint"),
        ([f"{QKV[:-7]}.lora_A.weight"], "LoRA adapter"),
        ([f"{QKV[:-7]}.qweight", f"{QKV[:-7]}.qzeros"], "GPTQ"),
        ([f"{QKV}.quant_state.bitsandbytes__nf4"], "bitsandbytes"),
        ([f"{QKV}_scale"], "stored with scales"),
        (["_orig_mod.x"], "torch.compile"),
    ],
)
def test_names_say_where_weights_come_from(tiny: Path, names: list[str], phrase: str) -> None:
    extra = {name: torch.ones(1) for name in names}
    edit_tensors(tiny / "model.safetensors", lambda tensors: tensors.update(extra))
    line = fault(tiny)
    assert phrase in line
    assert f"unexpected tensors: {names[0]}" in line


def test_a_training_checkpoint_says_so(variant: Path) -> None:
    state = torch.load(variant / "model.ckpt", weights_only=True)["state_dict"]
    content = {
        "state_dict": {f"diffusion.{name}": tensor for name, tensor in state.items()},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(4)}}}],
        "pytorch-lightning_version": "2.4.0",
    }
    torch.save(content, variant / "model.ckpt")
    assert "a training checkpoint, whose names begin with diffusion.: unwrap it" in fault(variant)
    content["hyper_parameters"] = Path("x")
    torch.save(content, variant / "model.ckpt")
    assert "objects other than tensors of a Lightning training (pathlib." in fault(variant)


def test_names_with_line_breaks_stay_in_the_line(tiny: Path) -> None:
    extra = {"one\ntwo\u2028three": torch.ones(1)}
    edit_tensors(tiny / "model.safetensors", lambda tensors: tensors.update(extra))
    assert "unexpected tensors: one\\ntwo" in fault(tiny)


def test_embeddings_under_both_names_must_be_equal(tiny: Path) -> None:
    path, other = tiny / "text_encoder/model.safetensors", "encoder.embed_tokens.weight"
    edit_tensors(path, lambda t: t.update({other: t["shared.weight"].clone()}))
    require_sound(CheckpointFolder.open(tiny))
    edit_tensors(path, lambda t: t.update({other: t["shared.weight"] * 2}))
    assert f"{other}: another table than shared.weight" in fault(tiny)


# --- files of other kinds, and files that would not fit -------------------------------------------


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"GGUF\x03\x00\x00\x00", "is a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "pointer of Git LFS"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"PK\x03\x04" + bytes(100), "is a zip archive"),
        (b"\x1f\x8b" + bytes(100), "compressed with gzip"),
        (b"\xff" * 8 + b"{}", "not a safetensors file (its header has"),
    ],
)
def test_files_of_other_kinds_are_named(tiny: Path, head: bytes, words: str) -> None:
    (tiny / "model.safetensors").write_bytes(head)
    assert words in fault(tiny)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model_index.json", "this is a diffusers folder"),
        ("model-Q4.gguf", "this is a folder of GGUF files"),
        ("weights.00.safetensors", "this is a folder of MLX weights"),
        ("adapter_config.json", "this is a LoRA adapter"),
        ("manifest.json", "this is an exported bundle"),
        ("model.safetensors.index.json", "this is weights in several files"),
    ],
)
def test_folders_of_other_kinds_are_named(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_text("{}")
    assert words in fault(tmp_path)
    assert "is a file; give the checkpoint's folder" in fault(tmp_path / name)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(variant: Path) -> None:
    path = variant / "model.ckpt"
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    bomb = next(name for name in entries if name.endswith("data.pkl"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    assert "compressed or damaged, as PyTorch writes none" in fault(variant)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(bomb, bytes(17 << 20))
    assert "holds objects other than tensors" in fault(variant)


def test_tensors_without_their_bytes_are_refused(variant: Path) -> None:
    content = torch.load(variant / "model.ckpt", weights_only=True)
    state = content["state_dict"]
    name = next(name for name, tensor in state.items() if tensor.ndim == 2)
    shape = tuple(state[name].shape)
    for odd, words in (
        (torch.zeros(1).expand(1 << 40), "fewer bytes than values"),
        (state[name].to_sparse(), "objects other than tensors"),
        (torch.empty(shape, device="meta"), "objects other than tensors"),
    ):
        torch.save({"state_dict": {**state, name: odd}}, variant / "model.ckpt")
        assert words in fault(variant)


# --- what a config may hold -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"max_val": ', '"max_val": -Infinity, "x": ', "max_val: -inf is not a finite number"),
        ('"max_val": ', '"max_val": 1e999, "x": ', "max_val: inf is not a finite number"),
        ('"max_val": ', '"max_val": 1e38, "x": ', "config.max_val is 1e+38, must be at most"),
        ('"depth": ', '"depth": 1, "depth": ', "key 'depth' stands twice"),
        ('"sample_rate": ', '"_": ["NaN", NaN], "sample_rate": ', "_: nan is not a finite number"),
        ('"sample_rate": ', '"_": ' + "[" * 50 + "]" * 50 + ', "sample_rate": ', "nested deeper"),
        ('"seconds_total"', '"forward"', "id 'forward' is taken"),
        ('"seconds_total"', '"input_ids"', "id 'input_ids' is taken"),
    ],
)
def test_values_that_no_config_holds(tiny: Path, old: str, new: str, words: str) -> None:
    path = tiny / "model_config.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    line = fault(tiny)
    assert f"{path}: " in line
    assert words in line


@pytest.mark.parametrize(
    ("place", "key", "value", "words"),
    [
        (DIT_CONFIG, "depth", 10**9, "depth is 1000000000, must be at most 256"),
        (DIT_CONFIG, "depth", -1, "depth is -1, must be at least 1"),
        (DIT_CONFIG, "depth", 2.0, "depth is 2.0, not a whole number"),
        (DIT_CONFIG, "depth", "2", "depth is '2', not a whole number"),
        (DIT_CONFIG, "depth", True, "depth is True, not a whole number"),
        (DIT_CONFIG, "embed_dim", 10**30, "embed_dim is 1000000000000000000000000000000"),
        (DIT_CONFIG, "qk_norm", [1] * 10_000, "qk_norm is not a key"),
        ((), "sample_size", 2**40, "sample_size is 1099511627776, must be at most"),
        ((), "model", [], "model is [], not an object"),
        (DECODER_CONFIG, "strides", [2] * 40, "decoder.config.strides"),
        (DECODER_CONFIG, "strides", [], "decoder.config.strides"),
        (("model",), "conditioning", None, "model.conditioning is None, not an object"),
    ],
)
def test_sizes_and_types_out_of_bounds(
    tiny: Path, place: tuple[str, ...], key: str, value: object, words: str
) -> None:
    edit_config(tiny, place, key, value)
    line = fault(tiny)
    assert words in line
    assert len(line) < 2000


@pytest.mark.parametrize(
    ("encoding", "words"), [("utf-8-sig", "byte order mark"), ("utf-16", "not UTF-8")]
)
def test_configs_in_other_encodings(tiny: Path, encoding: str, words: str) -> None:
    path = tiny / "model_config.json"
    path.write_text(path.read_text(), encoding=encoding)
    assert words in fault(tiny)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("relative_attention_num_buckets", 0),
        ("relative_attention_max_distance", 8),
        ("eos_token_id", 10**6),
        ("pad_token_id", -1),
        ("vocab_size", 2**63),
        ("layer_norm_epsilon", 0),
        ("num_layers", 10**9),
    ],
)
def test_text_encoder_sizes_out_of_bounds(tiny: Path, key: str, value: float) -> None:
    path = tiny / "text_encoder/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert key in fault(tiny)


def test_other_models_of_the_house_are_named(tiny: Path) -> None:
    path = tiny / "model_config.json"
    config = json.loads(path.read_text())
    del config["model"]["diffusion"]["diffusion_objective"]
    path.write_text(json.dumps(config))
    assert "Stable Audio Open 1.0 (large)" in fault(tiny)
    config["model_type"] = "diffusion_cond_inpaint"
    config["model"]["conditioning"]["configs"][0]["type"] = "t5gemma"
    path.write_text(json.dumps(config))
    assert "Stable Audio 3" in fault(tiny)


# --- tokenizer files ------------------------------------------------------------------------------


def edit_tokenizer(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "text_encoder/tokenizer.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("data", [b"broken", b"", b"\n\x02\n\x00" * 9])
def test_a_broken_sentencepiece_model_is_found(tiny: Path, data: bytes) -> None:
    (tiny / "text_encoder/spiece.model").write_bytes(data)
    assert "tokenizer: spiece.model: " in fault(tiny)


def test_tokenizer_files_that_disagree_are_found(tiny: Path) -> None:
    vocabulary = json.loads((tiny / "text_encoder/tokenizer.json").read_text())["model"]["vocab"]

    def swap(document: dict[str, Any]) -> None:
        pieces = document["model"]["vocab"]
        pieces[50], pieces[51] = pieces[51], pieces[50]

    edit_tokenizer(tiny, swap)
    assert f"differ: id 50 is {vocabulary[51][0]}" in fault(tiny)
    edit_tokenizer(tiny, swap)
    edit_tokenizer(tiny, lambda document: document["model"]["vocab"][60].__setitem__(1, -1.0))
    assert "differ: id 60" in fault(tiny)


def test_tokenizers_that_treat_text_otherwise_are_found(tiny: Path) -> None:
    lower = {"type": "Lowercase"}

    def fold(document: dict[str, Any]) -> None:
        steps = [step for step in (document["normalizer"], lower) if step]
        document["normalizer"] = {"type": "Sequence", "normalizers": steps}

    edit_tokenizer(tiny, fold)
    assert "tokenizer" in fault(tiny)


def test_a_tokenizer_larger_than_the_embedding_is_found(tiny: Path) -> None:
    (tiny / "text_encoder/spiece.model").unlink()
    edit_tokenizer(
        tiny, lambda d: d["model"]["vocab"].extend([f"▁extra{n}", -20.0] for n in range(3000))
    )
    assert "ids, the embedding" in fault(tiny)


def test_a_tokenizer_that_does_not_end_prompts_is_found(tiny: Path) -> None:
    edit_tokenizer(tiny, lambda document: document.update(post_processor=None))
    assert "does not end" in fault(tiny)
