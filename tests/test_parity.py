"""The networks against upstream's arrays, and `arcmobile parity` on folders that are off."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from arcmobile.cli.main import main
from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
from arcmobile.export.model.forms import FORMS
from arcmobile.export.parity.report import ParityRow, ParityRun

DATA = Path(__file__).parent / "data"
TINY, VARIANT = DATA / "parity_tiny", DATA / "parity_variant"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """At these sizes threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def variant(tmp_path: Path) -> Path:
    """A copy of the variant to spoil."""
    return Path(shutil.copytree(VARIANT, tmp_path / "variant"))


def compare(folder: Path, form: str = "reference") -> list[ParityRow]:
    return list(ParityRun(CheckpointFolder.open(folder), FORMS[form]).rows())


def edit_arrays(folder: Path, change: Callable[[dict[str, NDArray[Any]]], object]) -> None:
    with np.load(folder / "expected.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    change(arrays)
    np.savez(folder / "expected.npz", **arrays)


def edit_config(folder: Path, change: Callable[[Any], object]) -> None:
    path = folder / "model_config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def run_cli(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["parity", *map(str, arguments)])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("folder", [TINY, VARIANT], ids=["tiny", "variant"])
def test_every_array_of_upstream_is_matched(folder: Path, form: str) -> None:
    run = ParityRun(CheckpointFolder.open(folder), FORMS[form])
    rows = list(run.rows())
    assert [row for row in rows if not row.passed] == []
    assert max(row.error for row in rows) < 5e-5  # the float noise of both sides, not the gate
    assert run.absent() == []
    assert run.unread() == []


def test_reference_folders_are_sound() -> None:
    for folder in (TINY, VARIANT):
        require_sound(CheckpointFolder.open(folder))


def test_command_prints_a_line_per_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(VARIANT) == 0
    out = capsys.readouterr().out
    for stage in ("tokens", "conditioning", "dit", "ping-pong", "decoder", "encoder", "end to end"):
        assert any(line.startswith(stage) and line.endswith("ok") for line in out.splitlines())
    assert "arrays within tolerance" in out


def test_command_lists_every_array(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(VARIANT, "--all", "--form", "xnnpack") == 0
    out = capsys.readouterr().out
    assert "dit.row0.hidden_states" in out
    assert "seconds_start_embeds" in out


def test_one_wrong_weight_fails_where_it_acts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(TINY, tmp_path / "tiny"))
    tensors = load_file(folder / "model.safetensors")
    tensors["model.model.transformer.layers.1.ff.ff.2.weight"][3, 5] += 0.05
    save_file(tensors, folder / "model.safetensors")
    assert run_cli(folder, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    failed = {row["stage"] for row in report["rows"] if not row["passed"]}
    assert not report["passed"]
    assert "dit" in failed
    assert failed.isdisjoint({"tokens", "text encoder", "conditioning", "decoder", "encoder"})


@pytest.mark.parametrize(
    ("key", "value", "stage"),
    [
        ("scale", 0.71, "decoder"),
        ("qk_norm", "none", "dit"),
        ("eps", 1e-2, "dit"),
        ("max_val", 96, "numbers"),
        ("soft_clip", False, "decoder"),
    ],
)
def test_a_changed_option_fails(variant: Path, key: str, value: object, stage: str) -> None:
    def change(config: Any) -> None:
        model = config["model"]
        dit = model["diffusion"]["config"]
        places: tuple[dict[str, object], ...] = (
            model["pretransform"],
            model["pretransform"]["config"]["decoder"],
            dit["attn_kwargs"],
            dit["norm_kwargs"],
            model["conditioning"]["configs"][1]["config"],
        )
        next(place for place in places if key in place)[key] = value

    edit_config(variant, change)
    assert stage in {row.stage for row in compare(variant) if not row.passed}


def test_not_a_number_is_not_a_match(variant: Path) -> None:
    edit_arrays(variant, lambda arrays: arrays["dit.v"].fill(np.nan))
    assert [row.array for row in compare(variant) if not row.passed] == ["dit.v"]


def test_absent_and_foreign_arrays_are_named(
    variant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(arrays: dict[str, NDArray[Any]]) -> None:
        del arrays["enc.raw"]
        arrays["something.else"] = np.zeros(3)

    edit_arrays(variant, change)
    assert run_cli(variant) == 0
    out = capsys.readouterr().out
    assert "not in expected.npz: enc.raw" in out
    assert "not compared: something.else" in out


def test_audio_without_a_float32_twin_starts_from_stored_conditioning(variant: Path) -> None:
    edit_arrays(variant, lambda arrays: arrays.pop("e2e_short_t5fp32.audio"))
    rows = {row.array: row for row in compare(variant)}
    assert rows["e2e_short.audio"].error < 1e-5
    assert rows["e2e_full.audio"].error < 1e-5


def test_arrays_longer_than_the_trained_length_are_compared(variant: Path) -> None:
    edit_config(variant, lambda config: config.update(sample_size=24))
    assert all(row.passed for row in compare(variant))


def delete_arrays(folder: Path) -> None:
    (folder / "expected.npz").unlink()


def truncate_arrays(folder: Path) -> None:
    content = (folder / "expected.npz").read_bytes()
    (folder / "expected.npz").write_bytes(content[: len(content) // 2])


def damage_arrays(folder: Path) -> None:
    content = bytearray((folder / "expected.npz").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = bytes(4096)
    (folder / "expected.npz").write_bytes(content)


def empty_arrays(folder: Path) -> None:
    np.savez(folder / "expected.npz", unrelated=np.zeros(1))


def pickle_arrays(folder: Path) -> None:
    np.savez(folder / "expected.npz", **{"dit.x": np.array([{}], dtype=object)})  # type: ignore[arg-type]


def reshape_input(folder: Path) -> None:
    edit_arrays(folder, lambda arrays: arrays.update({"dit.x": arrays["dit.x"][:, :-1]}))


def reshape_output(folder: Path) -> None:
    edit_arrays(folder, lambda arrays: arrays.update({"dec.audio": arrays["dec.audio"][..., :-1]}))


def point_outside(folder: Path) -> None:
    edit_arrays(folder, lambda arrays: arrays.update({"pp.cond_rows": np.array([0, 99])}))


def write_words(folder: Path) -> None:
    edit_arrays(folder, lambda arrays: arrays.update({"dit.t": np.array(["now"] * 4)}))


def spoil_prompts(folder: Path) -> None:
    (folder / "prompts.json").write_text('{"prompts": [1, 2')


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (delete_arrays, "expected.npz: missing"),
        (truncate_arrays, "expected.npz: not a readable array archive"),
        (damage_arrays, "expected.npz: not a readable array archive"),
        (empty_arrays, "holds none of the arrays"),
        (pickle_arrays, "expected.npz: not a readable array archive"),
        (reshape_input, "dit.x has shape [4, 3, 6], the config takes [4, 4, any]"),
        (reshape_output, "dec.audio has shape"),
        (point_outside, "pp.cond_rows names rows outside of 0 to 7"),
        (write_words, "dit.t does not hold numbers"),
        (spoil_prompts, "prompts.json: not JSON"),
    ],
)
def test_bad_folders_end_with_one_line(
    variant: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    named: str,
) -> None:
    spoil(variant)
    assert run_cli(variant) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert named in lines[0]


def test_unsound_weights_end_with_exit_code_2(
    variant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(variant / "model.ckpt", weights_only=True)
    content["state_dict"]["model.model.project_extra"] = torch.zeros(2)
    torch.save(content, variant / "model.ckpt")
    assert run_cli(variant) == 2
    assert "unexpected tensors: model.model.project_extra" in capsys.readouterr().err
