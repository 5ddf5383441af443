"""ARC post-training: losses by hand, what a step does, resuming, sampling, and what is written."""

from __future__ import annotations

import copy
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from arcmobile.cli.main import app
from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
from arcmobile.export.manifest import SCHEDULE, folder_tokenizer
from arcmobile.posttrain.arc.discriminator import LatentDiscriminator
from arcmobile.posttrain.arc.losses import (
    contrastive_loss,
    mismatched_prompts,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
    smoothness_penalty,
)
from arcmobile.posttrain.arc.noise_levels import discriminator_times, generator_times
from arcmobile.posttrain.arc.train import train
from arcmobile.posttrain.arc.trainer import ArcTrainer
from arcmobile.posttrain.flow.batches import Batches, GeneratorBatch, cached_batches
from arcmobile.posttrain.flow.generator import Conditioning, TrainableGenerator, base_generator
from arcmobile.posttrain.flow.interpolation import noised, one_step_estimate
from arcmobile.posttrain.flow.sampling import euler_sample, pingpong_sample
from arcmobile.posttrain.latents.cache import LatentBatch
from arcmobile.posttrain.training import resume
from arcmobile.posttrain.training.checkpoint_folder import write_checkpoint
from arcmobile.posttrain.training.loop import Intervals
from arcmobile.posttrain.training.settings import ArcSettings
from arcmobile.runtime.errors import CheckpointError, InputError, TrainingError
from arcmobile.runtime.sampler import pingpong
from arcmobile.runtime.schedule import pingpong_schedule

CAPTIONS = ("a low hum", "rain on a roof", "two claps", "a bright bell")
CHANNELS, FRAMES = 8, 16


class FourSounds:
    """Latents that are constant over time: each caption has a pattern of its own, plus noise."""

    patterns = torch.linspace(-1.5, 1.5, len(CAPTIONS)).view(-1, 1) * torch.tensor(
        [1.0, -1.0] * (CHANNELS // 2)
    )

    def batch(self, rng: np.random.Generator, size: int) -> LatentBatch:
        which = rng.integers(len(CAPTIONS), size=size)
        noise = torch.from_numpy(rng.standard_normal((size, CHANNELS, FRAMES), np.float32))
        latents = self.patterns[which].unsqueeze(-1) + 0.2 * noise
        return LatentBatch(latents, [CAPTIONS[i] for i in which], torch.full((size,), 2.0))


@pytest.fixture(scope="module")
def base(micro_checkpoint: Path) -> CheckpointFolder:
    return CheckpointFolder.open(micro_checkpoint)


@pytest.fixture
def generator(base: CheckpointFolder) -> TrainableGenerator:
    return base_generator(base)


def batches(base: CheckpointFolder, size: int = 8) -> Batches:
    return cached_batches(FourSounds(), folder_tokenizer(base), seed=5, size=size)


def conditioning_of(generator: TrainableGenerator, batch: GeneratorBatch) -> Conditioning:
    return generator.condition(batch.ids, batch.mask, batch.seconds)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


# --- losses --------------------------------------------------------------------------------------


def test_relativistic_losses_by_hand() -> None:
    real = torch.tensor([[2.0], [0.0]], requires_grad=True)
    fake = torch.tensor([[0.5], [1.0]], requires_grad=True)
    generators = relativistic_generator_loss(real, fake)
    judges = relativistic_discriminator_loss(real, fake)
    assert generators.item() == pytest.approx((softplus(1.5) + softplus(-1.0)) / 2)
    assert judges.item() == pytest.approx((softplus(-1.5) + softplus(1.0)) / 2)
    # The slope of softplus is the logistic function, halved by the mean over two pairs.
    slope_fake = torch.autograd.grad(generators, fake)[0]
    torch.testing.assert_close(slope_fake, -torch.sigmoid(torch.tensor([[1.5], [-1.0]])) / 2)
    slope_real, slope_fake = torch.autograd.grad(judges, (real, fake))
    torch.testing.assert_close(slope_real, -torch.sigmoid(torch.tensor([[-1.5], [1.0]])) / 2)
    torch.testing.assert_close(slope_fake, -slope_real)


def test_contrastive_loss_by_hand() -> None:
    right = torch.tensor([[1.0, 0.0], [5.0, 5.0]], requires_grad=True)
    wrong = torch.tensor([[0.0, 2.0], [9.0, 9.0]], requires_grad=True)
    counted = torch.tensor([True, False])
    loss = contrastive_loss(right, wrong, counted)
    assert loss.item() == pytest.approx((softplus(-1.0) + softplus(2.0)) / 2)
    slope_right, slope_wrong = torch.autograd.grad(loss, (right, wrong))
    assert (slope_right[0] < 0).all()
    assert (slope_wrong[0] > 0).all()
    assert not slope_right[1].any()
    assert contrastive_loss(right, wrong, torch.zeros(2, dtype=torch.bool)).item() == 0


def test_penalty_is_the_squared_slope() -> None:
    steps = 0.01 * torch.randn(20_000, 3, generator=random())
    slope = torch.tensor([3.0, 0.0, 4.0])
    penalty = smoothness_penalty(torch.zeros(20_000), steps @ slope, 0.01)
    assert float(penalty) == pytest.approx(25, rel=0.05)


def test_noise_and_estimate_by_hand() -> None:
    clean, noise = torch.full((1, 1, 2), 4.0), torch.full((1, 1, 2), -2.0)
    time = torch.tensor([0.25])
    latent = noised(clean, noise, time)
    assert latent.flatten().tolist() == [2.5, 2.5]
    torch.testing.assert_close(one_step_estimate(latent, noise - clean, time), clean)


def test_times_follow_their_distributions() -> None:
    logsnr = -torch.logit(generator_times(20_000, random()))
    assert float(logsnr.min()) == pytest.approx(SCHEDULE.logsnr_start, abs=0.01)
    assert float(logsnr.max()) == pytest.approx(SCHEDULE.logsnr_end, abs=0.01)
    assert float(logsnr.mean()) == pytest.approx(-2, abs=0.05)
    chosen = settings(renoise_mean=-0.5, renoise_std=0.8)
    logit = torch.logit(discriminator_times(20_000, chosen, random()))
    assert float(logit.mean()) == pytest.approx(-0.5, abs=0.03)
    assert float(logit.std()) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("captions", ["abcd", "aabb", "aabc", "abcabcab", "aaabcd", "ab"])
def test_no_latent_keeps_its_caption(captions: str) -> None:
    ids = torch.tensor([[ord(letter), 1] for letter in captions])
    orders = set()
    for seed in range(20):
        order, differs = mismatched_prompts(ids, random(seed))
        assert sorted(order.tolist()) == list(range(len(captions)))
        assert (ids[order] != ids).any(1).all()
        assert differs.all()
        orders.add(tuple(order.tolist()))
    assert len(captions) < 4 or len(orders) > 1


def test_a_caption_in_the_majority_is_left_out_where_it_meets_itself() -> None:
    ids = torch.tensor([[7], [7], [7], [8]])
    order, differs = mismatched_prompts(ids, random())
    assert differs.tolist() == (ids[order] != ids).any(1).tolist()
    assert differs.sum() == 2
    assert not mismatched_prompts(ids[:1], random())[1].any()


# --- networks ------------------------------------------------------------------------------------


def test_discriminator_ends_after_its_blocks_and_follows_the_prompt(tmp_path: Path) -> None:
    from arcmobile.export.checkpoint.presets import find_preset, init_checkpoint

    init_checkpoint(replace(find_preset("tiny"), depth=4), 1, tmp_path / "tiny")
    folder = CheckpointFolder.open(tmp_path / "tiny")
    generator = base_generator(folder)
    judge = LatentDiscriminator(generator, depth=0.75, head_layers=2, seed=0)
    assert len(judge.backbone.dit.layers) == len(judge.backbone.conditioner.cross_layers) == 3
    assert len(generator.dit.layers) == 4
    ids = torch.tensor([[5, 1] + [0] * 62, [9, 1] + [0] * 62])
    prompts = ids, (ids > 0).float(), torch.full((2,), 1.0)
    noisy = torch.randn(2, 16, 20, generator=random()), torch.tensor([0.3, 0.7])
    features = generator.hidden_states(*noisy, generator.condition(*prompts))[2]
    kept = judge.backbone.hidden_states(*noisy, judge.condition(*prompts))
    torch.testing.assert_close(kept[-1], features)
    right = judge(*noisy, judge.condition(*prompts))
    assert right.shape == (2, 5)
    wrong = judge(*noisy, judge.condition(*(part.flip(0) for part in prompts)))
    assert not torch.allclose(right, wrong)


def settings(**changes: float | bool) -> ArcSettings:
    quick = {"batch": 8, "warmup": 1, "generator_from": 0, "head_layers": 2}
    return replace(ArcSettings(), **(quick | changes))


def test_a_step_moves_what_it_should(base: CheckpointFolder) -> None:
    trainer = ArcTrainer(base_generator(base), settings(generator_from=1))
    before = copy.deepcopy(trainer.generator.state_dict())
    judged = copy.deepcopy(trainer.discriminator.state_dict())
    first = trainer.train_step(batches(base)(0))
    assert first["discriminator"] == pytest.approx(math.log(2), abs=0.2)
    assert "generator" not in first

    def moved(then: dict[str, Tensor], now: dict[str, Tensor]) -> set[str]:
        return {name for name, value in now.items() if not torch.equal(value, then[name])}

    assert not moved(before, trainer.generator.state_dict())
    changed = moved(judged, trainer.discriminator.state_dict())
    assert any(name.startswith("head.") for name in changed)
    assert any(name.startswith("backbone.dit.") for name in changed)
    assert not any("conditioner.text." in name for name in changed)

    judged = copy.deepcopy(trainer.discriminator.state_dict())
    second = trainer.train_step(batches(base)(1))
    assert {"generator", "flow", "gap", "contrastive", "generator_gradient"} <= second.keys()
    changed = moved(before, trainer.generator.state_dict())
    assert any(name.startswith("dit.") for name in changed)
    assert any(name.startswith("conditioner.to_cross") for name in changed)
    assert not any(name.startswith("conditioner.text.") for name in changed)
    assert moved(judged, trainer.discriminator.state_dict())


def test_the_discriminator_rests_between_its_steps(base: CheckpointFolder) -> None:
    trainer = ArcTrainer(base_generator(base), settings(discriminator_every=2, bfloat16=True))
    reports = [trainer.train_step(batches(base)(step)) for step in range(3)]
    assert ["discriminator" in report for report in reports] == [True, False, True]
    assert all(math.isfinite(value) for report in reports for value in report.values())


def test_the_discriminator_learns_to_tell_apart(base: CheckpointFolder) -> None:
    """Against a generator that stands still: a random one, whose guesses are plainly wrong."""
    chosen = settings(generator_from=1000, discriminator_rate=1e-3)
    trainer = ArcTrainer(base_generator(base), chosen)
    draw = batches(base)
    reports = [trainer.train_step(draw(step)) for step in range(60)]
    for name, least in (("discriminator_accuracy", 0.9), ("gap", 1.0), ("prompt_accuracy", 0.8)):
        assert np.mean([report[name] for report in reports[-10:]]) > least, name


def test_the_generator_moves_toward_the_sounds(base: CheckpointFolder) -> None:
    """One-step guesses out of noise come nearer to the sounds' patterns, by adversary alone."""
    network, draw = base_generator(base), batches(base)
    judged = draw(10_000)
    noise = torch.randn(judged.latents.shape, generator=random(3))

    @torch.no_grad()
    def distance() -> float:
        time = torch.ones(len(noise))
        velocity = network.velocity(noise, time, conditioning_of(network, judged))
        means = one_step_estimate(noise, velocity, time).mean(-1) - judged.latents.mean(-1)
        return float(means.square().mean())

    start = distance()
    rates = {"generator_rate": 5e-4, "discriminator_rate": 1e-3, "generator_from": 20}
    trainer = ArcTrainer(network, settings(**rates))
    for step in range(70):
        trainer.train_step(draw(step))
    assert distance() < 0.6 * start


def test_resuming_is_exact(base: CheckpointFolder) -> None:
    draw, chosen = batches(base, 4), settings(penalty_every=2)
    straight = ArcTrainer(base_generator(base), chosen)
    for step in range(4):
        expected = straight.train_step(draw(step))
    first = ArcTrainer(base_generator(base), chosen)
    for step in range(2):
        first.train_step(draw(step))
    tensors, header = first.state()
    second = ArcTrainer(base_generator(base), chosen)
    second.restore({name: value.clone() for name, value in tensors.items()}, header)
    for step in range(2, 4):
        report = second.train_step(draw(step))
    # Sums depend on where arrays lie in memory, in their last bit.
    assert {k: float(v) for k, v in report.items()} == pytest.approx(
        {k: float(v) for k, v in expected.items()}, rel=1e-5
    )
    for name, value in second.averaged.items():
        assert torch.equal(value, straight.averaged[name])


# --- sampling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_sampling_is_the_runtimes(
    base: CheckpointFolder, generator: TrainableGenerator, steps: int
) -> None:
    conditioning = conditioning_of(generator, batches(base, 1)(0))
    shape = (1, CHANNELS, FRAMES)
    noise = torch.randn(steps, *shape, generator=random())

    def velocity(x: np.ndarray, t: np.float32) -> np.ndarray:
        with torch.no_grad():
            time = torch.tensor([float(t)])
            return generator.velocity(torch.from_numpy(x), time, conditioning).numpy()

    times = pingpong_schedule(
        steps, logsnr_start=SCHEDULE.logsnr_start, logsnr_end=SCHEDULE.logsnr_end
    )
    draws = noise.numpy()
    listed = SimpleNamespace(
        initial=lambda shape: draws[0], step=lambda index, shape: draws[index], encoder=None
    )
    expected = pingpong(velocity, times, listed, shape)
    made = pingpong_sample(generator, conditioning, noise[0], steps, fresh=list(noise[1:]))
    np.testing.assert_allclose(made.numpy(), expected, rtol=0, atol=1e-5)
    drawn = pingpong_sample(generator, conditioning, noise[0], steps, seed=1)
    assert torch.equal(drawn, pingpong_sample(generator, conditioning, noise[0], steps, seed=1))
    assert torch.equal(
        drawn, pingpong_sample(generator, conditioning, noise[0], steps, seed=2)
    ) == (steps == 1)


def test_euler_by_hand(base: CheckpointFolder, generator: TrainableGenerator) -> None:
    conditioning = conditioning_of(generator, batches(base, 1)(0))
    noise = torch.randn(1, CHANNELS, FRAMES, generator=random())
    with torch.no_grad():
        first = generator.velocity(noise, torch.ones(1), conditioning)
        middle = noise - 0.5 * first
        expected = middle - 0.5 * generator.velocity(middle, torch.full((1,), 0.5), conditioning)
        nothing = replace(conditioning, cross_values=torch.zeros_like(conditioning.cross_values))
        without = generator.velocity(noise, torch.ones(1), nothing)
    torch.testing.assert_close(euler_sample(generator, conditioning, noise, 2), expected)
    guided = euler_sample(generator, conditioning, noise, 1, guidance=3.0)
    torch.testing.assert_close(guided, noise - (without + 3 * (first - without)))


# --- what is written -----------------------------------------------------------------------------


def test_checkpoint_comes_back_as_it_was(
    base: CheckpointFolder, generator: TrainableGenerator, tmp_path: Path
) -> None:
    shutil.copytree(base.path, tmp_path / "base")
    (tmp_path / "base" / "LICENSE.md").write_text("# Terms\n")
    with torch.no_grad():
        generator.dit.project_in.weight.mul_(2)
        generator.conditioner.text.blocks[0].ff.wo.weight.add_(0.25)
    tensors = generator.checkpoint_tensors()
    config = (tmp_path / "base" / "model_config.json").read_text()
    config = config.replace("rf_denoiser", "rectified_flow")
    (tmp_path / "base" / "model_config.json").write_text(config)
    write_checkpoint(tmp_path / "base", tmp_path / "new", *tensors, torch.float32)
    written = CheckpointFolder.open(tmp_path / "new")
    require_sound(written)
    assert written.config == base.config
    assert (tmp_path / "new" / "LICENSE.md").read_text() == "# Terms\n"
    again = base_generator(written)
    for name, value in generator.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    old, new = load_file(base.model_file), load_file(written.model_file)
    assert old.keys() == new.keys()
    untouched = [name for name in old if name.startswith("pretransform.")]
    assert untouched
    assert all(torch.equal(old[name], new[name]) for name in untouched)
    write_checkpoint(base.path, tmp_path / "new", *tensors, torch.float16)
    half = load_file(tmp_path / "new" / "model.safetensors")
    assert {tensor.dtype for tensor in half.values()} == {torch.float16}
    require_sound(CheckpointFolder.open(tmp_path / "new"))


def test_tensors_that_do_not_fit_are_refused(base: CheckpointFolder, tmp_path: Path) -> None:
    name = "model.model.transformer.project_in.weight"
    given = load_file(base.model_file)[name]
    for tensors, complaint in (
        ({"model.model.other": given}, "no tensor"),
        ({name: given[1:]}, "in training"),
        ({name: torch.full_like(given, 1e6)}, "not finite"),
    ):
        with pytest.raises(CheckpointError, match=complaint):
            write_checkpoint(base.path, tmp_path / "new", tensors, {}, torch.float16)
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="is the base"):
        write_checkpoint(base.path, base.path, {}, {}, torch.float32)


def resumed(base: CheckpointFolder, out: Path, changes: dict[str, Any]) -> ArcTrainer:
    def make(settings: ArcSettings) -> ArcTrainer:
        return ArcTrainer(base_generator(base), settings, base=base.digest())

    return resume.resumed(out, ArcSettings, changes, make)


def test_training_writes_and_goes_on(base: CheckpointFolder, tmp_path: Path) -> None:
    intervals = Intervals(report=2, save=2, evaluate=100)
    chosen = settings(batch=4, steps=2)
    trainer = ArcTrainer(base_generator(base), chosen, base=base.digest())
    train(trainer, base, batches(base, 4), tmp_path, seconds=60, intervals=intervals)
    longer = resumed(base, tmp_path, {"steps": 4})
    assert longer.step == 2
    train(longer, base, batches(base, 4), tmp_path, seconds=60, intervals=intervals)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert (tmp_path / "losses.png").stat().st_size > 0
    written = CheckpointFolder.open(tmp_path / "checkpoint")
    require_sound(written)
    assert written.digest() != base.digest()
    with pytest.raises(InputError, match="another checkpoint"):
        resumed(written, tmp_path, {})


@pytest.mark.parametrize("rate", ["generator_rate", "discriminator_rate"])
def test_a_training_that_diverges_leaves_nothing(
    base: CheckpointFolder, tmp_path: Path, rate: str
) -> None:
    trainer = ArcTrainer(base_generator(base), settings(batch=4, steps=1, **{rate: 1e25}))
    with pytest.raises(TrainingError, match="arc diverged at step 1"):
        train(trainer, base, batches(base, 4), tmp_path, seconds=60)
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_command_keeps_the_settings_that_are_not_given(
    base: CheckpointFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = settings(batch=4, steps=2, generator_rate=3e-5, flow=0.25)
    trainer = ArcTrainer(base_generator(base), kept, base=base.digest())
    intervals = Intervals(report=2, save=2, evaluate=100)
    train(trainer, base, batches(base, 4), tmp_path, seconds=60, intervals=intervals)
    seen: list[ArcSettings] = []

    original = resume.resumed

    def noted(*arguments: Any) -> ArcTrainer:
        seen.append(original(*arguments).settings)
        raise InputError("noted")

    monkeypatch.setattr(resume, "resumed", noted)
    given = ["--base", str(base.path), "--latents", str(tmp_path), "--out", str(tmp_path)]
    given = ["posttrain", "arc", *given]
    CliRunner().invoke(app, [*given, "--resume", "--steps", "9", "--rate", "1e-05"])
    assert seen == [replace(kept, steps=9, generator_rate=1e-5)]


def test_the_command_names_what_is_wrong(base: CheckpointFolder, tmp_path: Path) -> None:
    def run(*more: str) -> str:
        given = [
            "posttrain",
            "arc",
            "--base",
            str(base.path),
            "--latents",
            str(tmp_path),
            "--out",
            str(tmp_path),
        ]
        result = CliRunner().invoke(app, [*given, *more])
        assert result.exit_code == 2
        return result.output

    assert "holds no state" in run("--resume")
    assert "no cached latents" in run()
    assert "no such checkpoint" in run("--base", str(tmp_path / "none"))
