"""Judging generated sounds: words read and heard, distances by hand, the report's folder."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from arcmobile.cli.main import app
from arcmobile.posttrain.autoencoder.crops import HELD_OUT_SEED
from arcmobile.posttrain.judgement.adherence import MEASURES, Tally, judge, tallies
from arcmobile.posttrain.judgement.evaluation import Evaluation
from arcmobile.posttrain.judgement.frechet import (
    Gaussian,
    Reference,
    fitted,
    frechet_distance,
    sound_features,
)
from arcmobile.posttrain.judgement.held_out_prompts import (
    Prompt,
    held_out_prompts,
    reference_sound,
    resynthesized,
)
from arcmobile.posttrain.judgement.report import write_report
from arcmobile.posttrain.judgement.rows import Audio, Row, noise_seed, resynthesized_row
from arcmobile.posttrain.judgement.sound_classifier import (
    BANDS,
    FRAMES,
    NAMES,
    STORED,
    SoundClassifier,
    augmented,
    classify,
    clip_bands,
    load_classifier,
)
from arcmobile.posttrain.judgement.stated_words import KINDS, stated_words
from arcmobile.posttrain.sounds import CLASSES, MODEL_SAMPLE_RATE, synthesize
from arcmobile.runtime.audio import read_init_audio
from arcmobile.runtime.errors import CheckpointError, InputError


@pytest.fixture(scope="module")
def classifier() -> SoundClassifier:
    return load_classifier()


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return held_out_prompts(92)


def silence(prompts: Sequence[Prompt], seed: int) -> Iterator[Audio]:
    for prompt in prompts:
        yield np.zeros((2, round(prompt.seconds * MODEL_SAMPLE_RATE)), np.float32)


def test_prompts_are_held_out_single_sounds_of_every_class(prompts: list[Prompt]) -> None:
    names = [prompt.attributes.sound for prompt in prompts]
    assert names[:46] == names[46:] == list(CLASSES)
    assert all(prompt.attributes.second is None for prompt in prompts)
    assert all(HELD_OUT_SEED <= prompt.seed < 2 * HELD_OUT_SEED for prompt in prompts)
    assert len({prompt.seed for prompt in prompts}) == len(prompts)
    sound = synthesize(prompts[3].seed)
    assert (sound.caption, sound.attributes) == (prompts[3].caption, prompts[3].attributes)
    others = held_out_prompts(50, 1, longest=2.0)
    assert len(others) == 50
    assert all(prompt.seconds <= 2.0 for prompt in others)
    assert not {prompt.seed for prompt in others} & {prompt.seed for prompt in prompts}


@pytest.mark.parametrize("count", [1, 45, 46, 47])
def test_a_few_prompts_are_the_first_of_many(count: int, prompts: list[Prompt]) -> None:
    assert held_out_prompts(count) == prompts[:count]


def test_prompts_that_cannot_be() -> None:
    with pytest.raises(InputError, match="set -1"):
        held_out_prompts(3, -1)
    with pytest.raises(InputError, match=r"within 0\.50 s"):
        held_out_prompts(1, longest=0.5)


@pytest.mark.parametrize(
    ("caption", "kinds"),
    [
        ("A saw synth", set()),
        ("a low, bright saw synth on the left", {"pitch", "brightness", "side"}),
        ("Handclap, medium-paced, centre", {"speed", "side"}),
        ("a medium-pitched flute in the middle register", {"pitch"}),
        ("a flute in the middle", {"side"}),
        ("repeated kick drum at 120 BPM.", {"speed"}),
        ("DRIPPING WATER THREE TIMES A SECOND", {"speed"}),
        ("a whistle at 1450 Hz, held long", {"pitch", "length"}),
        ("a brief beep at a medium pitch, slow", {"length", "pitch", "speed"}),
    ],
)
def test_words_that_a_caption_states(caption: str, kinds: set[str]) -> None:
    assert stated_words(caption) == kinds


def test_no_caption_states_what_its_sound_lacks_and_most_state_what_it_has() -> None:
    said = dict.fromkeys(KINDS, 0)
    there = dict.fromkeys(KINDS, 0)
    for prompt in held_out_prompts(460, 2):
        stated = stated_words(prompt.caption)
        for kind in KINDS:
            word = getattr(prompt.attributes, kind)
            assert word is not None or kind not in stated, (kind, prompt.caption)
            if word is not None and word not in ("centre", "long"):
                there[kind] += 1
                said[kind] += kind in stated
    for kind in KINDS:
        assert said[kind] > 0.8 * there[kind], kind


def test_drawn_sounds_are_what_their_captions_say(
    prompts: list[Prompt], classifier: SoundClassifier
) -> None:
    found = tallies(judge([reference_sound(prompt) for prompt in prompts], prompts, classifier))
    assert list(found) == list(MEASURES)
    for measure, least in (("class", 0.95), ("side", 0.95), ("pitch", 0.9), ("all", 0.85)):
        assert found[measure].count >= 8
        assert found[measure].share >= least, measure
    assert found["class"].count == found["all"].count == len(prompts)


def test_wrong_sounds_are_told_from_right_ones(
    prompts: list[Prompt], classifier: SoundClassifier
) -> None:
    prompts = prompts[:24]
    sounds = [reference_sound(prompt) for prompt in prompts]
    found = tallies(judge([sounds[-1], *sounds[:-1]], prompts, classifier))
    assert found["class"].share < 0.1
    assert found["all"].share < 0.1
    mirrored = [np.ascontiguousarray(sound[::-1]) for sound in sounds]
    sides = [
        verdict.words["side"]
        for verdict in judge(mirrored, prompts, classifier)
        if "side" in verdict.words and verdict.prompt.attributes.side != "centre"
    ]
    assert sides
    assert not any(sides)


def test_silence_is_nothing_that_was_asked_for(
    prompts: list[Prompt], classifier: SoundClassifier
) -> None:
    verdicts = judge(list(silence(prompts[:5], 0)), prompts[:5], classifier)
    assert all(verdict.heard is None for verdict in verdicts)
    assert not any(any(verdict.measures.values()) for verdict in verdicts)


def test_wilson_intervals() -> None:
    low, high = Tally(8, 10).interval
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert Tally(10, 10).interval == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert math.isnan(Tally(0, 0).share)
    assert Tally(0, 0).interval == (0.0, 1.0)


def test_stored_classifier_is_small_and_knows_these_classes(classifier: SoundClassifier) -> None:
    assert STORED.stat().st_size < 1_000_000
    guess = classify(classifier, [synthesize(HELD_OUT_SEED).audio])[0]
    assert guess.name in NAMES
    assert 0 < guess.probability <= 1


def test_classifier_minds_neither_gain_nor_side_nor_a_faint_floor(
    classifier: SoundClassifier, prompts: list[Prompt]
) -> None:
    rng = np.random.default_rng(0)
    sounds = [reference_sound(prompt) for prompt in prompts[:23]]
    names = [guess.name for guess in classify(classifier, sounds)]
    for change in (
        lambda x: 0.1 * x,
        lambda x: np.ascontiguousarray(x[::-1]),
        lambda x: x + rng.normal(0, 1e-4, x.shape).astype(np.float32),
    ):
        changed = [guess.name for guess in classify(classifier, [change(s) for s in sounds])]
        assert sum(a == b for a, b in zip(names, changed, strict=True)) >= len(names) - 1


def test_other_files_are_no_classifier(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="posttrain classifier"):
        load_classifier(tmp_path / "missing.safetensors")


def test_bands_have_one_shape_and_disturbing_is_repeatable(prompts: list[Prompt]) -> None:
    bands = torch.stack([clip_bands(reference_sound(prompt)) for prompt in prompts[:4]])
    assert bands.shape == (4, BANDS, FRAMES)
    once, again = (augmented(bands, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(once, again)
    assert torch.isfinite(once).all()
    assert not torch.equal(once, bands)


def test_frechet_distance_of_gaussians_by_hand() -> None:
    first = Gaussian(np.array([0.0, 1.0]), np.diag([1.0, 4.0]))
    second = Gaussian(np.array([3.0, 1.0]), np.diag([9.0, 4.0]))
    assert frechet_distance(first, second) == pytest.approx(9 + 4)  # 3 squared, (3 - 1) squared
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-12)
    # Not commuting: tr (A B)^1/2 of a 2x2 product is sqrt(tr AB + 2 sqrt det AB).
    one, other = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[3.0, 0.0], [0.0, 1.0]])
    product = one @ other
    root = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    nothing = np.zeros(2)
    distance = frechet_distance(Gaussian(nothing, one), Gaussian(nothing, other))
    assert distance == pytest.approx(4 + 4 - 2 * root)


def test_covariances_are_shrunk_to_their_diagonal() -> None:
    features = np.random.default_rng(0).normal(size=(40, 3)) @ np.array(
        [[1.0, 0.5, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]]
    )
    plain, shrunk = fitted(features, 0.0).covariance, fitted(features, 0.25).covariance
    assert np.diag(shrunk) == pytest.approx(np.diag(plain))
    assert shrunk[0, 1] == pytest.approx(0.75 * plain[0, 1])


def test_more_of_the_same_is_nearer_than_noise_or_one_sound(prompts: list[Prompt]) -> None:
    prompts = prompts[:46]
    drawn = sound_features([reference_sound(prompt) for prompt in prompts])
    again = sound_features([resynthesized(prompt, 1) for prompt in prompts])
    rng = np.random.default_rng(0)
    noise = sound_features([rng.normal(0, 0.1, (2, 60000)).astype(np.float32) for _ in prompts])
    reference = Reference.of(drawn)
    assert reference.distance(drawn) == pytest.approx(0, abs=1e-6)
    same = reference.distance(again)
    assert 0 < same < 0.2 * reference.distance(noise)
    assert same < 0.2 * reference.distance(np.repeat(drawn[:1], len(drawn), axis=0))
    assert np.mean(reference.diversity(np.stack([drawn, again]))) > 0.1
    assert np.allclose(reference.diversity(np.stack([drawn, drawn])), 0)


def test_evaluation_writes_a_whole_folder(tmp_path: Path, classifier: SoundClassifier) -> None:
    prompts = held_out_prompts(6)
    made: list[tuple[str, int, int]] = []
    evaluation = Evaluation(prompts, classifier, seed=5, examples=2)
    rows = [resynthesized_row(), Row("quiet <model>", "says nothing", silence)]
    results = [evaluation.judge(row, lambda *event: made.append(event)) for row in rows]
    write_report(tmp_path, evaluation, results, {"base": "0" * 64})

    assert made[-1] == ("quiet <model>", 12, 12)
    drawn, quiet = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert drawn["ceiling"]
    assert drawn["diversity"]["mean"] > 0
    assert drawn["frechet"] < quiet["frechet"]
    assert quiet["adherence"]["class"] == {
        "right": 0,
        "of": 6,
        "share": 0,
        "low": 0,
        "high": pytest.approx(0.3903, abs=1e-4),
    }
    assert quiet["heard"] == [None] * 6
    assert quiet["diversity"] is None  # other seeds change nothing

    text = (tmp_path / "README.md").read_text()
    page = (tmp_path / "index.html").read_text()
    assert "| quiet <model> | 0 % (0–39) |" in text
    assert "quiet &lt;model&gt;" in page
    assert "<model>" not in page
    files = re.findall(r'src="([^"]+)"', page)
    assert len(files) == 2 * 2 * 3  # picture and sound of two captions: real, and two rows
    for name in [*files, *re.findall(r"!\[.*\]\((.+)\)", text)]:
        assert (tmp_path / name).stat().st_size > 0
    assert not re.search(r"https?:", page)
    sounds = [name for name in files if name.endswith(".flac")]
    played = read_init_audio(tmp_path / sounds[0], sample_rate=44100, channels=2, samples=30000)
    assert np.allclose(played.audio, reference_sound(prompts[0])[:, :30000], atol=1e-4)


def test_every_sound_has_noise_of_its_own(prompts: list[Prompt]) -> None:
    seeds = {noise_seed(prompt, seed) for prompt in prompts for seed in range(3)}
    assert len(seeds) == 3 * len(prompts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to judge"),
        (["--checkpoint", "nowhere"], "nowhere: no such checkpoint folder"),
        (["--bundle", "nowhere"], "nowhere: no such folder"),
        (["--base", "nowhere", "--recipes", "int3"], "unknown recipe 'int3'"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["evaluate", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.strip().count("\n") == 0
