"""Publishing to a stand-in hub: what arrives, what is refused before a byte is sent, no secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import hub_stand_in
import huggingface_hub.constants
import pytest
from hub_stand_in import SIGNATURE, TOKEN, Fault, Hub
from huggingface_hub import ModelCard, close_session
from onnx_bundle import make_bundle
from typer.testing import CliRunner, Result

from arcmobile.cli.main import app
from arcmobile.export.hub import session
from arcmobile.runtime.bundle import Bundle

LICENSE = "STABILITY AI COMMUNITY LICENSE AGREEMENT\n\nLast Updated: July 5, 2024\n"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_stand_in.serve() as (served, address):
        served.root = tmp_path / "hub"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        # Its own protocol for large files goes to another service; the other one is plain HTTP.
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        close_session()
        yield served
        close_session()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


def publish(bundle: Path, *words: object, repo: str = "me/rain", verbose: bool = True) -> Result:
    command = ["--verbose"] * verbose + ["publish", str(bundle), repo, *map(str, words)]
    result = CliRunner().invoke(app, command)
    for secret in (TOKEN, SIGNATURE):
        assert secret not in result.output
    return result


def refused(result: Result, *phrases: str) -> None:
    assert result.exit_code == 2, result.output
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    for phrase in phrases:
        assert phrase in last


def test_a_published_bundle_is_the_bundle_with_card_and_license(
    hub: Hub, bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = tmp_path / "terms.md"
    text.write_text(LICENSE)
    caplog.set_level(logging.DEBUG)
    options = ["--license", "stable-audio-community", "--license-file", text]
    done = publish(bundle, *options, verbose=False)
    assert done.exit_code == 0, done.output
    folder = hub.repositories["me/rain"]
    assert hub_stand_in.commit_of(folder) in done.stdout
    there = Bundle.open(folder, verify=True)
    assert there.digest == Bundle.open(bundle).digest
    assert ModelCard((folder / "README.md").read_text()).data.license == "other"
    assert (folder / "LICENSE").read_text() == LICENSE
    assert "licensed under the Stability AI Community License" in (folder / "NOTICE").read_text()
    assert "Powered by Stability AI" in (folder / "NOTICE").read_text()
    assert TOKEN not in caplog.text
    assert SIGNATURE not in caplog.text

    (folder / "decoder_9.onnx").write_text("left over")
    before = len(hub.large)
    again = publish(bundle, *options)
    assert "had these files already" in again.stdout
    assert "also has decoder_9.onnx" in again.stderr
    assert len(hub.large) == before


def test_an_interrupted_upload_sends_only_what_is_missing(hub: Hub, bundle: Path) -> None:
    hub.faults = {"commit": Fault(status=503)}
    refused(publish(bundle), "me/rain", "503 Service Unavailable", "run this again")
    sent = [key for _, key, _ in hub.asked].count("lfs")
    assert sent >= 3
    assert not (hub.repositories["me/rain"] / "manifest.json").exists()  # all or nothing
    hub.faults, hub.asked = {}, []
    assert publish(bundle).exit_code == 0
    assert "lfs" not in [key for _, key, _ in hub.asked]
    Bundle.open(hub.repositories["me/rain"], verify=True)


def test_a_branch_is_made_and_main_stays(hub: Hub, bundle: Path) -> None:
    assert publish(bundle, "--revision", "onnx/v1").exit_code == 0
    Bundle.open(hub.repositories["me/rain@onnx/v1"], verify=True)
    assert not (hub.repositories["me/rain"] / "manifest.json").exists()
    for name in ("a" * 40, "../x", "a b", "x.lock", ""):
        refused(publish(bundle, "--revision", name), "--revision")


def test_a_private_bundle_never_goes_to_a_public_repository(hub: Hub, bundle: Path) -> None:
    assert publish(bundle, "--private").exit_code == 0
    assert hub.private == {"me/rain"}
    assert publish(bundle, repo="me/open").exit_code == 0
    hub.asked = []
    refused(publish(bundle, "--private", repo="me/open"), "me/open: is public")
    assert {method for method, _, _ in hub.asked} == {"GET"}


def test_what_is_wrong_here_is_said_before_anything_is_sent(
    hub: Hub, bundle: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "card.md"
    broken.write_text("---\nlicense: [\n---\n")
    refused(publish(bundle, "--card", broken), "card.md: its front matter")
    refused(publish(bundle, "--card", tmp_path), "cannot be read")
    refused(publish(bundle, "--license", "stable-audio-community"), "--license-file")
    other = tmp_path / "LICENSE"
    other.write_text(LICENSE)
    refused(publish(bundle, "--license", "mit", "--license-file", other), "the card says MIT")
    refused(publish(bundle, repo="rain"), "OWNER/NAME")
    dry = publish(bundle, "--dry-run")
    assert dry.exit_code == 0
    assert "nothing was sent" in dry.stdout
    with (bundle / "dit.onnx").open("r+b") as file:
        file.write(b"\xff")
    refused(publish(bundle), "dit.onnx: sha256 differs")
    assert hub.asked == []


@pytest.mark.parametrize(
    ("key", "fault", "phrase"),
    [
        ("create", Fault(status=403), "a token that may write"),
        ("create", Fault(status=401), "a token that may write"),
        ("me/rain:api", Fault(body=b"<!DOCTYPE html>"), "not what it should be"),
        ("me/rain:api", Fault(stall=True), "does not answer"),
        ("preupload", Fault(body=b"[]"), "not what it should be"),
        ("preupload", Fault(body=b'{"files": []}'), "not what it should be"),
        ("batch", Fault(body=b'{"objects": 1}'), "not what it should be"),
        ("lfs", Fault(status=500), "500 Internal Server Error"),
        ("lfs", Fault(status=403), "403 Forbidden"),
        ("commit", Fault(keep=0), "the connection broke"),
        ("commit", Fault(body=b"{}"), "not what it should be"),
        ("commit", Fault(status=412, headers={"X-Error-Message": TOKEN}), "412"),
        ("validate-yaml", Fault(status=400, body=b'{"errors": [{"message": "m"}]}'), "400"),
    ],
)
def test_wrong_answers_are_one_line(
    hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch, key: str, fault: Fault, phrase: str
) -> None:
    if fault.stall:
        monkeypatch.setattr(session, "ANSWER_SECONDS", 0.3)
    if ":" in key:
        hub.repositories["me/rain"] = hub.root or Path()
        (hub.root or Path()).mkdir()
    hub.faults = {key: fault}
    refused(publish(bundle), "me/rain", phrase)


@pytest.mark.parametrize("token", ["", "hf_x\x01" + TOKEN, "hf_é" + TOKEN, "hf_x " + TOKEN])
def test_a_token_that_is_none_is_refused_unseen(
    hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    refused(publish(bundle), "`hf auth login`")
    assert hub.asked == []
