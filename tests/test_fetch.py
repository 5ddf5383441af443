"""Downloads from a stand-in hub: what belongs together, what goes on, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import hub_stand_in
import huggingface_hub.constants
import numpy as np
import pytest
from hub_stand_in import Fault, Hub
from huggingface_hub import close_session
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner, Result

from arcmobile.cli.main import app
from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
from arcmobile.export.checkpoint.hub import interrupted_download
from arcmobile.export.hub.download import RECORDS_FILE

TINY = Path(__file__).parent / "data" / "parity_tiny"
WEIGHTS = "model.safetensors"
HTML = b"<!DOCTYPE html><title>Log in to the network</title>"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Two models of the same architecture and names, ``u/a`` and ``u/b``, and a text encoder."""
    for name, factor in (("a", 1), ("b", 2)):
        folder = tmp_path / "repositories" / name
        shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("expected.npz", "*.md"))
        weights = {n: np.float32(factor) * v for n, v in load_file(folder / WEIGHTS).items()}
        save_file(weights, folder / WEIGHTS)
        (folder / "LICENSE").write_text(f"license of {name}")
    with hub_stand_in.serve() as (served, address):
        served.repositories = {
            "u/a": tmp_path / "repositories" / "a",
            "u/b": tmp_path / "repositories" / "b",
            "u/te": tmp_path / "repositories" / "a" / "text_encoder",
        }
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_ETAG_TIMEOUT", 0.5)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
        close_session()
        yield served
        close_session()


def fetch(out: Path, repo: str = "u/a", *options: str) -> Result:
    words = ["fetch", "--repo", repo, "--text-encoder", "u/te", "--out", str(out), *options]
    return CliRunner().invoke(app, words)


def refused(result: Result, *phrases: str) -> None:
    """The command ended with one line that has the phrases."""
    assert result.exit_code == 2, result.output
    assert "complete" not in result.stdout
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1
    assert len(result.stderr.splitlines()) <= 2  # what goes on, and the error
    for phrase in phrases:
        assert phrase in last


def weights_of(folder: Path) -> bytes:
    return (folder / WEIGHTS).read_bytes()


def test_a_fetched_folder_is_the_checkpoint_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    result = fetch(tmp_path / "out" / "got")
    assert result.exit_code == 0, result.output
    got = tmp_path / "out" / "got"
    require_sound(CheckpointFolder.open(got))
    text = ("config.json", WEIGHTS, "spiece.model", "tokenizer.json")
    names = {
        "model_config.json",
        WEIGHTS,
        "LICENSE",
        RECORDS_FILE,
        *(f"text_encoder/{name}" for name in text),
    }
    assert {str(p.relative_to(got)) for p in got.rglob("*") if p.is_file()} == names
    assert [path.name for path in got.parent.iterdir()] == ["got"]


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(status=404), Fault(body=HTML)])
def test_another_repository_never_completes_a_broken_download(
    hub: Hub, tmp_path: Path, fault: Fault
) -> None:
    out = tmp_path / "got"
    hub.faults = {f"u/te:{WEIGHTS}": Fault(keep=100, methods=("GET",))}
    refused(fetch(out), f"u/te: {WEIGHTS}", "run this again")
    assert interrupted_download(out)
    hub.faults = {"u/b:api": fault}
    refused(fetch(out, "u/b"), "u/b")
    assert not out.exists()
    hub.faults = {}
    assert fetch(out, "u/b").exit_code == 0
    assert weights_of(out) == weights_of(hub.repositories["u/b"])
    assert (out / "LICENSE").read_text() == "license of b"
    assert interrupted_download(out) is None


def test_the_same_repository_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    out = tmp_path / "got"
    hub.faults = {f"u/a:{WEIGHTS}": Fault(keep=5000, methods=("GET",))}
    refused(fetch(out), "it goes on where it stopped")
    hub.faults, hub.asked = {}, []
    result = fetch(out)
    assert result.exit_code == 0, result.output
    assert "interrupted" in result.stderr
    assert hub.downloads() == [f"u/a:{WEIGHTS}"]  # the smaller files were there
    ranges = [span for method, key, span in hub.asked if method == "GET" and WEIGHTS in key]
    assert len(ranges) == 1
    assert ranges[0] is not None
    assert int(ranges[0].removeprefix("bytes=").removesuffix("-")) >= 5000
    assert weights_of(out) == weights_of(hub.repositories["u/a"])


def test_a_repository_that_changed_meanwhile_is_not_mixed(hub: Hub, tmp_path: Path) -> None:
    out = tmp_path / "got"
    hub.faults = {f"u/a:{WEIGHTS}": Fault(keep=5000, methods=("GET",))}
    refused(fetch(out))
    shutil.copy(hub.repositories["u/b"] / WEIGHTS, hub.repositories["u/a"] / WEIGHTS)
    hub.faults = {}
    assert fetch(out).exit_code == 0
    assert weights_of(out) == weights_of(hub.repositories["u/b"])


def test_bytes_of_a_partial_download_that_changed_are_found(hub: Hub, tmp_path: Path) -> None:
    out = tmp_path / "got"
    hub.faults = {f"u/te:{WEIGHTS}": Fault(keep=100, methods=("GET",))}
    refused(fetch(out))
    partial = interrupted_download(out)
    assert partial
    for path in [p for p in partial.rglob("*") if p.is_file() and p.suffix != ".json"]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    hub.faults = {}
    # What was complete is downloaded anew; what was half there cannot be known before its end.
    results = [fetch(out) for _ in range(2)]
    refused(results[0], "arrived damaged")
    assert results[1].exit_code == 0
    require_sound(CheckpointFolder.open(out))


@pytest.mark.parametrize(
    ("key", "fault", "phrase"),
    [
        ("u/a:api", Fault(status=429), "429 Too Many Requests"),
        ("u/a:api", Fault(status=401), "`hf auth login`"),
        ("u/a:api", Fault(status=403, headers={"X-Error-Code": "GatedRepo"}), "accept the license"),
        ("u/a:api", Fault(status=500, body=b"\xff\xfe" * 99), "500 Internal Server Error"),
        ("u/a:api", Fault(stall=True), "does not answer"),
        ("u/a:api", Fault(body=b"[" * 50_000), "not the listing"),
        ("u/a:api", Fault(body=b'{"sha": 7, "siblings": []}'), "malformed"),
        ("u/a:api", Fault(body=b'{"sha": "0", "siblings": [{"rfilename": "x"}]}'), "has no model"),
        ("u/a:model_config.json", Fault(status=404), "model_config.json: the hub answered 404"),
        ("u/a:model_config.json", Fault(stall=True), "does not answer"),
        ("u/a:model_config.json", Fault(headers={"X-Repo-Commit": None}), "no commit"),
        (f"u/a:{WEIGHTS}", Fault(headers={"ETag": None}), "no commit, ETag or length"),
        (f"u/a:{WEIGHTS}", Fault(status=500, methods=("GET",)), "500 Internal Server Error"),
        (f"u/a:{WEIGHTS}", Fault(stall=True, methods=("GET",)), "does not answer"),
        (f"u/a:{WEIGHTS}", Fault(body=HTML, methods=("GET",)), "bytes arrived"),
        (f"u/a:{WEIGHTS}", Fault(body=b"x" * 3_000_000, methods=("GET",)), "more than"),
        (f"u/a:{WEIGHTS}", Fault(body=HTML), f"u/a: {WEIGHTS}: is truncated or a web page"),
        ("u/te:config.json", Fault(body=b"{}", methods=("GET",)), "u/te: config.json"),
    ],
)
def test_wrong_answers_are_one_line(
    hub: Hub, tmp_path: Path, key: str, fault: Fault, phrase: str
) -> None:
    if fault.body is not None and key == f"u/a:{WEIGHTS}" and fault.methods == ("GET", "HEAD"):
        fault = Fault(body=fault.body, headers={"ETag": '"an opaque mark"'})
    hub.faults = {key: fault}
    refused(fetch(tmp_path / "got"), phrase)
    assert not (tmp_path / "got").exists()


def test_a_body_of_the_right_length_and_other_bytes_is_refused(hub: Hub, tmp_path: Path) -> None:
    data = bytearray(weights_of(hub.repositories["u/a"]))
    data[-1] ^= 1
    hub.faults = {f"u/a:{WEIGHTS}": Fault(body=bytes(data), methods=("GET",))}
    refused(fetch(tmp_path / "got"), f"u/a: {WEIGHTS} arrived damaged")


def test_a_config_of_another_family_costs_no_download_of_weights(hub: Hub, tmp_path: Path) -> None:
    path = hub.repositories["u/a"] / "model_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "autoencoder"}))
    refused(fetch(tmp_path / "got"), "u/a: model_config.json: model_type is 'autoencoder'")
    assert f"u/a:{WEIGHTS}" not in hub.downloads()


def test_names_that_are_no_repository(hub: Hub, tmp_path: Path) -> None:
    refused(fetch(tmp_path / "got", "a/b/c"), "not a repository name")
    refused(fetch(tmp_path / "got", "nobody/nothing"), "nobody/nothing", "404")
    assert list(tmp_path.glob(".*")) == []


def test_offline_mode_is_said(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    refused(fetch(tmp_path / "got"), "HF_HUB_OFFLINE")


def test_what_is_there_is_asked_before_the_hub(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    for options in ((), ("--overwrite",)):
        refused(fetch(tmp_path / "notes", "u/a", *options), "notes")
    assert hub.asked == []
    out = tmp_path / "got"
    assert fetch(out).exit_code == 0
    refused(fetch(out, "u/b"), "--overwrite")
    hub.faults = {f"u/b:{WEIGHTS}": Fault(keep=10, methods=("GET",))}
    refused(fetch(out, "u/b", "--overwrite"))
    assert weights_of(out) == weights_of(hub.repositories["u/a"])
    hub.faults = {}
    assert fetch(out, "u/b", "--overwrite").exit_code == 0
    assert weights_of(out) == weights_of(hub.repositories["u/b"])


def test_a_fetched_folder_is_pinned(hub: Hub, tmp_path: Path) -> None:
    out = tmp_path / "got"
    first = hub_stand_in.commit_of(hub.repositories["u/a"])
    assert fetch(out).exit_code == 0
    records = json.loads((out / RECORDS_FILE).read_text())
    for place, record in records.items():
        assert hashlib.sha256((out / place).read_bytes()).hexdigest() == record["sha256"]
    assert records[WEIGHTS]["revision"] == first
    hub.asked = []
    again = fetch(out)
    assert again.exit_code == 0, again.output
    assert "complete already" in again.stdout
    assert hub.downloads() == []
    shutil.copytree(hub.repositories["u/a"], tmp_path / "old")
    hub.repositories["u/a@v1"] = tmp_path / "old"
    shutil.copy(hub.repositories["u/b"] / WEIGHTS, hub.repositories["u/a"] / WEIGHTS)
    refused(fetch(out), first, "--revision", "--overwrite")
    for revision in ("v1", first):
        assert fetch(out, "u/a", "--revision", revision).exit_code == 0
    with (out / WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    refused(fetch(out, "u/a", "--revision", "v1"), WEIGHTS, "--overwrite")
    refused(fetch(tmp_path / "x", "u/a", "--revision", "v9"), "u/a at v9", "--revision")


def test_files_that_are_called_otherwise_are_named(hub: Hub, tmp_path: Path) -> None:
    folder = hub.repositories["u/a"]
    (folder / WEIGHTS).rename(folder / "music.safetensors")
    (folder / "model_config.json").rename(folder / "music.json")
    result = fetch(tmp_path / "got")
    refused(result, "music.safetensors", "--weights music.safetensors", "--config music.json")
    words = ("--weights", "music.safetensors", "--config", "music.json")
    assert fetch(tmp_path / "got", "u/a", *words).exit_code == 0
    require_sound(CheckpointFolder.open(tmp_path / "got"))
    refused(fetch(tmp_path / "x", "u/a", "--weights", "music.bin"), "--weights")


def test_a_token_that_is_none_is_not_shown(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret\x01word")
    result = fetch(tmp_path / "got")
    refused(result, "the Hugging Face token")
    assert "secret" not in result.output
    assert hub.asked == []
