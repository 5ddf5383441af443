"""Random checkpoints: exact layout, determinism, atomic writing, and networks that stay healthy."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from arcmobile.export.checkpoint import presets
from arcmobile.export.checkpoint.folder import CheckpointFolder, inspect_checkpoint
from arcmobile.export.checkpoint.presets import PRESETS, init_checkpoint, write_random_safetensors
from arcmobile.export.checkpoint.random_weights import (
    TensorPlan,
)
from arcmobile.runtime.errors import OutputError
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT, ENCODER


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("presets") / "tiny"
    init_checkpoint(PRESETS["tiny"], 0, folder)
    return folder


def _layout_digest(shapes: Mapping[str, tuple[int, ...]]) -> str:
    lines = [f"{name} {list(shapes[name])}" for name in sorted(shapes)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_sao_small_has_the_tensors_of_the_published_model() -> None:
    # Digest of the names and shapes of the published checkpoint's 750 tensors, `name [d0, d1]` a
    # line, sorted by name.
    plans, _ = PRESETS["sao-small"].tensors(pieces=700)
    assert (len(plans), sum(plan.size for plan in plans)) == (750, 497_239_458)
    digest = _layout_digest({plan.name: plan.shape for plan in plans})
    assert digest == "eaea45188334e9ce53bd78f16b422bfc99291adb597715117355a424568b517c"


def test_sao_small_text_encoder_is_t5_base() -> None:
    config = PRESETS["sao-small"].text_config(pieces=700)
    _, plans = PRESETS["sao-small"].tensors(pieces=700)
    assert config["vocab_size"] == 32128
    assert sum(plan.size for plan in plans) == 109_628_544  # t5-base's encoder


def test_files_are_a_sound_checkpoint(tiny: Path) -> None:
    report = inspect_checkpoint(CheckpointFolder.open(tiny))
    assert report.faults() == []
    names = {str(path.relative_to(tiny)) for path in tiny.rglob("*") if path.is_file()}
    text = ("config.json", "model.safetensors", "spiece.model", "tokenizer.json")
    assert names == {
        "model_config.json",
        "model.safetensors",
        *(f"text_encoder/{name}" for name in (*text, "tokenizer_config.json")),
    }


def test_same_seed_same_files_other_seed_other_weights(tiny: Path, tmp_path: Path) -> None:
    init_checkpoint(PRESETS["tiny"], 0, tmp_path / "again")
    for path in sorted(path for path in tiny.rglob("*") if path.is_file()):
        assert (tmp_path / "again" / path.relative_to(tiny)).read_bytes() == path.read_bytes()
    init_checkpoint(PRESETS["tiny"], 1, tmp_path / "other")
    first, other = (
        load_file(folder / "model.safetensors") for folder in (tiny, tmp_path / "other")
    )
    same = [name for name in first if np.array_equal(first[name], other[name])]
    assert same == ["model.model.transformer.rotary_pos_emb.inv_freq"]


def test_no_tensor_is_zero_and_rotary_frequencies_are_true(tiny: Path) -> None:
    tensors = load_file(tiny / "model.safetensors")
    assert all(np.abs(values).max() > 0 for values in tensors.values())
    frequencies = tensors["model.model.transformer.rotary_pos_emb.inv_freq"]
    np.testing.assert_allclose(frequencies, 10000.0 ** (-np.arange(0, 32, 2) / 32), rtol=1e-6)


def test_tokenizer_ids_fit_the_embedding(tiny: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tiny / "text_encoder" / "tokenizer.json"))
    config = json.loads((tiny / "text_encoder" / "config.json").read_text())
    assert tokenizer.get_vocab_size() <= config["vocab_size"]
    ids = tokenizer.encode("slow piano, 90 BPM").ids
    assert ids[-1] == config["eos_token_id"] == 1
    assert 2 not in ids  # no unknown pieces
    assert tokenizer.token_to_id("<extra_id_0>") == tokenizer.get_vocab_size() - 1


def test_signals_keep_their_size_through_the_networks(tiny: Path) -> None:
    folder = CheckpointFolder.open(tiny)
    torch.manual_seed(0)
    ids = torch.randint(3, 700, (1, 64), dtype=torch.int32)
    mask = (torch.arange(64) < 12).float()[None]

    def rms(values: torch.Tensor) -> float:
        return float(values.pow(2).mean().sqrt())

    with torch.no_grad():
        condition = folder.build(CONDITIONER)(ids, mask, torch.tensor([1.0]))
        assert all(0.3 < rms(values) < 2 for values in condition)
        latent = torch.randn(1, folder.config.dit.io_channels, 32)
        velocity = folder.build(DIT)(latent, torch.tensor([0.9]), *condition)
        assert 0.5 < rms(velocity) < 2
        audio = folder.build(DECODER)(latent)
        assert 0.03 < rms(audio) < 0.3
        mean, stdev = folder.build(ENCODER)(audio)
        assert 0.3 < rms(mean) < 3
        assert 0.3 < rms(stdev) < 3


def test_safetensors_are_written_one_tensor_at_a_time(tmp_path: Path) -> None:
    plans = [
        TensorPlan("b", (3, 5), mean=1.0, std=0.5),
        TensorPlan("a.fixed", (2,), values=(1.5, -2.0)),
        TensorPlan("odd", (7, 1, 1)),
    ]
    path, written = tmp_path / "x.safetensors", []
    write_random_safetensors(path, iter(plans), 7, written.append)
    assert written == [60, 8, 28]
    with safe_open(path, "np") as file:
        assert file.metadata() == {"format": "pt"}
        for plan in plans:
            np.testing.assert_array_equal(file.get_tensor(plan.name), plan.draw(7))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_stopped_init_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def stop(count: int) -> None:
        raise error

    expected = OutputError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        init_checkpoint(PRESETS["tiny"], 0, tmp_path / "x", on_bytes=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_noticed_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets, "checkpoint_bytes", lambda preset: 1 << 60)
    with pytest.raises(OutputError, match="GB free"):
        init_checkpoint(PRESETS["tiny"], 0, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_overwriting_is_only_for_checkpoints(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="no model_config"):
        init_checkpoint(PRESETS["tiny"], 0, out, overwrite=True)
    assert (out / "thesis.tex").exists()
    (out / "thesis.tex").rename(out / "model_config.json")
    with pytest.raises(OutputError, match="already exists"):
        init_checkpoint(PRESETS["tiny"], 0, out)
    init_checkpoint(PRESETS["tiny"], 0, out, overwrite=True)
    assert (out / "model.safetensors").read_bytes() == (tiny / "model.safetensors").read_bytes()
