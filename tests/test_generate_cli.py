"""`arcmobile generate` and `arcmobile inspect`, on a bundle of four hand-made ONNX graphs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx_bundle
import pytest
import soundfile
from typer.testing import CliRunner, Result

from arcmobile.cli.generate import DEFAULT_BUNDLE
from arcmobile.cli.main import app
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.generate import GenerationRequest, Pipeline

RATE = onnx_bundle.SAMPLE_RATE
PER_FRAME = onnx_bundle.SAMPLES_PER_FRAME


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_bundle.make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def arcmobile(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def test_generate_command(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "rain.wav"
    stats = tmp_path / "stats.json"
    result = arcmobile(
        *("generate", "warm rain", "--bundle", folder, "--seconds", 1, "--seed", 5),
        *("--steps", 4, "--out", out, "--format", "wav-float", "--stats"),
        *("--stats-json", stats, "--threads", 1),
    )
    assert result.exit_code == 0, result.output
    assert str(out) in result.stdout
    assert "RTF" in result.stdout
    written, rate = soundfile.read(out, dtype="float32")
    request = GenerationRequest("warm rain", seconds=1.0, seed=5, steps=4)
    with Pipeline.open(folder) as pipeline:
        np.testing.assert_array_equal(written.T, pipeline.generate(request).audio)
    assert rate == RATE
    (record,) = json.loads(stats.read_text())
    assert len(record["dit_step_seconds"]) == 4
    assert record["peak_memory_bytes"]["dit"] > 1_000_000
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "rain.wav", "stats.json"}

    refused(arcmobile("generate", "x", "--bundle", folder, "--out", out), "exists", "--overwrite")


def test_generate_command_for_many(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text('Warm Rain!\n\n{"prompt": "été", "seconds": 0.5, "seed": 9}\n')
    common = ("generate", "--bundle", folder, "--prompts", prompts, "--seed", 3)
    flac = ("--format", "flac", "--out", tmp_path / "out", "--seconds", 0.2, "--batch", 2)
    result = arcmobile(*common, *flac)
    assert result.exit_code == 0, result.output
    lengths = {p.name: soundfile.info(str(p)).frames for p in (tmp_path / "out").iterdir()}
    assert lengths == {
        "warm-rain-3.flac": 20,
        "warm-rain-4.flac": 20,
        "ete-9.flac": 50,
        "ete-10.flac": 50,
    }
    with soundfile.SoundFile(tmp_path / "out" / "ete-9.flac") as file:
        assert json.loads(file.comment)["seed"] == 9
    # The same again, named by default in the working directory: nothing is overwritten.
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert arcmobile(*common).exit_code == 0
    names = {path.name for path in tmp_path.glob("*.wav")}
    assert names == {"warm-rain-3.wav", "warm-rain-3-2.wav", "ete-9.wav", "ete-9-2.wav"}


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b'\xef\xbb\xbf{"prompt": "drum", "seed": 7}\n', ["drum-7"]),
        ('{"prompt": "wind\u2028rain", "seed": 7}\n'.encode(), ["windrain-7"]),
        (b"wind\r\nrain\rdrum\x0cbell\n", ["wind-1", "rain-1", "drum-bell-1"]),
    ],
)
def test_prompts_files_of_other_editors(
    folder: Path, tmp_path: Path, content: bytes, names: list[str]
) -> None:
    (tmp_path / "prompts").write_bytes(content)
    common = ("--bundle", folder, "--seed", 1, "--seconds", 0.1)
    result = arcmobile(
        "generate", "--prompts", tmp_path / "prompts", *common, "--out", f"{tmp_path}/takes.v2/"
    )
    assert result.exit_code == 0, result.output
    assert {path.stem for path in (tmp_path / "takes.v2").iterdir()} == set(names)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("drum\nbell\n".encode("utf-16-le"), "NUL character"),
        ("drum\n".encode("utf-16"), "not UTF-8"),
        (b"drum\nbell\0\n", "line 2: holds a NUL"),
        (b'{"prompt": "x", "seconds": 1e308}', "--seconds 1e+308"),
        (b'{"prompt": "x", "seconds": 1e999}', "line 1: seconds: inf is not"),
        (b'{"prompt": "x", "seconds": NaN}', "line 1: seconds: nan is not"),
        (b'{"prompt": "x", "seed": 1, "seed": 2}', "'seed' stands twice"),
        (b'{"prompt": ' + b"[" * 100_000, "nested deeper"),
        (b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}", "line 1"),
        (b'{"prompt": "x", "numbers": {"a": 1e39}}', "--number a"),
        (b"rain " * 20_000, "65536"),
    ],
)
def test_prompts_files_that_are_refused(
    folder: Path, tmp_path: Path, content: bytes, word: str
) -> None:
    (tmp_path / "prompts").write_bytes(content)
    out = tmp_path / "out"
    result = arcmobile(
        "generate", "--prompts", tmp_path / "prompts", "--bundle", folder, "--out", out
    )
    refused(result, word)
    assert not out.exists()


def test_names_with_markup_are_shown_as_they_are(tmp_path: Path) -> None:
    path = onnx_bundle.make_bundle(tmp_path / "[bold]b")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["model_id"] = "[/red] x :smile:"
    (path / "manifest.json").write_text(json.dumps(manifest))
    result = arcmobile("inspect", path)
    assert result.exit_code == 0, result.output
    assert "[/red] x :smile:" in result.stdout
    refused(arcmobile("inspect", tmp_path / "[/red]\nnowhere"), "[/red] nowhere")


def test_generate_command_warns(folder: Path, tmp_path: Path) -> None:
    loud = onnx_bundle.make_bundle(tmp_path / "loud", gain=100.0)
    prompt = "slow drums and a warm bass on a tin roof"
    result = arcmobile("generate", prompt, "--bundle", loud, "--out", tmp_path / "a.wav")
    assert result.exit_code == 0
    assert "warning: the prompt has" in result.stderr
    assert "clipped" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["rain", "--bundle", "nowhere"], "nowhere"),
        (["--bundle", "BUNDLE"], "--prompts"),
        (["rain", "--bundle", "BUNDLE", "--checkpoint", "x"], "either"),
        (["rain", "--bundle", "BUNDLE", "--half"], "--half"),
        (["rain", "--bundle", "BUNDLE", "--seconds", "99"], "--seconds 99"),
        (["rain", "--bundle", "BUNDLE", "--steps", "0"], "--steps 0"),
        (["rain", "--bundle", "BUNDLE", "--threads", "0"], "--threads 0"),
        (["rain", "--bundle", "BUNDLE", "--threads", "100000"], "1 to 1024"),
        (["rain", "--bundle", "BUNDLE", "--seconds", "1e308"], "--seconds 1e+308"),
        (["rain", "--bundle", "BUNDLE", "--seconds", "nan"], "--seconds nan"),
        (["rain", "--bundle", "BUNDLE", "--out", ""], "--out"),
        (["rain", "--bundle", "BUNDLE", "--batch", "1000000000"], "--batch"),
        (["rain", "--bundle", "BUNDLE", "--number", "seconds_start"], "NAME=VALUE"),
        (["rain", "--bundle", "BUNDLE", "--out", "a.flac", "--format", "wav"], "--format wav"),
        (["rain", "--bundle", "BUNDLE", "--out", "a.mp3"], ".wav or .flac"),
        (["rain", "--bundle", "BUNDLE", "--batch", "2", "--out", "a.wav"], "folder"),
        (["rain", "--bundle", "BUNDLE", "--out", "/proc/none/a.wav"], "/proc/none/a.wav"),
        (["--prompts", "missing.txt", "--bundle", "BUNDLE"], "missing.txt"),
        (["--prompts", "bad.txt", "--bundle", "BUNDLE"], "line 2: tempo"),
        (["--prompts", "empty.txt", "--bundle", "BUNDLE"], "no prompt"),
        (["--prompts", "binary.txt", "--bundle", "BUNDLE"], "UTF-8"),
    ],
)
def test_generate_command_refuses(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    word: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.txt").write_text('rain\n{"prompt": "x", "tempo": 120}\n')
    Path("empty.txt").write_text("\n \n")
    Path("binary.txt").write_bytes(b"\xff\xfe")
    before = set(tmp_path.iterdir())
    arguments = [str(folder) if argument == "BUNDLE" else argument for argument in arguments]
    refused(arcmobile("generate", *arguments), word)
    assert set(tmp_path.iterdir()) == before


def test_bundle_without_encoder(tmp_path: Path) -> None:
    path = onnx_bundle.make_bundle(tmp_path / "plain", encoder=False)
    soundfile.write(tmp_path / "hum.wav", np.zeros((10, 2)), RATE)
    result = arcmobile("generate", "x", "--bundle", path, "--init-audio", tmp_path / "hum.wav")
    refused(result, "--encoder")


def test_interrupted_generation_leaves_no_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("arcmobile.runtime.stages.stream_decode", interrupt)
    result = arcmobile("generate", "x", "--bundle", folder, "--out", tmp_path / "a.wav")
    assert result.exit_code == 130
    assert list(tmp_path.iterdir()) == []


def test_inspect_command(folder: Path, tmp_path: Path) -> None:
    result = arcmobile("inspect", folder, "--verify")
    assert result.exit_code == 0, result.output
    for word in ("tiny-by-hand", "no weights of anyone", "dit.onnx", "cross_keys", "sha256"):
        assert word in result.stdout
    result = arcmobile("inspect", folder, "--json")
    assert json.loads(result.stdout) == Bundle.open(folder).manifest.model_dump(mode="json")
    refused(arcmobile("inspect", tmp_path), "manifest.json")


def test_onnx_path_needs_no_pytorch(folder: Path, tmp_path: Path) -> None:
    """As on a board that has only the runtime installed."""
    code = """
        import sys
        for name in ("torch", "executorch", "sentencepiece", "onnx", "transformers"):
            sys.modules[name] = None  # importing it fails
        from arcmobile.cli.main import main
        main(sys.argv[1:])
    """
    arguments = ["generate", "rain", "--bundle", folder, "--out", tmp_path / "a.wav"]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert soundfile.info(str(tmp_path / "a.wav")).frames == 30 * PER_FRAME


def test_the_bundle_of_make_export_android_is_the_default(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(arcmobile("generate", "rain", "--out", "a.wav"), "make export-android", "--bundle")
    shutil.copytree(folder, tmp_path / DEFAULT_BUNDLE)
    result = arcmobile("generate", "rain", "--out", "a.wav")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a.wav").is_file()
