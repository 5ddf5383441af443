"""Procedural sounds: a seed gives one sound, and every said word can be heard in its signal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from arcmobile.posttrain.sounds import (
    CLASSES,
    MODEL_SAMPLE_RATE,
    Attributes,
    CaptionedSound,
    caption,
    corpus,
    synthesize,
    synthesize_with,
)
from arcmobile.posttrain.sounds.attributes import DEFAULT_SECONDS
from arcmobile.posttrain.sounds.choosing import choose, choose_one
from arcmobile.posttrain.sounds.rendering import render
from arcmobile.posttrain.sounds.signal_words import MeasuredWords, measure_words
from arcmobile.runtime.errors import InputError

# Written anew from the English language, not from the generator's lists: (kind, value) that a
# word in a caption claims. "medium" is of a pitch or of a speed, by what follows it.
_CLAIMS = (
    (r"\b(low|low-pitched|deep)\b", "pitch", "low"),
    (
        r"\b(mid|mid-range|mid-pitched|medium-pitched|medium pitch|middle register)\b",
        "pitch",
        "mid",
    ),
    (r"\b(high|high-pitched)\b", "pitch", "high"),
    (r"\b(slow|slowly|unhurried)\b", "speed", "slow"),
    (
        r"\b(medium-speed|medium-paced|medium pace|medium speed|moderate|moderately)\b",
        "speed",
        "medium",
    ),
    (r"\b(fast|quick|rapid)\b", "speed", "fast"),
    (r"\b(dark|dull|muffled)\b", "brightness", "dark"),
    (r"\b(bright|brilliant)\b", "brightness", "bright"),
    (r"\b(short|brief)\b", "length", "short"),
    (r"\b(long|sustained)\b", "length", "long"),
    (r"\b(left|left-panned)\b", "side", "left"),
    (r"\b(right|right-panned)\b", "side", "right"),
    (r"\b(centre|center|centred|centered|in the middle(?! register))\b", "side", "centre"),
)
_TIMES = {"once": 1, "twice": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _both(sound: Attributes) -> list[Attributes]:
    return [sound] if sound.second is None else [sound, sound.second]


def _false_claims(text: str, sounds: list[Attributes]) -> Iterator[str]:
    """Claims of a caption that none of its sounds bears out."""
    for pattern, kind, value in _CLAIMS:
        said = re.search(pattern, text, re.IGNORECASE)
        if said and value not in [getattr(sound, kind) for sound in sounds]:
            yield f"{text!r}: {said[0]}"
    for number in re.findall(r"(\d+) bpm", text, re.IGNORECASE):
        if int(number) not in [sound.bpm for sound in sounds]:
            yield f"{text!r}: {number} BPM"
    for number in re.findall(r"(\d+) hz", text, re.IGNORECASE):
        if not any(s.hertz and abs(s.hertz / int(number) - 1) < 0.08 for s in sounds):
            yield f"{text!r}: {number} Hz"
    for word in re.findall(r"(\w+)(?: times)? (?:a|per) second", text, re.IGNORECASE):
        if not any(s.events and abs(s.events - _TIMES[word.lower()]) < 0.15 for s in sounds):
            yield f"{text!r}: {word}"


def test_a_seed_gives_the_same_sound_again() -> None:
    first, again, other = synthesize(11), synthesize(11), synthesize(12)
    assert np.array_equal(first.audio, again.audio)
    assert (first.caption, first.attributes) == (again.caption, again.attributes)
    assert first.caption != other.caption


@pytest.mark.parametrize("seconds", [None, 0.3, 1.0, 2.25, 3.7])
def test_audio_is_stereo_finite_and_never_clips(seconds: float | None) -> None:
    for seed in range(12):
        sound = synthesize(seed, seconds)
        assert sound.audio.dtype == np.float32
        assert sound.audio.shape == (2, round(sound.seconds * MODEL_SAMPLE_RATE))
        assert np.all(np.isfinite(sound.audio))
        assert 0.5 <= np.max(np.abs(sound.audio)) <= 0.9
        if seconds is None:
            assert DEFAULT_SECONDS[0] <= sound.seconds <= DEFAULT_SECONDS[1]
        else:
            assert sound.seconds == seconds


def test_there_are_enough_classes_and_their_names_are_told_apart() -> None:
    nouns = Counter(noun for sound in CLASSES.values() for noun in (*sound.nouns, *sound.plurals))
    assert len(CLASSES) >= 32
    assert max(nouns.values()) == 1
    for noun in nouns:
        assert not any(re.search(pattern, noun) for pattern, _, _ in _CLAIMS), noun
    for sound in CLASSES.values():
        assert (sound.repeats != "never") == bool(sound.speeds), sound.name
        assert (sound.repeats == "sometimes") == bool(sound.plurals), sound.name


@pytest.mark.parametrize("name", list(CLASSES))
def test_every_class_sounds(name: str) -> None:
    for seed, seconds in enumerate((1.0, 3.0)):
        rng = _generator(seed)
        audio = render(choose_one(CLASSES[name], seconds, rng), rng)
        assert audio.shape == (2, round(seconds * MODEL_SAMPLE_RATE))
        assert np.all(np.isfinite(audio))
        assert np.sqrt(np.mean(audio**2)) > 0.005
        assert np.max(np.abs(np.mean(audio, axis=1))) < 0.02  # no offset
        assert np.max(np.abs(audio[:, -2:])) < 0.02  # no click at the end


@pytest.fixture(scope="module")
def heard() -> list[tuple[CaptionedSound, MeasuredWords]]:
    sounds = [synthesize(seed) for seed in range(500, 700)]
    return [
        (sound, measure_words(sound.audio)) for sound in sounds if sound.attributes.second is None
    ]


@pytest.mark.parametrize(
    ("word", "share"),
    [("pitch", 0.97), ("side", 0.99), ("speed", 0.95), ("brightness", 0.9), ("length", 0.97)],
)
def test_said_words_are_heard_in_the_signal(
    heard: list[tuple[CaptionedSound, MeasuredWords]], word: str, share: float
) -> None:
    pairs = [(getattr(s.attributes, word), getattr(h, word)) for s, h in heard]
    right = [said == found for said, found in pairs if said is not None]
    assert len(right) >= 8
    assert np.mean(right) >= share


def test_numbers_are_heard_too(heard: list[tuple[CaptionedSound, MeasuredWords]]) -> None:
    hertz = [h.hertz / s.attributes.hertz for s, h in heard if s.attributes.hertz]
    events = [h.events / s.attributes.events for s, h in heard if s.attributes.events and h.events]
    assert np.mean(np.abs(np.log(hertz)) < 0.03) >= 0.97
    assert np.mean(np.abs(np.log(events)) < 0.1) >= 0.95


def test_captions_say_only_what_is_true() -> None:
    rng = _generator(3)
    drawn = [choose(rng) for _ in range(3000)]
    false = [claim for sound in drawn for claim in _false_claims(caption(sound, rng), _both(sound))]
    assert not false, false[:5]
    pairs = np.mean([sound.second is not None for sound in drawn])
    assert 0.05 < pairs < 0.2
    assert {sound.sound for sound in drawn} == set(CLASSES)


def test_captions_vary() -> None:
    captions = corpus(2000, seed=5)
    assert captions == corpus(2000, seed=5)
    assert len(set(captions)) > 0.8 * len(captions)
    one = Attributes("saw synth", 2.0, side="left", pitch="low", brightness="bright")
    rng = _generator(1)
    assert len({caption(one, rng) for _ in range(200)}) > 150
    assert all("\n" not in text and text.strip() == text for text in captions)


def test_wanted_words_are_drawn() -> None:
    wanted = Attributes("bell", 3.0, side="right", pitch="mid", length="long")
    sound = synthesize_with(wanted, _generator(4))
    assert sound.attributes.hertz is not None
    found = measure_words(sound.audio)
    assert (found.side, found.pitch, found.length) == ("right", "mid", "long")
    assert abs(found.hertz / sound.attributes.hertz - 1) < 0.03

    loop = synthesize_with(Attributes("drum loop", 3.5, speed="medium"), _generator(4)).attributes
    assert loop.bpm is not None
    assert loop.events == pytest.approx(loop.bpm / 30)


def test_a_pair_sounds_in_its_order() -> None:
    second = Attributes("sine tone", 1.2, side="right", pitch="high")
    first = Attributes("organ chord", 2.4, pitch="low", side="left", joined="then", second=second)
    sound = synthesize_with(first, _generator(2))
    at = round(sound.attributes.own_seconds * MODEL_SAMPLE_RATE)
    before, after = measure_words(sound.audio[:, :at]), measure_words(sound.audio[:, at:])
    assert (before.side, before.pitch) == ("left", "low")
    assert (after.side, after.pitch) == ("right", "high")
    assert "organ" in sound.caption.lower()
    assert re.search("sine|tone", sound.caption, re.IGNORECASE)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Attributes("trombone", 2.0), "known: sine tone"),
        (Attributes("rain", 2.0, pitch="low"), "does not apply"),
        (Attributes("glockenspiel", 2.0, pitch="low"), "known: high"),
        (Attributes("sine tone", 2.0), "needs a pitch"),
        (Attributes("alarm", 2.0, pitch="mid"), "needs a speed"),
        (Attributes("pad", 2.0, pitch="high", brightness="dark"), "leave one"),
        (Attributes("gong", 1.0, length="long"), "too short"),
        (Attributes("rain", 0.01), "out of range"),
        (Attributes("rain", 2.0, joined="then"), "needs both"),
        (Attributes("rain", 2.0, joined="then", second=Attributes("wind", 2.0)), "fit"),
    ],
)
def test_words_that_cannot_be_are_refused(wanted: Attributes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        synthesize_with(wanted, _generator(0))


def test_hearing_of_signals_made_by_hand() -> None:
    time = np.arange(2 * MODEL_SAMPLE_RATE) / MODEL_SAMPLE_RATE
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    found = measure_words(np.stack((tone, 0.1 * tone)).astype(np.float32))
    assert found.hertz == pytest.approx(440, rel=0.01)
    assert found.left_over_right_decibels == pytest.approx(20, abs=0.1)
    assert (found.side, found.pitch, found.brightness) == ("left", "mid", "dark")
    assert found.confidence > 0.95
    assert found.heard_seconds == pytest.approx(2.0, abs=0.02)

    clicks = np.zeros_like(tone)
    clicks[:: MODEL_SAMPLE_RATE // 6] = 1.0
    found = measure_words(np.stack((clicks, clicks)))
    assert found.events == pytest.approx(6, rel=0.03)
    assert (found.side, found.speed) == ("centre", "fast")

    silence = measure_words(np.zeros((2, 1000), dtype=np.float32))
    assert (silence.events, silence.speed, silence.heard_seconds) == (None, None, 0.0)
    with pytest.raises(InputError, match="wanted"):
        measure_words(tone)
