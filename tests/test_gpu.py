"""What the GPU paths compute, held equal on a CPU to what they stand for, and what a run leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from arcmobile.bench.gpu import (
    CELLS,
    RESULT,
    Array,
    Dtype,
    EngineFacts,
    GpuProtocol,
    measure_gpu,
    snr_db,
)
from arcmobile.bench.report import render
from arcmobile.bench.result import BenchResult, Environment, read_results
from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.gpu.engine import (
    DECODER_FORMS,
    FORM,
    GpuGeneration,
    GpuNetworks,
    built_decoder,
)
from arcmobile.export.gpu.model import GpuModel, checkpoint_model, find_device, random_model
from arcmobile.export.model.primitives import attention, fused_attention
from arcmobile.export.parity.reference import open_reference
from arcmobile.posttrain.flow.batches import GeneratorBatch
from arcmobile.posttrain.flow.generator import base_generator
from arcmobile.posttrain.gpu_run.clock_training import Clock, TrainingFailed, falling, started
from arcmobile.posttrain.gpu_run.resident_data import ResidentLatents
from arcmobile.posttrain.gpu_run.results import (
    ARC,
    FLOW,
    MOST_BYTES,
    RunRecord,
    check_limits,
    collect,
)
from arcmobile.posttrain.gpu_run.synthesis import (
    CAPTIONS,
    SynthesisJob,
    encoded,
    spectral_code,
    synthesize_shard,
)
from arcmobile.posttrain.latents.cache import CACHED_SAMPLES
from arcmobile.posttrain.sounds import synthesize
from arcmobile.posttrain.training.optimizers import GroupedMuon, step_down
from arcmobile.runtime.errors import ArcMobileError, CheckpointError, EngineError
from arcmobile.runtime.generate import GenerationRequest, Pipeline
from arcmobile.runtime.noise import PhiloxNoise

EMBEDDED = Path(__file__).parent.parent / "checkpoints/embedded"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny() -> GpuModel:
    return random_model("tiny", 0, CPU)


@pytest.fixture(scope="module")
def embedded() -> CheckpointFolder:
    return CheckpointFolder.open(EMBEDDED)


# --- networks ------------------------------------------------------------------------------------


def test_fused_attention_is_products_and_softmax() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, length, 8) for length in (5, 7, 7))
    bias = torch.randn(2, 3, 5, 7)
    plain = attention(
        query.flatten(0, 1), key.flatten(0, 1).mT, value.flatten(0, 1), bias.flatten(0, 1)
    )
    expected = plain.view(2, 3, 5, 8).transpose(1, 2).flatten(2)
    torch.testing.assert_close(fused_attention(query, key, value, bias), expected)


def test_the_gpu_engine_makes_the_sound_of_the_reference() -> None:
    prompt, steps, seed = "telephone ringing", 2, 7
    model = checkpoint_model(EMBEDDED, CPU)
    generation = GpuGeneration(GpuNetworks(model, torch.float32), steps=steps)
    noise, shape = PhiloxNoise(seed), (1, *model.latent_shape)
    generation.noise[0] = torch.from_numpy(noise.initial(shape))
    generation.noise[1] = torch.from_numpy(noise.step(1, shape))
    timing = generation.run([prompt], model.seconds)
    with Pipeline(*open_reference(EMBEDDED)) as pipeline:
        request = GenerationRequest(prompt, seconds=model.seconds, steps=steps, seed=seed)
        expected = pipeline.generate(request).audio
    np.testing.assert_allclose(generation.audio[0].numpy(), expected, atol=1e-4)
    assert sum(timing.stages.values()) <= timing.total


def test_prompts_of_a_batch_do_not_touch_each_other(tiny: GpuModel) -> None:
    networks = GpuNetworks(tiny, torch.float32)
    alone, together = (GpuGeneration(networks, steps=1, batch=batch) for batch in (1, 2))
    for generation in (alone, together):
        generation.draw_noise(3)
    alone.run(["rain"], 1.0)
    together.run(["rain", "a church bell"], 1.0)
    torch.testing.assert_close(together.audio[:1], alone.audio, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together.audio[1], together.audio[0])


def test_all_forms_of_the_decoder_decode_the_same(tiny: GpuModel) -> None:
    latent = torch.randn(2, *tiny.latent_shape)[..., :8]
    with torch.no_grad():
        expected = built_decoder(tiny, torch.float32, FORM)(latent)
        for form in DECODER_FORMS:
            made = built_decoder(tiny, torch.float32, form)(latent)
            torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-4, msg=form)


def test_half_precision_stays_near(tiny: GpuModel) -> None:
    made = []
    for dtype in (torch.float32, torch.bfloat16):
        generation = GpuGeneration(GpuNetworks(tiny, dtype), steps=1)
        generation.draw_noise(1)
        generation.run(["rain"], 1.0)
        made.append(generation.audio[0].numpy())
    ratio = snr_db(made[1], made[0])
    assert ratio is not None
    assert ratio > 25


@pytest.mark.parametrize("form", DECODER_FORMS)
def test_no_step_mixes_devices_or_dtypes(tiny: GpuModel, form: str) -> None:
    """On a GPU that is not there: tensors without values know their device and dtype."""
    networks = GpuNetworks(tiny, torch.float16, decoder_form=form)
    mode = FakeTensorMode()
    for network in (networks.conditioner, networks.dit, networks.decoder):
        onto_pretended_gpu(network, mode)
    batch, levels = 2, [1.0, 0.7, 0.0]
    with mode, torch.no_grad():
        cuda = torch.device("cuda")
        ids = torch.zeros(batch, tiny.tokens, dtype=torch.int64, device=cuda)
        ones = torch.ones(batch, tiny.tokens, device=cuda)
        told = networks.condition(ids, ones, ones[:, 0])
        noise = torch.zeros(2, batch, *tiny.latent_shape, device=cuda)
        latent = networks.sample(noise, noise[:, :, 0, 0], levels, *told)
        audio = networks.decode(latent)
    assert {(t.device.type, t.dtype) for t in told} == {("cuda", torch.float16)}
    assert {(t.device.type, t.dtype) for t in (latent, audio)} == {("cuda", torch.float32)}


def onto_pretended_gpu(network: nn.Module, mode: FakeTensorMode) -> None:
    for module in network.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    with mode:
                        moved = torch.empty_strided(
                            tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda"
                        )
                        kept = nn.Parameter(moved, False) if name in module._parameters else moved
                    tensors[name] = kept


def test_devices_that_are_not_there() -> None:
    for name in ("cuda", "tpu", "mps"):
        with pytest.raises(EngineError, match=f"--device {name}: .*; use"):
            find_device(name)


# --- benchmark -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class FixedTiming:
    total: float
    stages: dict[str, float]


@dataclass
class FixedGeneration:
    """Takes as long as it says, and computes nothing."""

    seconds: float
    graphs: bool = True
    fallback: str = ""

    def draw_noise(self, seed: int) -> None:
        pass

    def run(self, prompts: Sequence[str], seconds: float) -> FixedTiming:
        return FixedTiming(self.seconds, {"dit": 0.6 * self.seconds, "decoder": 0.4 * self.seconds})

    def results(self) -> tuple[Array, Array]:
        sound = np.ones((2, 8), np.float32)
        return sound, sound * np.float32(1 + self.seconds)


class FixedEngine:
    """An engine whose compiled networks are twice as fast, and whose bfloat16 fails."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def facts(self) -> EngineFacts:
        place = Environment(target="cuda", device="A card", cpu="a CPU", architecture="x", cores=1)
        return EngineFacts("a model", "0" * 64, 11.9, 256, place, {"driver": "1"})

    def prepare(self, dtype: Dtype, *, compiled: bool) -> str:
        if dtype == "bfloat16":
            raise RuntimeError("CUDA error: something\nwith many lines")
        self.seconds = {"float32": 0.0, "float16": 0.04}[dtype] / (2 if compiled else 1)
        return "channels last"

    def weights(self) -> Mapping[str, int]:
        return {"dit": 10, "decoder": 5}

    def generation(self, steps: int, batch: int) -> FixedGeneration:
        return FixedGeneration(self.seconds * batch * (1 + steps) / 9)

    def peak_bytes(self) -> int:
        return 1000


def test_every_cell_is_a_result_and_failures_are_named(tmp_path: Path) -> None:
    lines: list[str] = []
    peak = {"copy, GB/s": 3000.0}
    run = measure_gpu(
        FixedEngine(), GpuProtocol("rain"), tmp_path, report=lines.append, ceilings=lambda: peak
    )
    assert len(run.results) == 12  # float16, compiled or not, two batches, three steps
    assert len(run.left_out) == 3
    assert all("bfloat16" in line and "\n" not in line for line in run.left_out)
    assert read_results(tmp_path / CELLS) == run.results
    fastest = run.fastest
    assert fastest is not None
    assert BenchResult.read(tmp_path / RESULT) == fastest
    assert fastest.bundle.recipe == "float16, compiled, CUDA graphs"
    (measurement,) = fastest.measurements
    assert measurement.total.median == pytest.approx(0.02)
    assert (measurement.repeats, measurement.stages["dit"].calls) == (50, 8)
    assert fastest.environment.ceilings == peak
    assert set(fastest.bundle.snr_db) == {"decoder"}  # the latent is the reference's
    page = render([fastest])
    for words in ("A card", "networks loaded before", "copy, GB/s: 3000"):
        assert words in page


def test_what_does_not_fit_into_the_budget_is_left_out(tmp_path: Path) -> None:
    run = measure_gpu(FixedEngine(), GpuProtocol("rain", seconds=30.0), tmp_path)
    assert {result.request.batch for result in run.results} == {1, 8}
    assert not any("compiled" in result.bundle.recipe for result in run.results)
    assert any("compiled" in line and "left out" in line for line in run.left_out)


# --- steps of a training -------------------------------------------------------------------------


def test_grouped_muon_moves_as_pytorchs_does() -> None:
    torch.manual_seed(0)
    shapes = [(16, 16), (32, 16), (16, 32), (16, 16), (32, 16)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(one.detach().clone()) for one in ours]
    grouped = GroupedMuon(ours, 0.01)
    plain = torch.optim.Muon(theirs, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    for optimizer in (grouped, plain):
        optimizer.param_groups[0]["lr"] = 0.02
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        grouped.step()
        plain.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)  # bfloat16 inside
        torch.testing.assert_close(
            grouped.state[one]["momentum_buffer"], plain.state[other]["momentum_buffer"]
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_moves_nothing(value: float) -> None:
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.tensor([1.0, value, 1.0])
    step_down((torch.optim.Adam([weight]),), [weight], 1.0)
    assert weight.tolist() == [1, 1, 1]


# --- the run -------------------------------------------------------------------------------------


def test_latents_of_sounds_and_silence_are_the_codes() -> None:
    code, sound = spectral_code(), torch.from_numpy(synthesize(5).audio)
    padded = nn.functional.pad(sound, (0, CACHED_SAMPLES - sound.shape[1]))
    expected = code.encode(padded[None])[0]
    torch.testing.assert_close(encoded(code, sound), expected, atol=1e-5, rtol=1e-4)


def test_batches_are_sounds_with_captions_of_their_own(
    tmp_path: Path, embedded: CheckpointFolder
) -> None:
    from arcmobile.export.manifest import folder_tokenizer

    job = SynthesisJob(EMBEDDED, tmp_path, count=3, shard=2)
    tokenizer = folder_tokenizer(embedded)
    data = ResidentLatents(tmp_path, 3, CPU)
    assert data.load_new() == 0
    for shard, there in ((0, 2), (1, 3)):
        synthesize_shard(job, shard, spectral_code(), tokenizer)
        assert data.load_new() == there
    batch = data.batch(64, torch.Generator().manual_seed(0))
    latents = {tuple(row.tolist()) for row in batch.latents[:, :2].flatten(1)}
    assert len(latents) == 3
    wordings = {tuple(row.tolist()) for row in batch.ids}
    assert 3 < len(wordings) <= 3 * CAPTIONS
    own = tokenizer(synthesize(job.first_seed).caption)
    match = (batch.ids == torch.from_numpy(own.input_ids)).all(1)
    assert match.any()
    assert (batch.mask[match] == torch.from_numpy(own.attention_mask)).all()
    assert set(batch.seconds[match].tolist()) == {np.float32(synthesize(job.first_seed).seconds)}


def test_rates_follow_the_clock() -> None:
    clock = Clock(end=1.0, begin=0.0)
    rate = falling(replace_progress(clock, 0.75), last=0.2, level=0.5, warmup=10)
    assert rate(0) == pytest.approx(0.1 * 0.6)
    assert rate(100) == pytest.approx(0.6)
    assert falling(replace_progress(clock, 1.0), last=0.2)(5) == pytest.approx(0.2)


def replace_progress(clock: Clock, progress: float) -> Clock:
    class Stopped(Clock):
        @property
        def progress(self) -> float:
            return progress

    return Stopped(clock.end, clock.begin)


class Step:
    """A trainer that fails as it is told."""

    def __init__(self, fails: Callable[[int], Exception | None]):
        self.step, self.device, self._fails = 0, CPU, fails

    def train_step(self, batch: GeneratorBatch) -> dict[str, torch.Tensor]:
        if error := self._fails(len(batch.latents)):
            raise error
        return {"flow": torch.tensor(1.0)}


class Few(ResidentLatents):
    def batch(self, size: int, random: torch.Generator) -> GeneratorBatch:
        return GeneratorBatch(*(torch.zeros(size) for _ in range(4)))


def test_a_training_begins_smaller_or_without_a_compiler(
    tmp_path: Path, embedded: CheckpointFolder
) -> None:
    data, record = Few(tmp_path, 1, CPU), RunRecord(tmp_path, embedded)

    def make(compiled: bool) -> Step:
        def fails(size: int) -> Exception | None:
            if compiled:
                return AssertionError("no compiler\nhere")
            return torch.OutOfMemoryError("large") if size > 16 else None

        return Step(fails)

    _, batch = started(make, data, 64, record, compiled=True, seed=0)
    assert batch == 16
    assert record.content["notes"][0] == "not compiled: AssertionError: no compiler"
    with pytest.raises(TrainingFailed, match="no batch fits"):
        started(
            lambda compiled: Step(lambda size: torch.OutOfMemoryError("x")),
            data, 64, record, compiled=False, seed=0,
        )  # fmt: skip


def test_what_a_run_leaves_becomes_checkpoints(tmp_path: Path, embedded: CheckpointFolder) -> None:
    out, record = tmp_path / "out", RunRecord(tmp_path / "out", embedded)
    generator = base_generator(embedded)
    values = {name: 0.5 * value for name, value in generator.trained_parameters().items()}
    record.set(size="tiny")
    record.write_generator(FLOW, generator.checkpoint_tensors())
    record.write_generator(ARC, generator.checkpoint_tensors(values), candidate="arc, step 1")
    assert check_limits(out) == []
    arc, flow = (CheckpointFolder.open(path) for path in collect(out, tmp_path / "made", EMBEDDED))
    name = "model.model.transformer.layers.0.ff.ff.2.weight"
    before = embedded.source.read(name).float()
    torch.testing.assert_close(flow.source.read(name).float(), before)
    torch.testing.assert_close(arc.source.read(name).float(), 0.5 * before, atol=1e-3, rtol=1e-3)
    kept = "pretransform.model.decoder.layers.0.bias"
    assert torch.equal(arc.source.read(kept), embedded.source.read(kept))
    assert flow.config.model.diffusion.diffusion_objective == "rectified_flow"
    assert json.loads((out / "run.json").read_text())["base"] == embedded.digest()


def test_results_that_cannot_come_back(tmp_path: Path, embedded: CheckpointFolder) -> None:
    for number in range(9):
        (tmp_path / f"{number}").touch()
    with (tmp_path / "0").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    assert len(check_limits(tmp_path)) == 2
    with pytest.raises(ArcMobileError, match="nothing to collect"):
        collect(tmp_path, tmp_path / "made", EMBEDDED)
    broken = {"x": torch.tensor([1e9])}
    with pytest.raises(CheckpointError, match="not finite as float16"):
        RunRecord(tmp_path, embedded).write_generator(ARC, (broken, {}))
    assert not (tmp_path / ARC).exists()
