"""Model cards: what the Hub reads of one, what stands on it, and whose measurements it takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from onnx_bundle import make_bundle
from test_bench_report import content
from typer.testing import CliRunner, Result

from arcmobile.bench.licenses import LICENSES, UNKNOWN, license_named, recognize_license
from arcmobile.bench.model_card import Adherence, CardFacts, EvaluatedRow, Share, render_card
from arcmobile.cli.main import app
from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.manifest import license_notice
from arcmobile.runtime.bundle import Bundle

EMBEDDED = Path(__file__).parents[1] / "checkpoints" / "embedded"
HOSTILE = "a | b\n---\n# `x` <script>alert(1)</script> ![i](http://x) \x1b[2J"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(make_bundle(tmp_path_factory.mktemp("cards") / "bundle"))


def card(bundle: Bundle, *words: object) -> Result:
    return CliRunner().invoke(app, ["card", str(bundle.folder), *map(str, words)])


def write(path: Path, record: dict[str, Any]) -> Path:
    path.write_text(json.dumps(record))
    return path


def result_of(bundle: Bundle, **changes: Any) -> dict[str, Any]:
    record = content()
    record["bundle"]["digest"] = bundle.digest
    return record | changes


def evaluation_of(bundle: Bundle) -> dict[str, Any]:
    share = {"right": 158, "of": 184, "share": 0.8587, "low": 0.80, "high": 0.90}
    row = {"name": "onnx fp32", "adherence": {"class": share, "all": share}, "frechet": 3.21}
    return {
        "sources": {"bundle b": bundle.digest},
        "prompts": [{}] * 184,
        "rows": [{**row, "name": "ARC, 8 steps"}, row],
    }


def refused(result: Result, *phrases: str) -> None:
    assert result.exit_code == 2, result.output
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    for phrase in phrases:
        assert phrase in last


def test_a_card_says_what_the_hub_and_an_integrator_need(bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "card.md"
    measured = write(tmp_path / "pi.json", result_of(bundle))
    judged = write(tmp_path / "results.json", evaluation_of(bundle))
    base = "stabilityai/stable-audio-open-small"
    options = ["--base-model", base, "--license", "stable-audio-community", "--repo", "me/rain"]
    done = card(bundle, measured, judged, "--out", out, *options)
    assert done.exit_code == 0, done.output
    read = ModelCard(out.read_text())
    assert read.data.license == "other"
    assert read.data.license_name == "stable-audio-community"
    assert read.data.pipeline_tag == "text-to-audio"
    assert read.data.library_name == "arcmobile"
    assert read.data.base_model == [base]
    assert {"onnx", "fp32"} <= set(read.data.tags)
    for record in bundle.manifest.files():
        assert f"| `{record.file}` | {record.bytes} | `{record.sha256}` |" in read.text
    for words in (
        "| Raspberry Pi 5 | native | 4 | 11.9 | 8 | 2.15 (2.13–2.17, n = 3) | 1.07 | 0.13 | 905 |",
        "| onnx fp32 | 86 % (80–90) | 86 % (80–90) | 3.21 |",
        "| DiT | fp32 | 0.0 | identical | 1.000000 |",
        "This Stability AI Model is licensed under the Stability AI Community License",
        "**Powered by Stability AI**",
        bundle.digest,
        "hf download me/rain --local-dir rain",
    ):
        assert words in read.text
    refused(card(bundle, "--out", out), "--overwrite")


def test_a_card_goes_into_the_bundle_which_stays_one(bundle: Bundle) -> None:
    done = card(bundle)
    assert done.exit_code == 0, done.output
    assert "the license of the weights is unknown" in done.stderr
    path = bundle.folder / "README.md"
    assert ModelCard(path.read_text()).data.license == "unknown"
    assert "Not measured yet." in path.read_text()
    Bundle.open(bundle.folder, verify=True)
    path.unlink()


def test_measurements_of_others_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "card.md")
    other = write(tmp_path / "other.json", content())
    refused(card(bundle, other, *out), "other.json", "measured another bundle")
    strangers = evaluation_of(bundle) | {"sources": {"checkpoint": "ab" * 32}}
    judged = write(tmp_path / "strangers.json", strangers)
    refused(card(bundle, judged, *out), "strangers.json: does not judge this bundle")
    twice = evaluation_of(bundle)
    twice["rows"].append({**twice["rows"][1], "name": "onnx fp32 (2)"})
    several = write(tmp_path / "twice.json", twice)
    refused(card(bundle, several, *out), "twice.json: judges several")
    mine = write(tmp_path / "mine.json", evaluation_of(bundle))
    refused(card(bundle, mine, mine, *out), "a second evaluation")
    for text in ("[]", "{", '{"rows": 1}', '{"rows": []}', "{}"):
        wrong = tmp_path / "wrong.json"
        wrong.write_text(text)
        refused(card(bundle, wrong, *out), "wrong.json")
    for option in ("--repo", "--base-model"):
        for name in ("a", "a/b/c", "a b/c", "../x"):
            refused(card(bundle, option, name, *out), option, name)
    refused(card(bundle, "--license", "My License", *out), "--license")
    assert not (tmp_path / "card.md").exists()


def test_names_from_outside_stay_text(bundle: Bundle) -> None:
    record = result_of(bundle)
    record["environment"]["device"] = record["environment"]["cpu"] = HOSTILE
    named = Bundle(
        bundle.folder,
        bundle.manifest.model_copy(update={"model_id": HOSTILE, "recipe": HOSTILE}),
    )
    share = Share(right=0, of=0, share=None, low=0, high=1)
    row = EvaluatedRow(name=HOSTILE, adherence={HOSTILE: share}, frechet=1)
    from arcmobile.bench.result import BenchResult

    text = render_card(
        CardFacts(named, UNKNOWN, [BenchResult.model_validate(record)], Adherence(row, 2))
    )
    read = ModelCard(text)
    assert read.data.pipeline_tag == "text-to-audio"
    assert "\x1b" not in text
    body = text.split("\n---\n", 1)[1]
    assert not re.search(r"(?<!\\)<script", body)
    assert not re.search(r"(?<!\\)!\[i\]\(", body.replace(r"!\[", ""))
    for line in body.splitlines():
        if line.startswith("| Raspberry") or line.startswith("| a \\|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (4, 10), line


def test_licenses_are_known_by_how_they_begin() -> None:
    begin = {
        "# STABILITY AI COMMUNITY LICENSE AGREEMENT\n\nLast Updated: July 5, 2024": LICENSES[0],
        "Creative Commons Legal Code, CC0 1.0 Universal": license_named("cc0-1.0"),
        "Apache License\n   Version 2.0, January 2004": license_named("apache-2.0"),
        "MIT License, Copyright (c) 2026": license_named("mit"),
        "Creative Commons Legal Code": UNKNOWN,
        "The weights keep the license of the checkpoint they were exported from; "
        "Stable Audio Open Small is under the Stability AI Community License.": UNKNOWN,
        "": UNKNOWN,
    }
    assert {text: recognize_license(text).name for text in begin} == {
        text: known.name for text, known in begin.items()
    }
    assert recognize_license((EMBEDDED / "LICENSE").read_text()).name == "cc0-1.0"
    notice = license_notice(CheckpointFolder.open(EMBEDDED))
    assert recognize_license(notice).name == "cc0-1.0"
