"""Checkpoint to sound through every recipe and backend, and exports that must fail cleanly."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from arcmobile.cli.main import app
from arcmobile.export import pipeline as export_pipeline
from arcmobile.export.backends import get_backend
from arcmobile.export.fidelity import snr_db
from arcmobile.export.parity.reference import open_reference
from arcmobile.export.pipeline import ExportRequest, export_bundle
from arcmobile.quant.precision import Precision
from arcmobile.quant.recipes import RECIPES
from arcmobile.runtime.backends import BACKENDS
from arcmobile.runtime.bundle import MANIFEST_NAME, Bundle
from arcmobile.runtime.errors import CheckpointError, ExportError, InputError, OutputError
from arcmobile.runtime.generate import GenerationRequest, GenerationResult, Pipeline

# Least SNR in dB of the whole generation against the float32 reference engine, by the lowest
# precision of a recipe. Errors of eight steps add up, and a network this small averages little out.
WHOLE_CHAIN_SNR_DB = {
    Precision.FP32: 70.0,
    Precision.FP16: 40.0,
    Precision.INT8_WEIGHT_ONLY: 20.0,
    Precision.INT8_DYNAMIC: 12.0,
}


def least_snr(recipe: str) -> float:
    return min(map(WHOLE_CHAIN_SNR_DB.__getitem__, RECIPES[recipe].precisions.values()))


REQUEST = GenerationRequest(prompt="soft rain on a tin roof", seed=11)


@pytest.fixture(scope="session")
def reference(micro_checkpoint: Path) -> GenerationResult:
    with Pipeline(*open_reference(micro_checkpoint)) as pipeline:
        return pipeline.generate(REQUEST)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_and_backend_makes_the_reference_sound(
    micro_checkpoint: Path,
    reference: GenerationResult,
    tmp_path: Path,
    recipe: str,
    backend: str,
) -> None:
    # A window of 40 of 64 frames, so that the decode is really chunked.
    outcome = export_bundle(
        ExportRequest(micro_checkpoint, tmp_path / "bundle", backend, recipe, window=40)
    )
    bundle = Bundle.open(tmp_path / "bundle", verify=True)
    assert bundle.manifest.recipe == recipe
    assert bundle.manifest.backend == backend
    assert {"arcmobile", "torch"} <= set(bundle.manifest.provenance.tools)
    counted = [e.work for c in bundle.manifest.components.values() for e in c.entries]
    assert all(work is not None and sum(work.macs.values()) > 0 for work in counted)
    in_int8 = any(work is not None and "int8" in work.macs for work in counted)
    assert in_int8 == (Precision.INT8_DYNAMIC in RECIPES[recipe].precisions.values())
    with Pipeline.open(bundle) as pipeline:
        result = pipeline.generate(REQUEST)
    assert result.audio.shape == reference.audio.shape
    ratio = snr_db(reference.audio, result.audio)
    assert ratio is None or ratio >= least_snr(recipe)
    if backend == "executorch":
        for component in outcome.components:
            (delegation,) = component.summary.delegation.values()
            assert delegation.delegates == 1
            assert set(delegation.outside) <= {
                "aten.embedding.default",
                "dim_order_ops._to_dim_order_copy.default",
            }


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_lengths_and_the_encoder_share_one_bundle(
    micro_checkpoint: Path, tmp_path: Path, backend: str
) -> None:
    request = ExportRequest(
        micro_checkpoint,
        tmp_path / "bundle",
        backend,
        "int8-dynamic",
        frames=(16, 64),
        window=40,
        encoder=True,
    )
    bundle = export_bundle(request).bundle
    rate = bundle.manifest.audio.sample_rate
    short = 16 * bundle.manifest.audio.samples_per_frame / rate
    init = np.sin(np.linspace(0, 300, 512, dtype=np.float32))
    with (
        Pipeline.open(bundle) as pipeline,
        Pipeline(*open_reference(micro_checkpoint)) as original,
    ):
        quick = pipeline.generate(GenerationRequest(prompt="rain", seconds=short, seed=1))
        assert quick.audio.shape[1] == 128
        variation = GenerationRequest(
            prompt="rain", seed=1, init_audio=np.stack([init, init]), noise_level=0.5
        )
        expected = original.generate(variation)
        found = pipeline.generate(variation)
    ratio = snr_db(expected.audio, found.audio)
    assert ratio is None or ratio >= least_snr("int8-dynamic")


def test_chunked_decode_equals_one_piece(micro_checkpoint: Path, tmp_path: Path) -> None:
    def generate(window: int) -> GenerationResult:
        request = ExportRequest(micro_checkpoint, tmp_path / str(window), "onnx", "fp32")
        request = ExportRequest(**{**vars(request), "window": window})
        with Pipeline.open(export_bundle(request).bundle) as pipeline:
            return pipeline.generate(REQUEST)

    whole, chunked = generate(0), generate(24)
    assert len(whole.timings.decode_windows) == 1
    assert len(chunked.timings.decode_windows) > 1
    assert np.max(np.abs(whole.audio - chunked.audio)) <= 1e-4


def test_a_cached_program_is_used_again(micro_checkpoint: Path, tmp_path: Path) -> None:
    def export(name: str, recipe: str) -> list[bool]:
        request = ExportRequest(
            micro_checkpoint, tmp_path / name, "onnx", recipe, cache=tmp_path / "cache"
        )
        return [component.cached for component in export_bundle(request).components]

    assert not any(export("first", "fp32"))
    assert all(export("second", "fp32"))
    assert not any(export("third", "fp16"))
    first, second = (Bundle.open(tmp_path / name).manifest for name in ("first", "second"))
    assert {n: c.sha256 for n, c in first.components.items()} == {
        n: c.sha256 for n, c in second.components.items()
    }


def test_a_flow_model_is_said_to_be_one(micro_checkpoint: Path, tmp_path: Path) -> None:
    flow, name = tmp_path / "flow", "[/red] x"  # which rich would take for markup
    shutil.copytree(micro_checkpoint, flow)
    config = flow / "model_config.json"
    config.write_text(config.read_text().replace("rf_denoiser", "rectified_flow"))
    words = ["export", str(flow), "--backend", "onnx", "--recipe", "fp32", "--model-id", name]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "bundle")])
    assert done.exit_code == 0, done.output
    assert f"{name} · onnx · fp32" in done.stdout
    assert f"{name} is a flow model (rectified_flow): 8 steps without guidance" in done.stderr
    assert Bundle.open(tmp_path / "bundle").manifest.objective == "rectified_flow"


def nothing_left(tmp_path: Path) -> bool:
    return not [path for path in tmp_path.iterdir() if path.name.lstrip(".").startswith("bundle")]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"backend": "tflite"}, InputError, "executorch, onnx, litert"),
        ({"recipe": "int3"}, InputError, "int8-dynamic"),
        ({"frames": (65,)}, InputError, "1 to 64"),
        ({"window": 65}, InputError, "--window 65"),
        ({"threads": 1025}, InputError, "--threads 1025"),
        ({"model_id": "two\nlines"}, InputError, "--model-id 'two"),
        ({"model_id": ""}, InputError, "--model-id ''"),
        ({"cache": Path("/dev/null/cache")}, OutputError, "--cache /dev/null/cache"),
        ({"checkpoint": Path("nowhere")}, CheckpointError, "nowhere"),
        ({"text_encoder": Path("nowhere")}, CheckpointError, "nowhere"),
    ],
)
def test_a_request_that_cannot_work_ends_before_anything_is_written(
    micro_checkpoint: Path,
    tmp_path: Path,
    change: dict[str, object],
    error: type[Exception],
    words: str,
) -> None:
    settings = {"checkpoint": micro_checkpoint, "destination": tmp_path / "bundle"}
    settings |= {"backend": "onnx", "recipe": "fp32", **change}
    with pytest.raises(error, match=words):
        export_bundle(ExportRequest(**settings))  # type: ignore[arg-type]
    assert nothing_left(tmp_path)


def test_a_program_that_misses_its_gate_stops_the_export(
    micro_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(export_pipeline.MINIMUM_SNR_DB, Precision.INT8_DYNAMIC, 99.0)  # type: ignore[arg-type]
    with pytest.raises(ExportError, match=r"SNR .* at least 99 dB"):
        export_bundle(ExportRequest(micro_checkpoint, tmp_path / "bundle", "onnx", "int8-dynamic"))
    assert nothing_left(tmp_path)


def interrupt(line: str) -> None:
    if line.startswith("dit"):
        raise KeyboardInterrupt


def disk_full(line: str) -> None:
    if line.startswith("dit"):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("fault", "error"), [(interrupt, KeyboardInterrupt), (disk_full, OutputError)]
)
def test_an_interrupted_export_leaves_no_half_bundle(
    micro_checkpoint: Path, tmp_path: Path, fault: Callable[[str], None], error: type[BaseException]
) -> None:
    request = ExportRequest(micro_checkpoint, tmp_path / "bundle", "onnx", "fp32")
    with pytest.raises(error):
        export_bundle(request, fault)
    assert nothing_left(tmp_path)


def test_an_existing_bundle_survives_a_failed_replacement(
    micro_checkpoint: Path, tmp_path: Path
) -> None:
    request = ExportRequest(micro_checkpoint, tmp_path / "bundle", "onnx", "fp32", overwrite=True)
    export_bundle(request)
    before = (tmp_path / "bundle" / MANIFEST_NAME).read_bytes()
    with pytest.raises(KeyboardInterrupt):
        export_bundle(request, interrupt)
    assert (tmp_path / "bundle" / MANIFEST_NAME).read_bytes() == before


def test_an_exporter_that_the_platform_lacks_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    module = BACKENDS["litert"].exporter.partition(":")[0]
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(ExportError, match=r"needs litert_torch.*pip install -e '.\[export\]'"):
        get_backend("litert")
    lines = ["litert-torch==0.10.*; python_version < '3' and extra == 'export'"]
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    with pytest.raises(ExportError, match=r"there is none for Python .*executorch, onnx"):
        get_backend("litert")
