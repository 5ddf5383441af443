"""Vocabulary, reading of captions, training of the text encoder, and the cache of latents."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from arcmobile.cli.main import app
from arcmobile.export.checkpoint.random_weights import COND_RMS
from arcmobile.export.model.config import T5Config
from arcmobile.export.model.t5 import T5Encoder
from arcmobile.export.model.weights import Weights
from arcmobile.posttrain.autoencoder.tensors import initial_tensors
from arcmobile.posttrain.latents import encoders
from arcmobile.posttrain.latents.cache import (
    CacheSettings,
    LatentCache,
    cache_latents,
)
from arcmobile.posttrain.latents.completeness import INDEX
from arcmobile.posttrain.sounds import Attributes, CaptionedSound, caption, version
from arcmobile.posttrain.sounds.choosing import choose
from arcmobile.posttrain.text.caption_examples import (
    held_out_examples,
    random_example,
    unknown_words,
)
from arcmobile.posttrain.text.caption_reading import HEADS, UNKNOWN, labels
from arcmobile.posttrain.text.train import new_trainer, train
from arcmobile.posttrain.text.trainer import (
    CaptionTokenizer,
    TextEncoderTrainer,
    accuracies,
)
from arcmobile.posttrain.text.vocabulary import write_vocabulary
from arcmobile.posttrain.training.loop import STOP, Intervals
from arcmobile.posttrain.training.resume import resumed
from arcmobile.posttrain.training.settings import TextSettings
from arcmobile.posttrain.training.state import write_tensors
from arcmobile.posttrain.training.trainable import TRAINING, InMemorySource
from arcmobile.runtime.errors import CheckpointError, InputError, TrainingError
from arcmobile.runtime.tokenizer import PromptTokenizer

QUICK = Intervals(report=1, save=100, evaluate=100)


# --- vocabulary ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabulary")
    write_vocabulary(folder, 0, captions=500)
    return folder


def test_both_tokenizers_agree_and_fold_case(vocabulary: Path) -> None:
    tokenizer = CaptionTokenizer(vocabulary / "tokenizer.json", 0, 1)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary / "spiece.model"))
    texts = [example.text for example in held_out_examples(200, loose=True)]
    texts += ["Warm RAIN, 440 Hz?", "drum & bass {x} ~ 3/4", "WARM RAIN"]
    ids, mask = tokenizer(texts)
    for row, present, text in zip(ids, mask, texts, strict=True):
        assert row[: int(present.sum())].tolist() == [*pieces.encode(text), 1]
        assert 2 not in row  # no unknown piece
    assert pieces.encode("WARM RAIN") == pieces.encode("warm rain")


def test_long_prompts_are_cut_as_the_pipeline_cuts_them(vocabulary: Path) -> None:
    text = "a bell, " * 60
    ids, _ = CaptionTokenizer(vocabulary / "tokenizer.json", 0, 1)([text])
    document = (vocabulary / "tokenizer.json").read_text(encoding="utf-8")
    pipeline = PromptTokenizer(document, max_length=64, pad_id=0, eos_id=1)
    assert ids.tolist() == pipeline(text).input_ids.tolist()


# --- what captions say ---------------------------------------------------------------------------


def read(text: str, sound: Attributes) -> dict[str, str | bool | None]:
    found = labels(text, sound)
    return {head: HEADS[head][label] for head, label in found.items() if label != UNKNOWN}


def test_labels_of_captions_by_hand() -> None:
    bell = Attributes("bell", 3.0, side="left", pitch="low", hertz=121.0, length="long")
    said = read("A deep bell, on the left.", bell)
    assert (said["sound"], said["side"], said["pitch"]) == ("bell", "left", "low")
    assert said["length"] is None  # true, but not said
    assert said["second sound"] is None
    assert read("bell at 120 Hz", bell)["pitch"] == "low"
    assert read("bell", bell)["pitch"] is None

    kick = Attributes("kick", 3.0, side="left", speed="medium", events=3.0, bpm=180)
    assert read("a kick drum three times a second", kick)["speed"] == "medium"
    assert read("KICK DRUM AT 180 BPM", kick)["speed"] == "medium"
    pair = replace(bell, joined="then", second=replace(kick, side="right"))
    said = read("a bell left, then kicks on the right", pair)
    assert (said["side"], said["second side"], said["joined"]) == ("left", "right", "then")
    both_left = replace(bell, joined="together", second=kick)
    assert "side" not in read("a bell and a kick on the left", both_left)  # whose?
    assert read("a bell left and a kick on the left", both_left)["second side"] == "left"


def test_captions_are_read_as_they_are_written() -> None:
    """What is said of it is said as often as it should be, and no word is read into a caption."""
    rng = np.random.default_rng(3)
    kinds = ("side", "pitch", "speed", "brightness", "length")
    said: dict[str, list[bool]] = {"left": [], "low": [], "fast": [], "short": [], "long": []}
    for _ in range(3000):
        sound = choose(rng)
        if sound.second is not None:
            continue
        text = caption(sound, rng)
        found = read(text, sound)
        bare = replace(sound, hertz=None, events=None, bpm=None)
        for kind in kinds:
            value = getattr(sound, kind)
            assert found[kind] in (None, value)
            if value in said:
                said[value].append(found[kind] == value)
            for other in {*HEADS[kind]} - {None, value}:
                assert labels(text, replace(bare, **{kind: other}))[kind] == 0, text
    shares = {value: np.mean(hits) for value, hits in said.items()}
    expected = {"left": 0.97, "low": 0.9, "fast": 0.9, "short": 0.95, "long": 0.4}
    assert shares == pytest.approx(expected, abs=0.05)


def test_examples_come_from_the_seed_and_loosening_keeps_what_is_said() -> None:
    first, again = (
        [random_example(rng) for _ in range(20)]
        for rng in (np.random.default_rng(4), np.random.default_rng(4))
    )
    assert first == again
    plain, loose = held_out_examples(1), held_out_examples(1, loose=True)
    assert plain[0].labels == loose[0].labels
    assert not {"left", "bell", "fast", "then", "and"} & {*unknown_words()}


# --- the text encoder ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer(vocabulary: Path) -> CaptionTokenizer:
    return CaptionTokenizer(vocabulary / "tokenizer.json", 0, 1)


@pytest.fixture(scope="module")
def config() -> T5Config:
    return T5Config(vocab_size=1120, d_model=64, d_kv=16, d_ff=64, num_layers=1, num_heads=4)


def test_training_reads_classes(config: T5Config, tokenizer: CaptionTokenizer) -> None:
    settings = TextSettings(steps=80, batch=64, learning_rate=1e-2, warmup=5)
    trainer = TextEncoderTrainer(config, tokenizer, settings)
    losses = [trainer.train_step()["loss"] for _ in range(80)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3])
    found = accuracies(trainer.network, tokenizer, held_out_examples(200))
    assert found["sound"] > 4 / len(HEADS["sound"])  # 4 times chance

    ids, mask = tokenizer([example.text for example in held_out_examples(8)])
    with torch.no_grad():
        embedded = trainer.network.embed(ids, mask)
    rms = float(embedded[mask > 0].square().mean().sqrt())
    assert rms == pytest.approx(COND_RMS, rel=0.3)

    # The encoder of a checkpoint with these tensors gives the same, padded to all its tokens.
    tensors = trainer.network.checkpoint_tensors()
    weights = Weights(InMemorySource(tensors))
    encoder = T5Encoder(config, 64, weights, TRAINING)
    assert weights.ledger.clean()
    assert {*weights.ledger.requested} == {*tensors}
    padding = (0, 64 - ids.shape[1])
    full = torch.nn.functional.pad(ids, padding), torch.nn.functional.pad(mask, padding)
    with torch.no_grad():
        whole = encoder(*full)[:, : ids.shape[1]]
    torch.testing.assert_close(whole[mask > 0], embedded[mask > 0], atol=1e-5, rtol=1e-4)


def test_a_resumed_training_is_the_same(vocabulary: Path, config: T5Config, tmp_path: Path) -> None:
    settings = TextSettings(steps=4, batch=8, warmup=2)
    for name in ("whole", "parts"):
        text = tmp_path / name / "text_encoder"
        text.mkdir(parents=True)
        (text / "tokenizer.json").write_bytes((vocabulary / "tokenizer.json").read_bytes())
        (text / "config.json").write_text(config.model_dump_json(), encoding="utf-8")
    whole = new_trainer(tmp_path / "whole" / "text_encoder", settings)
    train(whole, tmp_path / "whole", seconds=60, held_out=20, intervals=QUICK)

    parts = new_trainer(tmp_path / "parts" / "text_encoder", settings)
    parts.train_step()
    write_tensors(tmp_path / "parts" / "state.safetensors", *parts.state())
    folder = tmp_path / "parts" / "text_encoder"
    again = resumed(
        tmp_path / "parts", TextSettings, {}, lambda settings: new_trainer(folder, settings)
    )
    train(again, tmp_path / "parts", seconds=60, held_out=20, intervals=QUICK)
    first, second = (
        load_file(tmp_path / name / "text_encoder" / "model.safetensors")
        for name in ("whole", "parts")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    rows = [json.loads(row) for row in (tmp_path / "whole" / "metrics.jsonl").open()]
    assert {"sound", "loose sound", "side said"} <= rows[-1].keys()
    assert (tmp_path / "whole" / "losses.png").is_file()


def test_a_training_that_diverges_leaves_its_words_alone(
    vocabulary: Path, config: T5Config, tmp_path: Path
) -> None:
    text = tmp_path / "text_encoder"
    text.mkdir()
    (text / "tokenizer.json").write_bytes((vocabulary / "tokenizer.json").read_bytes())
    (text / "config.json").write_text(config.model_dump_json(), encoding="utf-8")
    trainer = new_trainer(text, TextSettings(steps=9, batch=8, warmup=1, learning_rate=1e25))
    with pytest.raises(TrainingError, match="text encoder diverged"):
        train(trainer, tmp_path, seconds=60, held_out=20, intervals=QUICK)
    assert not (text / "model.safetensors").exists()
    assert not (tmp_path / "state.safetensors").exists()


def test_commands_say_what_is_wrong(tmp_path: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(app, ["posttrain", "text", "--out", str(tmp_path), "--resume"])
    assert result.exit_code == 2
    assert "start without it" in result.output
    arguments = ["--autoencoder", str(tmp_path / "none"), "--out", str(tmp_path), "--count", "1"]
    result = runner.invoke(app, ["posttrain", "latents", *arguments])
    assert result.exit_code == 2
    assert "no such folder" in result.output


# --- the cache of latents ------------------------------------------------------------------------

SETTINGS = CacheSettings(source="a", samples=64, shard=4, batch=3)


def make_sound(seed: int) -> CaptionedSound:
    """16 to 19 samples of the value seed / 100."""
    audio = np.full((2, 16 + seed % 4), seed / 100, dtype=np.float32)
    attributes = Attributes("wind", 1.0, side="left")
    return CaptionedSound(audio, f"wind {seed}", attributes, audio.shape[1] / 64)


class CountingEncoder:
    """Frames of 8 samples: their mean in 2 channels; the spread is 0.5."""

    def __init__(self) -> None:
        self.sounds = 0

    def __call__(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        self.sounds += int((audio[:, 0, 0] != 0).sum())
        mean = audio.unflatten(2, (-1, 8)).mean(3)
        return mean, torch.full_like(mean, 0.5)


def fill(folder: Path, count: int, settings: CacheSettings = SETTINGS) -> tuple[int, list[int]]:
    """Sounds encoded, and the counts that were reported."""
    encode, heard = CountingEncoder(), list[int]()
    cache_latents(encode, folder, count, 10, heard.append, settings, make_sound)
    return encode.sounds, heard


def test_cached_latents_are_those_of_the_sounds(tmp_path: Path) -> None:
    assert fill(tmp_path, 6) == (6, [3, 4, 4, 6, 6])
    cache = LatentCache(tmp_path)
    assert len(cache) == 6
    assert cache.mean.shape == (6, 2, 8)
    assert [sound.seed for sound in cache.sounds] == list(range(10, 16))
    assert cache.sounds[2].captions[0] == "wind 12"
    assert "left" in " ".join(cache.sounds[2].captions).lower()
    assert cache.sounds[2].attributes == Attributes("wind", 1.0, side="left")
    torch.testing.assert_close(
        cache.mean[2, 0, :2].float(), torch.full((2,), 0.12), atol=1e-3, rtol=0
    )
    assert float(cache.mean[2, 0, 3:].abs().max()) == 0  # silence behind the end


def test_a_broken_off_cache_goes_on(tmp_path: Path) -> None:
    fill(tmp_path, 4)
    assert fill(tmp_path, 6)[0] == 2  # the first shard is there
    assert fill(tmp_path, 8)[0] == 4  # the second was not full
    assert fill(tmp_path, 8)[0] == 0
    with pytest.raises(InputError, match="another autoencoder"):
        fill(tmp_path, 8, replace(SETTINGS, source="b"))

    def stopping(done: int) -> None:
        (tmp_path / "stopped" / STOP).touch()

    encode = CountingEncoder()
    complete = cache_latents(encode, tmp_path / "stopped", 8, 10, stopping, SETTINGS, make_sound)
    assert (complete, encode.sounds) == (False, 4)


def test_batches_sample_the_posterior(tmp_path: Path) -> None:
    fill(tmp_path, 4)
    cache = LatentCache(tmp_path)
    latents, captions, seconds = cache.batch(np.random.default_rng(0), 400, reworded=False)
    assert latents.shape == (400, 2, 8)
    assert latents.dtype == torch.float32
    spread = latents[:, :, 3:]  # the mean is 0 there
    assert float(spread.std()) == pytest.approx(0.5, abs=0.02)
    assert {"wind 10", "wind 11", "wind 12", "wind 13"} < {*captions}
    assert {round(value * 64) for value in seconds.tolist()} == {16, 17, 18, 19}
    again = cache.batch(np.random.default_rng(0), 400, reworded=False)
    assert torch.equal(again.latents, latents)
    worded = cache.batch(np.random.default_rng(0), 50)
    assert not any(text.endswith(("10", "11")) for text in worded.captions)
    assert len({*worded.captions}) > 5


def test_caches_with_a_shard_missing_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "whole", 10)
    assert len(LatentCache(tmp_path / "whole")) == 10
    for missing in range(3):
        folder = Path(shutil.copytree(tmp_path / "whole", tmp_path / str(missing)))
        (folder / f"shard-{missing:05d}.safetensors").unlink()
        with pytest.raises(InputError, match=r"not complete, only [68] of 10 sounds"):
            LatentCache(folder)
        with pytest.raises(InputError, match="another autoencoder"):
            fill(folder, 99, replace(SETTINGS, source="b"))
        assert fill(folder, 4)[0] in (0, 4)  # fewer than were to be there: still missing some
        assert fill(folder, 10)[0] <= 4
        assert torch.equal(LatentCache(folder).mean, LatentCache(tmp_path / "whole").mean)
    (tmp_path / "whole" / INDEX).write_text('{"sounds": -1}')
    with pytest.raises(CheckpointError, match=INDEX):
        LatentCache(tmp_path / "whole")


def test_sounds_of_another_synthesis_are_not_mixed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "a", 4)
    fill(tmp_path / "b", 4)
    monkeypatch.setattr("arcmobile.posttrain.latents.cache.synthesis_digest", lambda: "changed")
    with pytest.raises(InputError, match="another version of the synthesis; choose another --out"):
        fill(tmp_path / "a", 8)
    assert len(LatentCache(tmp_path / "a")) == 4
    for path in (tmp_path / "b").glob("shard-*"):
        path.unlink()
    fill(tmp_path / "b", 8)
    (tmp_path / "b" / "shard-00000.safetensors").write_bytes(
        (tmp_path / "a" / "shard-00000.safetensors").read_bytes()
    )
    with pytest.raises(InputError, match="versions of the synthesis"):
        LatentCache(tmp_path / "b")


def test_the_synthesis_is_known_by_its_statements() -> None:
    source = 'def tone(x: int) -> int:\n    """Words."""\n    return x + 1  # why\n'
    same = 'def tone(x: int) -> int:\n    """Other words."""\n\n    return (x + 1)\n'
    assert version.statements(source) == version.statements(same)
    assert version.statements(source) != version.statements(source.replace("1", "2"))
    assert len(version.synthesis_digest()) == 16


def test_empty_and_damaged_caches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no cached latents"):
        LatentCache(tmp_path)
    (tmp_path / "shard-00000.safetensors").write_bytes(b"none")
    with pytest.raises(CheckpointError):
        LatentCache(tmp_path)


def test_the_encoder_divides_by_the_scale(micro_checkpoint: Path, tmp_path: Path) -> None:
    from arcmobile.export.model.config import load_model_config
    from arcmobile.posttrain.autoencoder.tensors import TrainableAutoencoder

    config = load_model_config(micro_checkpoint / "model_config.json").autoencoder
    tensors = initial_tensors(config, 0)
    write_tensors(tmp_path / "autoencoder.safetensors", tensors, {"step": 1})
    summary = {"config": config.model_dump(mode="json"), "latents": {"scale": 2.0}}
    (tmp_path / "autoencoder.json").write_text(json.dumps(summary), encoding="utf-8")
    encode, source = encoders.load_encoder(tmp_path)
    audio = torch.randn(1, 2, 64, generator=torch.Generator().manual_seed(0))
    mean, stdev = encode(audio)
    with torch.no_grad():
        expected = TrainableAutoencoder(config, tensors).encode(audio)
    torch.testing.assert_close(mean * 2, expected[0])
    torch.testing.assert_close(stdev * 2, expected[1])
    summary["latents"]["scale"] = 3.0
    (tmp_path / "autoencoder.json").write_text(json.dumps(summary), encoding="utf-8")
    assert encoders.load_encoder(tmp_path)[1] != source
