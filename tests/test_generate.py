"""The pipeline and its engine interface, on a bundle of hand-made ONNX graphs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import onnx_bundle
import onnxruntime
import pytest
import soundfile

from arcmobile.runtime import tensors
from arcmobile.runtime.backends import BACKENDS, ONNX, BackendSpec
from arcmobile.runtime.bundle import MANIFEST_NAME, Bundle, record_file
from arcmobile.runtime.engine import Engine, EngineOptions, open_engine
from arcmobile.runtime.engines.native_log import native_log
from arcmobile.runtime.errors import BundleError, EngineError, InputError
from arcmobile.runtime.generate import GenerationRequest, Pipeline, ProgressEvent
from arcmobile.runtime.noise import PhiloxNoise
from arcmobile.runtime.sampler import Cancelled, pingpong
from arcmobile.runtime.schedule import pingpong_schedule
from arcmobile.runtime.tokenizer import PromptTokenizer

RATE = onnx_bundle.SAMPLE_RATE
PER_FRAME = onnx_bundle.SAMPLES_PER_FRAME
LONGEST = 30 * PER_FRAME / RATE  # 1.2 s


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_bundle.make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return Bundle.open(folder)


@pytest.fixture(scope="module")
def pipeline(bundle: Bundle) -> Pipeline:
    return Pipeline.open(bundle, EngineOptions(threads=1))


def run_graph(bundle: Bundle, component: str, **inputs: np.ndarray) -> list[np.ndarray]:
    path = bundle.file(bundle.manifest.components[component])
    return onnxruntime.InferenceSession(path).run(None, inputs)


def by_hand(
    bundle: Bundle,
    prompt: str,
    seconds: float,
    seed: int,
    steps: int,
    frames: int,
    init: np.ndarray | None = None,
    noise_level: float = 1.0,
) -> np.ndarray:
    """The generation without the pipeline: one-shot decode, ONNX Runtime called directly."""
    tokens = PromptTokenizer.from_bundle(bundle)(prompt)
    conditioning = dict(
        zip(
            (tensors.GLOBAL_COND, tensors.CROSS_KEYS, tensors.CROSS_VALUES),
            run_graph(
                bundle,
                tensors.CONDITIONER,
                input_ids=tokens.input_ids,
                attention_mask=tokens.attention_mask,
                seconds_start=np.zeros(1, np.float32),
                seconds_total=np.array([seconds], np.float32),
            ),
            strict=True,
        )
    )
    shape = (1, onnx_bundle.LATENT_CHANNELS, frames)
    noise = PhiloxNoise(seed)
    latent = None
    if init is not None:
        mean, stdev = run_graph(bundle, tensors.ENCODER, audio=init)
        latent = mean + stdev * noise.encoder(shape)

    def velocity(x: np.ndarray, t: np.float32) -> np.ndarray:
        return run_graph(
            bundle, tensors.DIT, latent=x, timestep=np.array([t], np.float32), **conditioning
        )[0]

    times = pingpong_schedule(steps, logsnr_start=-6, logsnr_end=2, sigma_max=noise_level)
    latent = pingpong(velocity, times, noise, shape, init=latent)
    features = run_graph(bundle, "decoder_1", latent=latent)[0]
    audio = run_graph(bundle, "decoder_2", features=features)[0][0]
    return audio[:, : round(seconds * RATE)]


@pytest.mark.parametrize(("seconds", "frames"), [(0.1, 6), (0.24, 6), (0.25, 30), (LONGEST, 30)])
def test_generation_is_what_it_should_be(
    bundle: Bundle, pipeline: Pipeline, seconds: float, frames: int
) -> None:
    request = GenerationRequest("warm rain", seconds=seconds, steps=3, seed=42)
    result = pipeline.generate(request)
    expected = by_hand(bundle, "warm rain", seconds, 42, 3, frames)
    assert result.audio.shape == (2, round(seconds * RATE))
    assert result.audio.dtype == np.float32
    np.testing.assert_allclose(result.audio, expected, rtol=0, atol=1e-5)
    assert np.abs(result.audio).max() > 1e-3
    assert result.sample_rate == RATE
    assert result.seed == 42
    assert result.warnings == ()
    assert len(result.timings.dit_steps) == 3
    assert result.rtf > 0


def test_audio_to_audio(bundle: Bundle, pipeline: Pipeline, tmp_path: Path) -> None:
    init = np.random.default_rng(0).standard_normal((2, 50)).astype(np.float32) * 0.3
    soundfile.write(tmp_path / "init.wav", init.T, RATE, subtype="FLOAT")
    padded = np.zeros((1, 2, 30 * PER_FRAME), np.float32)
    padded[0, :, :50] = init
    expected = by_hand(bundle, "rain", 1.0, 1, 2, 30, init=padded, noise_level=0.4)
    for source in (tmp_path / "init.wav", init):
        request = GenerationRequest(
            "rain", seconds=1.0, steps=2, seed=1, init_audio=source, noise_level=0.4
        )
        audio = pipeline.generate(request).audio
        np.testing.assert_allclose(audio, expected, rtol=0, atol=1e-5)


def test_seeds(pipeline: Pipeline) -> None:
    def audio(seed: int | None) -> tuple[bytes, int]:
        result = pipeline.generate(GenerationRequest("rain", seconds=0.2, seed=seed))
        return result.audio.tobytes(), result.seed

    assert audio(3) == audio(3)
    assert audio(3)[0] != audio(4)[0]
    drawn, seed = audio(None)
    assert audio(seed)[0] == drawn


def test_defaults_are_the_bundles(pipeline: Pipeline) -> None:
    result = pipeline.generate(GenerationRequest(""))
    assert result.seconds == LONGEST
    assert len(result.timings.dit_steps) == 8


def test_numbers_reach_the_model(pipeline: Pipeline) -> None:
    def audio(**numbers: float) -> np.ndarray:
        request = GenerationRequest("rain", seconds=0.2, seed=0, numbers=numbers)
        return pipeline.generate(request).audio

    assert not np.array_equal(audio(), audio(seconds_start=5.0))
    np.testing.assert_array_equal(audio(), audio(seconds_start=0.0, seconds_total=0.2))


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"prompt": b"rain"}, "prompt"),
        ({"seconds": 0}, "--seconds 0: give more than 0 and at most 1.2"),
        ({"seconds": -1}, "--seconds"),
        ({"seconds": 1.3}, "--seconds"),
        ({"seconds": float("nan")}, "--seconds nan"),
        ({"seconds": float("inf")}, "--seconds"),
        ({"seconds": 1e-9}, "--seconds"),
        ({"steps": 0}, "--steps 0: give 1 to 64"),
        ({"steps": 65}, "--steps"),
        ({"seed": -1}, "--seed"),
        ({"seed": 2**64}, "--seed"),
        ({"noise_level": 0.5}, "--init-audio"),
        ({"noise_level": 0.0, "init_audio": np.zeros((2, 9), np.float32)}, "--noise-level"),
        ({"init_audio": np.full((2, 9), np.nan, np.float32)}, "finite"),
        ({"init_audio": "nowhere.wav"}, "nowhere.wav: no such file"),
        ({"numbers": {"tempo": 1.0}}, "seconds_start"),
        ({"numbers": {"seconds_start": float("inf")}}, "finite"),
    ],
)
def test_bad_requests_are_refused_before_anything_loads(
    bundle: Bundle, fields: dict, word: str
) -> None:
    with Pipeline.open(bundle) as fresh, pytest.raises(InputError) as caught:
        fresh.generate(GenerationRequest(**{"prompt": "rain", **fields}))
    assert word in str(caught.value)
    assert fresh.engine.loaded == frozenset()


def test_warnings(pipeline: Pipeline) -> None:
    request = GenerationRequest(
        "slow drums and a warm bass on a tin roof",
        seconds=0.2,
        init_audio=np.zeros((1, 9), np.float32),
        noise_level=0.05,
        numbers={"seconds_start": 99.0},
    )
    text = "\n".join(pipeline.generate(request).warnings)
    for word in ("tokens", "noise level 0.05", "seconds_start 99"):
        assert word in text


def test_stream_gives_the_same_samples_in_pieces(pipeline: Pipeline) -> None:
    request = GenerationRequest("rain", seconds=1.0, seed=9)
    stream = pipeline.stream(request)
    assert stream.samples == 100
    chunks = list(stream)
    assert len(chunks) > 2
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1), pipeline.generate(request).audio)
    assert 0 < stream.timings.first_audio < stream.timings.total


def test_progress_and_cancellation(pipeline: Pipeline) -> None:
    events: list[ProgressEvent] = []
    request = GenerationRequest("rain", seconds=1.0, steps=2)
    pipeline.generate(request, progress=events.append)
    order = list(dict.fromkeys(event.stage for event in events))
    assert order == ["tokenize", "load", "conditioner", "dit", "decode"]
    assert [e.done for e in events if e.stage == "dit"] == [0, 1, 2]
    decoded = [e.done for e in events if e.stage == "decode"]
    assert decoded == sorted(decoded)
    assert decoded[-1] == 25  # frames of one second

    seen: list[ProgressEvent] = []
    with pytest.raises(Cancelled):
        pipeline.generate(
            request,
            progress=seen.append,
            cancelled=lambda: bool(seen) and seen[-1].stage == "dit" and seen[-1].done == 1,
        )
    assert seen[-1] == ProgressEvent("dit", 1, 2)


def watch(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is loaded and unloaded, in order."""
    log: list[str] = []

    def logged(name: str, method: Callable[[str], None]) -> Callable[[str], None]:
        def call(component: str) -> None:
            log.append(f"{name} {component}")
            method(component)

        return call

    monkeypatch.setattr(engine, "_load", logged("+", engine._load))
    monkeypatch.setattr(engine, "_unload", logged("-", engine._unload))
    return log


def test_low_memory_holds_one_stage_at_a_time(
    bundle: Bundle, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [
        GenerationRequest("rain", seed=1, init_audio=np.ones((2, 40), np.float32)),
        GenerationRequest("drums", seed=2, seconds=0.2),
    ]
    with Pipeline.open(bundle, low_memory=True, measure_memory=True) as frugal:
        log = watch(frugal.engine, monkeypatch)
        results = [stream.result() for stream in frugal.stream_many(requests)]
        assert frugal.engine.loaded == frozenset()
    before = [f"{sign} {stage}" for stage in ("conditioner", "encoder", "dit") for sign in "+-"]
    decoder = [f"{sign} decoder_{part}" for sign in "+-" for part in (1, 2)]
    assert log == before + decoder
    assert set(results[0].peak_memory) == {"conditioner", "encoder", "dit", "decoder"}
    assert set(results[0].timings.load) == set(results[0].peak_memory)
    assert min(results[0].peak_memory.values()) > 1_000_000
    for request, result in zip(requests, results, strict=True):
        np.testing.assert_array_equal(result.audio, pipeline.generate(request).audio)


def test_programs_are_loaded_once_for_many_requests(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pipeline.open(bundle) as fresh:
        log = watch(fresh.engine, monkeypatch)
        for stream in fresh.stream_many([GenerationRequest("a"), GenerationRequest("b")]):
            stream.result()
        assert log == ["+ conditioner", "+ dit", "+ decoder_1", "+ decoder_2"]
    assert fresh.engine.loaded == frozenset()


def test_bundle_that_the_runtime_cannot_serve(bundle: Bundle) -> None:
    tokenizer = PromptTokenizer.from_bundle(bundle)
    noise = bundle.manifest.model_copy(update={"noise": "mt19937"})
    # A window that is all context cannot be moved along: only 6 frames can be decoded.
    chain = bundle.manifest.windowing.decoder
    wide = (chain[0].model_copy(update={"context_frames": 6}), chain[1])
    windowing = bundle.manifest.windowing.model_copy(update={"decoder": wide})
    context = bundle.manifest.model_copy(update={"windowing": windowing})
    for manifest, word in ((noise, "mt19937"), (context, "30 frames")):
        with pytest.raises(BundleError, match=word):
            Pipeline(open_engine(bundle), manifest, tokenizer)


def test_model_that_gives_nan(tmp_path: Path) -> None:
    path = onnx_bundle.make_bundle(tmp_path / "nan", gain=float("nan"))
    with Pipeline.open(path) as broken, pytest.raises(EngineError, match="decoder gave NaN"):
        broken.generate(GenerationRequest("rain"))


def test_engine_checks_tensors_against_the_manifest(bundle: Bundle) -> None:
    latent = np.zeros((1, 3, 6), np.float32)
    with open_engine(bundle) as engine:
        engine.run("decoder_1", "frames_6", {"latent": latent})
        for component, entry, inputs, word in [
            ("vocoder", "main", {}, "no component 'vocoder'; the bundle has: conditioner"),
            ("decoder_1", "frames_7", {"latent": latent}, "the bundle has: frames_6, frames_11"),
            ("decoder_1", "frames_6", {}, "latent"),
            ("decoder_1", "frames_6", {"latents": latent}, "latents"),
            ("decoder_1", "frames_6", {"latent": latent[..., :5]}, "(1, 3, 5)"),
            ("decoder_1", "frames_6", {"latent": latent.astype(np.float64)}, "float64"),
        ]:
            with pytest.raises(EngineError) as caught:
                engine.run(component, entry, inputs)
            assert word in str(caught.value)


def test_damaged_program_unknown_backend_and_missing_package(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = onnx_bundle.make_bundle(tmp_path / "damaged")
    dit = path / "dit.onnx"
    dit.write_bytes(b"\0" * dit.stat().st_size)
    with pytest.raises(BundleError, match=r"dit\.onnx: sha256"):
        Pipeline.open(path)
    manifest = json.loads((path / MANIFEST_NAME).read_text())
    manifest["components"]["dit"]["sha256"] = record_file(dit).sha256
    (path / MANIFEST_NAME).write_text(json.dumps(manifest))
    with Pipeline.open(path) as damaged, pytest.raises(EngineError, match=r"dit\.onnx"):
        damaged.generate(GenerationRequest("rain"))

    other = Bundle(bundle.folder, bundle.manifest.model_copy(update={"backend": "coreml"}))
    with pytest.raises(EngineError, match="known: " + ", ".join(BACKENDS)):
        open_engine(other)
    with pytest.raises(InputError, match="--threads 0"):
        open_engine(bundle, EngineOptions(threads=0))

    absent = replace(
        ONNX, engine="arcmobile.absent:X", distribution="absent-runtime", extra="absent"
    )
    monkeypatch.setitem(cast(dict[str, BackendSpec], BACKENDS), "onnx", absent)
    with pytest.raises(EngineError, match=r"absent-runtime.*pip install -e '.\[absent\]'"):
        open_engine(bundle)


def test_native_log_catches_what_c_writes(capfd: pytest.CaptureFixture[str]) -> None:
    with native_log() as last_line:
        assert last_line() == ""
        os.write(2, b"[threadpool.cpp:66] Resetting\nINFO: Created a delegate\n")
        assert last_line() == "Created a delegate"
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
