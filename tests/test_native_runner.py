"""The native runner against the Python runtime: same sound, figures and complaints."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from native_binaries import HOST, I8MM_CPU, call, output, require

from arcmobile.bench.runner_stats import NativeStats
from arcmobile.runtime.bundle import MANIFEST_NAME, Bundle
from arcmobile.runtime.decode import plan_decoder
from arcmobile.runtime.generate import GenerationRequest, Pipeline

PROMPT = "warm analog synth pad, soft rain"
ARM_CPUS = (I8MM_CPU, "neoverse-n1", "cortex-a53")


def native_sound(
    bundle: Path, out: Path, *options: object, cpu: str | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    printed = output(
        "arcmobile-run", bundle, PROMPT, "--seed", 7, "--threads", 1, "--format", "float",
        "--out", out, "--stats", "json", *options, cpu=cpu,
    )  # fmt: skip
    audio, _ = soundfile.read(out, dtype="float32")
    return audio.T, json.loads(printed)


def python_sound(bundle: Path, **request: Any) -> np.ndarray:
    with Pipeline.open(bundle) as pipeline:
        return pipeline.generate(GenerationRequest(prompt=PROMPT, seed=7, **request)).audio


def snr(reference: np.ndarray, other: np.ndarray) -> float:
    noise = np.square(reference.astype(np.float64) - other).sum()
    return float(10 * np.log10(np.square(reference.astype(np.float64)).sum() / max(noise, 1e-30)))


@pytest.mark.parametrize("recipe", ["fp32", "mobile"])
def test_same_sound_as_python(recipe: str, micro_bundles: dict[str, Path], tmp_path: Path) -> None:
    bundle = micro_bundles[recipe]
    audio, _ = native_sound(bundle, tmp_path / "a.wav")
    np.testing.assert_allclose(audio, python_sound(bundle), atol=1e-5)
    short, stats = native_sound(bundle, tmp_path / "b.wav", "--seconds", 0.005, "--steps", 3)
    np.testing.assert_allclose(short, python_sound(bundle, seconds=0.005, steps=3), atol=1e-5)
    assert short.shape[1] == round(stats["seconds"] * stats["sample_rate"])


@pytest.fixture(scope="module")
def small_windows(micro_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``fp32`` bundle with windows so small that each part of the decoder has several."""
    from arcmobile.export.pipeline import ExportRequest, export_bundle

    bundle = tmp_path_factory.mktemp("windows") / "fp32"
    export_bundle(
        ExportRequest(
            checkpoint=micro_checkpoint,
            backend="executorch",
            recipe="fp32",
            destination=bundle,
            window=1,
        )
    )
    return bundle


@pytest.mark.parametrize("load", ["mmap", "file"])
def test_several_windows_of_each_part(
    load: str, small_windows: Path, micro_bundles: dict[str, Path], tmp_path: Path
) -> None:
    whole, _ = native_sound(micro_bundles["fp32"], tmp_path / "a.wav")
    options = ("--load", load, "--cold", "--etdump", tmp_path / "trace")
    audio, stats = native_sound(small_windows, tmp_path / "b.wav", *options)
    np.testing.assert_allclose(audio, whole, atol=1e-5)
    np.testing.assert_allclose(audio, python_sound(small_windows), atol=1e-5)

    parts = plan_decoder(Bundle.open(small_windows).manifest, stats["frames"])
    assert all(len(part.windows()) > 1 for part in parts)
    assert stats["decoder_windows"] == [part.window for part in parts]
    assert len(stats["decode_window_seconds"]) == len(parts[-1].windows())
    components = ["conditioner", "dit", *(part.component for part in parts)]
    traces = {f"trace.{component}.etdp" for component in components}
    assert {file.name for file in tmp_path.glob("trace.*")} == traces


@pytest.mark.parametrize("cpu", ARM_CPUS)
def test_emulated_arm_gives_the_same_sound(
    cpu: str, micro_bundles: dict[str, Path], tmp_path: Path
) -> None:
    for recipe, close in (
        ("fp32", lambda here, there: np.abs(here - there).max() <= 1e-3),
        ("mobile", lambda here, there: snr(here, there) >= 25.0),
    ):
        here, _ = native_sound(micro_bundles[recipe], tmp_path / f"{recipe}.wav")
        there, stats = native_sound(micro_bundles[recipe], tmp_path / f"{recipe}-arm.wav", cpu=cpu)
        assert stats["runner"]["abi"] == "linux-arm64"
        assert close(here, there)


def test_stats(micro_bundles: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "stats.json"
    _, stats = native_sound(micro_bundles["mobile"], tmp_path / "a.wav", "--stats-file", file)
    assert json.loads(file.read_text()) == stats
    checked = NativeStats.model_validate(stats)
    assert checked.steps == len(checked.dit_step_seconds) == 8
    stages = ["conditioner", "dit", "decoder"]
    assert list(checked.load_seconds) == list(checked.peak_memory_bytes) == stages
    compute = (
        checked.tokenize_seconds
        + checked.conditioner_seconds
        + sum(checked.dit_step_seconds)
        + sum(checked.decode_window_seconds)
    )
    assert checked.compute_seconds == pytest.approx(compute)
    assert checked.total_seconds == pytest.approx(compute + sum(checked.load_seconds.values()))
    assert stats["rtf"] == pytest.approx(compute / checked.seconds)
    assert checked.process_peak_bytes == max(checked.peak_memory_bytes.values())
    parts = plan_decoder(Bundle.open(micro_bundles["mobile"]).manifest, checked.frames)
    assert checked.decoder_windows == tuple(part.window for part in parts)
    later = sum(checked.decode_window_seconds[1:])
    assert checked.first_audio_seconds == pytest.approx(checked.total_seconds - later)


def complaint(*arguments: object) -> str:
    """The one line of a call that has to fail."""
    done = call("arcmobile-run", arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--steps", 0], "--steps 0: give 1 to 64"),
        (["--steps", 65], "--steps 65"),
        (["--seconds", 0], "--seconds 0"),
        (["--seconds", 1000], "at most"),
        (["--seconds", "nan"], "--seconds nan"),
        (["--seed", -1], "seed"),
        (["--seed", 2**64], "seed"),
        (["--threads", 0], "threads"),
        (["--number", "bpm"], "NAME=VALUE"),
        (["--number", "bpm=120"], "no such input"),
        (["--format", "mp3"], "mp3"),
        (["--loudness", 11], "--loudness"),
        (["--out", "/proc/no/a.wav"], "a.wav"),
        (["--stats-file", "/proc/no/a.json"], "a.json"),
    ],
)
def test_bad_options(options: list[object], said: str, micro_bundles: dict[str, Path]) -> None:
    assert said in complaint(micro_bundles["mobile"], PROMPT, *options)


def test_not_unicode(micro_bundles: dict[str, Path]) -> None:
    program = require(HOST / "dist" / "arcmobile-run")
    done = subprocess.run(
        [program, micro_bundles["mobile"], b"rain \xff"], capture_output=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == b"error: prompt: character 6 is not valid Unicode; give UTF-8 text\n"


def test_existing_file_is_kept_unless_asked(micro_bundles: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "a.wav"
    out.write_bytes(b"mine")
    assert "exists already" in complaint(micro_bundles["mobile"], PROMPT, "--out", out)
    assert out.read_bytes() == b"mine"
    native_sound(micro_bundles["mobile"], out, "--overwrite")
    assert out.read_bytes()[:4] == b"RIFF"
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.fixture
def broken(
    micro_bundles: dict[str, Path], tmp_path: Path
) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """A copy of a bundle with its manifest changed by a function."""

    def change(mutate: Callable[[dict[str, Any]], None]) -> Path:
        copy = tmp_path / "bundle"
        shutil.copytree(micro_bundles["mobile"], copy, dirs_exist_ok=True)
        manifest = json.loads((copy / MANIFEST_NAME).read_text())
        mutate(manifest)
        (copy / MANIFEST_NAME).write_text(json.dumps(manifest))
        return copy

    return change


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["backend"], "onnx", "a bundle for onnx"),
        (["minimum_runtime"], "1.10", "needs ExecuTorch 1.10 or later, this runner has 1.5.1"),
        (["schema_version"], 1, "this runner knows 2"),
        (["schema_version"], 3, "this runner knows 2"),
        (["noise"], "mersenne-1", "mersenne-1"),
        (["audio", "channels"], "two", "audio.channels"),
        (["audio", "sample_rate"], 0, "audio.sample_rate"),
        (["frame_counts"], [], "frame_counts"),
        (["frame_counts"], [1 << 70], "frame_counts"),
        (["frame_counts"], [63], "63 frames"),
        (["tokenizer", "kind"], "bpe", "bpe"),
        (["tokenizer", "max_length"], 32, "input_ids"),
        (["tokenizer", "files"], [], "tokenizer.files"),
        (["schedule", "default_steps"], 1000, "default_steps"),
        (["components", "dit", "file"], "../dit.pte", "../dit.pte"),
        (["components", "dit", "file"], "absent.pte", "missing"),
        (["components", "dit", "bytes"], 12, "12"),
        (["components", "dit"], None, "components.dit"),
        (["components", "decoder_1", "entries"], [], "entries"),
        (["components", "decoder_1", "entries", 0, "frames"], None, "has no frames"),
        (["components", "decoder_1", "entries", 0, "inputs", 0, "shape"], [1, 1], "latent"),
        (["components", "decoder_1", "entries", 0, "inputs", 0, "name"], "features", "latent"),
        (
            ["components", "decoder_1", "entries", 0, "outputs", 0, "shape"],
            [1, 1, 1],
            "next_features",
        ),
        (["components", "decoder_1", "entries", 0, "outputs", 0, "name"], "audio", "next_features"),
        (["components", "decoder_2", "entries", 0, "inputs", 0, "shape"], [1, 1, 1], "features"),
        (["components", "decoder_2"], None, "components.decoder_2"),
        (["windowing", "decoder"], [], "windowing.decoder"),
        (["windowing", "decoder", 0, "component"], "decoder_2", "not decoder_1"),
        (["windowing", "decoder", 0, "frames_per_latent"], 2, "frames_per_latent"),
        (["windowing", "decoder", 0, "context_frames"], -1, "context_frames"),
        (["windowing", "decoder", 1, "frames_per_latent"], 1 << 19, "next_features"),
        (["audio", "samples_per_frame"], 1031, "frames_per_latent"),
        (
            ["windowing", "decoder"],
            [{"component": "decoder_1", "frames_per_latent": 1, "context_frames": 0}],
            "decoder_2: unknown component",
        ),
        (["components", "conditioner", "entries", 0, "name"], "other", "other"),
        (["components"], [], "components"),
    ],
)
def test_broken_manifests(path: list[Any], value: object, said: str, broken: Any) -> None:
    def mutate(manifest: dict[str, Any]) -> None:
        place = manifest
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    assert said in complaint(broken(mutate), PROMPT)


def test_manifest_that_is_no_json(broken: Any, tmp_path: Path) -> None:
    bundle = broken(lambda manifest: None)
    (bundle / MANIFEST_NAME).write_text('{"schema_version": 1,')
    assert "not JSON" in complaint(bundle, PROMPT)
    assert "no such folder" in complaint(tmp_path / "nowhere", PROMPT)


@pytest.mark.parametrize("name", ["dit.pte", "conditioner.pte", "tokenizer.json", "spiece.model"])
def test_damaged_files(name: str, broken: Any) -> None:
    bundle = broken(lambda manifest: None)
    data = (bundle / name).read_bytes()
    (bundle / name).write_bytes(data[: len(data) // 2])
    assert name in complaint(bundle, PROMPT)
    (bundle / name).write_bytes(bytes(len(data)))  # the right size, nothing in it
    assert name in complaint(bundle, PROMPT)
    (bundle / name).unlink()
    (bundle / name).symlink_to("/etc/passwd")
    assert name in complaint(bundle, PROMPT)


def test_stopped_run_leaves_nothing(micro_bundles: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "a.wav"
    program = require(HOST / "dist" / "arcmobile-run")
    # Enough steps to be in the middle of them when the signal arrives.
    command = [program, micro_bundles["fp32"], PROMPT, "--steps", "64", "--out", out]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    while not list(tmp_path.iterdir()) and process.poll() is None:
        time.sleep(0.0005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, b"stopped\n")
    assert list(tmp_path.iterdir()) == []


def test_full_disk(micro_bundles: dict[str, Path], tmp_path: Path) -> None:
    program = require(HOST / "dist" / "arcmobile-run")
    done = subprocess.run(
        # A file size limit stands in for a disk that runs full.
        ["bash", "-c", 'ulimit -f 1; trap "" XFSZ; exec "$@"', "-", program,
         micro_bundles["fp32"], PROMPT, "--format", "float", "--out", tmp_path / "a.wav"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "only a part could be written" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "said"),
    [({}, "no Android NDK"), ({"ANDROID_NDK_HOME": "/usr"}, "it is not an Android NDK")],
)
def test_android_build_says_what_is_missing(
    environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    source = Path(__file__).parent.parent / "runtime" / "native"
    done = subprocess.run(
        ["cmake", "--preset", "android-arm64", "-B", tmp_path],
        cwd=source, capture_output=True, text=True, timeout=60,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **environment},
    )  # fmt: skip
    assert done.returncode != 0
    assert said in " ".join(done.stderr.split())
