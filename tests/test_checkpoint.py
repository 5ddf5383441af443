"""Checkpoint folders that are not what they should be: one line, every fault named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from spoiled_checkpoints import (
    DATA,
    DECODER_CONFIG,
    DIT_CONFIG,
    PRETRANSFORM,
    edit_config,
    edit_tensors,
    fault,
)

from arcmobile.export.checkpoint.folder import CheckpointFolder, inspect_checkpoint, require_sound
from arcmobile.export.model.config import load_model_config
from arcmobile.runtime.errors import CheckpointError
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT

# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("removed", "words"),
    [
        (".", "no such checkpoint folder"),
        ("model_config.json", "model_config.json: missing"),
        ("model.safetensors", "weights missing; expected model.safetensors or model.ckpt"),
        ("text_encoder", "no text encoder folder; give one with --text-encoder"),
        ("text_encoder/config.json", "config.json: missing"),
        ("text_encoder/model.safetensors", "text encoder weights missing"),
    ],
)
def test_missing_files(tiny: Path, removed: str, words: str) -> None:
    path = tiny / removed
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    assert words in fault(tiny)


def test_missing_tokenizer(tiny: Path) -> None:
    (tiny / "text_encoder/tokenizer.json").unlink()
    require_sound(CheckpointFolder.open(tiny))  # spiece.model is enough
    (tiny / "text_encoder/spiece.model").unlink()
    assert "tokenizer missing; expected tokenizer.json or spiece.model" in fault(tiny)


def test_text_encoder_elsewhere(tiny: Path, tmp_path: Path) -> None:
    (tiny / "text_encoder").rename(tmp_path / "t5")
    require_sound(CheckpointFolder.open(tiny, tmp_path / "t5"))
    assert "nowhere: no text encoder folder" in fault(tiny, tmp_path / "nowhere")


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.999])
@pytest.mark.parametrize("name", ["model.safetensors", "text_encoder/model.safetensors"])
def test_truncated_safetensors(tiny: Path, name: str, share: float) -> None:
    path = tiny / name
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert f"{path}: truncated or not a safetensors file" in fault(tiny)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.999])
def test_truncated_ckpt(variant: Path, share: float) -> None:
    path = variant / "model.ckpt"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert f"{path}: truncated or not a PyTorch checkpoint" in fault(variant)


def test_ckpt_that_is_a_web_page(variant: Path) -> None:
    (variant / "model.ckpt").write_text("<html>please accept the license</html>")
    assert "not a PyTorch checkpoint" in fault(variant)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_ckpt_objects_are_refused_and_never_run(
    variant: Path, tmp_path: Path, zipped: bool
) -> None:
    path, ran = variant / "model.ckpt", tmp_path / "ran"
    content = torch.load(path, weights_only=True)
    content["callbacks"] = Payload(ran)
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert "model.ckpt: holds objects other than tensors" in fault(variant)
    assert not ran.exists()


def test_ckpt_without_a_state_dict(variant: Path) -> None:
    torch.save([torch.zeros(2)], variant / "model.ckpt")
    assert "holds no state_dict" in fault(variant)
    torch.save({"state_dict": {"model.step": 7}}, variant / "model.ckpt")
    assert "not tensors: model.step" in fault(variant)


def test_ckpt_of_the_old_kind_and_bare_state_dict(variant: Path) -> None:
    content = torch.load(variant / "model.ckpt", weights_only=True)
    torch.save(content["state_dict"], variant / "model.ckpt", _use_new_zipfile_serialization=False)
    require_sound(CheckpointFolder.open(variant))


# --- tensors ------------------------------------------------------------------------------------


def test_every_faulty_tensor_is_listed(tiny: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["model.model.transformer.layers.0.pre_norm.beta"]
        del tensors["pretransform.model.encoder.layers.0.bias"]
        tensors["model.model.to_timestep_embed.0.bias"] = torch.zeros(95)
        tensors["model.model.transformer.layers.2.pre_norm.beta"] = torch.zeros(96)
        tensors["ema.step"] = torch.zeros(1)
        tensors["pretransform.model.decoder.layers.0.bias"][1] = float("nan")
        tensors["model.model.preprocess_conv.weight"][0] = float("inf")

    edit_tensors(tiny / "model.safetensors", spoil)
    folder = CheckpointFolder.open(tiny)
    report = inspect_checkpoint(folder)
    assert sorted(report.missing) == [
        "model.model.transformer.layers.0.pre_norm.beta",
        "pretransform.model.encoder.layers.0.bias",
    ]
    assert sorted(report.unexpected) == [
        "ema.step",
        "model.model.transformer.layers.2.pre_norm.beta",
    ]
    assert report.wrong_shape == ["model.model.to_timestep_embed.0.bias: [95] instead of [96]"]
    assert sorted(report.non_finite) == [
        "model.model.preprocess_conv.weight",
        "pretransform.model.decoder.layers.0.bias",
    ]
    line = fault(tiny)
    for phrase in (
        "missing tensors: ",
        "unexpected tensors: ",
        "wrong shapes: ",
        "NaN or infinite",
    ):
        assert phrase in line
    # Building one network finds its own faults without the check.
    with pytest.raises(CheckpointError, match=r"missing tensors: .*wrong shapes: .*NaN"):
        folder.build(DIT)
    with pytest.raises(CheckpointError, match="NaN or infinite values in: pretransform"):
        folder.build(DECODER)


def test_faults_of_the_text_encoder_name_its_file(tiny: Path) -> None:
    path = tiny / "text_encoder/model.safetensors"
    edit_tensors(path, lambda tensors: tensors.pop("encoder.final_layer_norm.weight"))
    assert "text encoder encoder.final_layer_norm.weight" in fault(tiny)
    with pytest.raises(CheckpointError, match=r"text_encoder/model\.safetensors: missing tensors"):
        CheckpointFolder.open(tiny).build(CONDITIONER)


def test_a_whole_t5_serves_as_text_encoder(tiny: Path) -> None:
    def widen(tensors: dict[str, torch.Tensor]) -> None:
        tensors["encoder.embed_tokens.weight"] = tensors.pop("shared.weight")
        tensors["decoder.final_layer_norm.weight"] = torch.ones(64)
        tensors["lm_head.weight"] = torch.ones(2, 64)

    edit_tensors(tiny / "text_encoder/model.safetensors", widen)
    folder = CheckpointFolder.open(tiny)
    require_sound(folder)
    folder.build(CONDITIONER)


def test_report_counts_parameters_by_part() -> None:
    tiny = inspect_checkpoint(CheckpointFolder.open(DATA / "parity_tiny")).parameters
    assert set(tiny) == {"dit", "decoder", "encoder", "conditioning", "text_encoder"}
    inside = inspect_checkpoint(CheckpointFolder.open(DATA / "parity_variant")).parameters
    assert set(inside) == {"dit", "decoder", "encoder", "conditioning"}


# --- configs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model_config.json", "text_encoder/config.json"])
@pytest.mark.parametrize("content", [b"", b'{"model_type": ', b"\xff\xfe\x00", b"[1, 2]"])
def test_json_garbage(tiny: Path, name: str, content: bytes) -> None:
    (tiny / name).write_bytes(content)
    assert f"{tiny / name}: " in fault(tiny)


@pytest.mark.parametrize(
    ("place", "key", "value", "words"),
    [
        ((), "model_type", "autoencoder", "model_type is 'autoencoder'"),
        ((), "model_type", None, "model_type is None"),
        (("model", "diffusion"), "type", "adp_cfg_1d", "diffusion.type is 'adp_cfg_1d'"),
        (("model", "diffusion"), "diffusion_objective", "v", "diffusion_objective is 'v'"),
        (("model", "diffusion"), "prepend_cond_ids", ["prompt"], "prepend_cond_ids is ['prompt']"),
        (PRETRANSFORM, "type", "dac_pretrained", "pretransform.type is 'dac_pretrained'"),
        ((*PRETRANSFORM, "config", "bottleneck"), "type", "rvq", "bottleneck.type is 'rvq'"),
        ((*PRETRANSFORM, "config", "encoder"), "type", "taae", "encoder.type is 'taae'"),
        (DIT_CONFIG, "transformer_type", "x-transformers", "transformer_type is 'x-transformers'"),
        (DIT_CONFIG, "conformer", True, "conformer is True"),
        (DIT_CONFIG, "sliding_window", [31, 32], "sliding_window is [31, 32]"),
        (DIT_CONFIG, "window_attention", 3, "window_attention is not a key this toolkit knows"),
        ((*DIT_CONFIG, "attn_kwargs"), "qk_norm", "rms", "qk_norm is 'rms', supported: 'l2'"),
        (DECODER_CONFIG, "antialias_activation", True, "antialias_activation is True"),
        (DECODER_CONFIG, "kernel", 5, "decoder.config.kernel is not a key this toolkit knows"),
        (DIT_CONFIG, "num_heads", 5, "embed_dim does not divide into num_heads"),
        (DIT_CONFIG, "num_heads", 6, "smaller than their 32 rotary features"),
        (DIT_CONFIG, "global_cond_dim", 63, "global_cond_dim is not the width"),
        (DIT_CONFIG, "cond_token_dim", 32, "cond_token_dim is not the width of 'prompt', 64"),
        (DECODER_CONFIG, "strides", [2, 4], "fewer strides than c_mults"),
        (DECODER_CONFIG, "strides", [2, 4, 4, 8, 4], "strides multiply to 1024, not 2048"),
        ((), "sample_size", 100, "sample_size is less than one latent frame"),
        ((), "sample_rate", "fast", "sample_rate"),
        (DIT_CONFIG, "depth", 3, "missing tensors: model.model.transformer.layers.2"),
    ],
)
def test_configs_of_other_families_and_misfits(
    tiny: Path, place: tuple[str, ...], key: str, value: object, words: str
) -> None:
    edit_config(tiny, place, key, value)
    assert words in fault(tiny)


def test_unknown_conditioners_are_named(tiny: Path) -> None:
    path = tiny / "model_config.json"
    config = json.loads(path.read_text())
    section = config["model"]["conditioning"]["configs"]
    section.append({"id": "melody", "type": "clap_audio", "config": {}})
    path.write_text(json.dumps(config))
    assert "configs.2 has type 'clap_audio', supported: 't5', 'number'" in fault(tiny)
    section[2] = {"id": "prompt", "type": "number", "config": {}}
    path.write_text(json.dumps(config))
    assert "conditioner ids repeat" in fault(tiny)


def test_all_faults_of_a_config_come_at_once(tiny: Path) -> None:
    edit_config(tiny, DIT_CONFIG, "causal", True)
    edit_config(tiny, DECODER_CONFIG, "kernel", 5)
    line = fault(tiny)
    assert "causal is True" in line
    assert "decoder.config.kernel" in line


def test_sections_that_upstream_ignores_are_ignored(tiny: Path) -> None:
    before = load_model_config(tiny / "model_config.json")
    edit_config(tiny, (), "training", {"learning_rate": 1e-5})
    edit_config(tiny, ("model", "diffusion"), "distribution_shift_options", {"base_shift": 0.5})
    edit_config(tiny, PRETRANSFORM, "enable_grad", True)
    assert load_model_config(tiny / "model_config.json") == before


def test_text_encoders_of_other_families(tiny: Path) -> None:
    path = tiny / "text_encoder/config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "model_type": "umt5"}))
    assert "unsupported text encoder: model_type is 'umt5'" in fault(tiny)
    path.write_text(json.dumps({**config, "feed_forward_proj": "gated-tanh"}))
    assert "feed_forward_proj is 'gated-tanh'" in fault(tiny)
    path.write_text(json.dumps({**config, "num_heads": 8}))
    assert "wrong shapes: text encoder" in fault(tiny)
