"""Chooses what to synthesize: a class, its words, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from arcmobile.posttrain.sounds.attributes import (
    DEFAULT_SECONDS,
    LONG_SECONDS,
    PITCH_HERTZ,
    SPEED_EVENTS,
    Attributes,
    Joined,
    Length,
    Side,
    Speed,
)
from arcmobile.posttrain.sounds.catalogue import CLASSES, find_class
from arcmobile.posttrain.sounds.sound_class import SoundClass
from arcmobile.posttrain.sounds.synthesis import between, log_between
from arcmobile.runtime.errors import InputError

PAIR_CHANCE = 0.12
FEWEST_EVENTS = 2.3
"""Least number of intervals in a row, so that its speed can be heard."""
SHORTEST_SECONDS = 0.25
LONGEST_SECONDS = 30.0
_PAIR_SECONDS = {"together": 1.5, "then": 2.0}
_SIDES: tuple[Side, ...] = ("left", "centre", "centre", "right")
_Word = TypeVar("_Word")


def _pick(rng: np.random.Generator, choices: Sequence[_Word]) -> _Word:
    return choices[int(rng.integers(len(choices)))]


def speeds_with_room(declared: SoundClass, seconds: float) -> tuple[Speed, ...]:
    """Return the speed words of a class whose events fit into a clip."""
    return tuple(
        speed
        for speed in declared.speeds
        if 0.95 * SPEED_EVENTS[speed][1] * seconds > FEWEST_EVENTS
    )


def lengths_with_room(declared: SoundClass, seconds: float) -> tuple[Length | None, ...]:
    """Return the length words that a clip allows; None where a sound fills a short clip."""
    allowed: list[Length | None] = []
    if "short" in declared.lengths and seconds >= 0.7:
        allowed.append("short")
    if "long" in declared.lengths and seconds >= LONG_SECONDS + 0.15:
        # Twice: sounds are long unless they are cut short.
        allowed += ["long", "long"]
    return tuple(allowed) or (None,)


def _events(speed: Speed, seconds: float, rng: np.random.Generator) -> float:
    low, high = SPEED_EVENTS[speed]
    return between(rng, max(low, min(FEWEST_EVENTS / seconds, 0.97 * high)), high)


def completed(sound: Attributes, rng: np.random.Generator) -> Attributes:
    """Fill in the numbers behind the words: ``hertz``, ``events`` and ``bpm``.

    Raises:
        InputError: a word does not apply to the class, a word that it needs is missing, or the clip
            is too short.
    """
    declared = find_class(sound.sound)
    if not SHORTEST_SECONDS <= sound.seconds <= LONGEST_SECONDS:
        raise InputError(
            f"seconds {sound.seconds:g} is out of range: "
            f"{SHORTEST_SECONDS:g} to {LONGEST_SECONDS:g}"
        )
    _check_words(sound, declared)
    _check_pair(sound)
    hertz, events, bpm = sound.hertz, sound.events, sound.bpm
    if sound.pitch is not None and hertz is None:
        hertz = round(log_between(rng, *PITCH_HERTZ[sound.pitch]), 1)
    if sound.speed is not None and events is None:
        events = _events(sound.speed, sound.own_seconds, rng)
        if declared.beats_per_event:
            bpm = round(60 * declared.beats_per_event * events)
            events = bpm / (60 * declared.beats_per_event)
    second = None if sound.second is None else completed(sound.second, rng)
    return replace(sound, hertz=hertz, events=events, bpm=bpm, second=second)


def _check_words(sound: Attributes, declared: SoundClass) -> None:
    allowed: Mapping[str, Sequence[str]] = {
        "pitch": declared.pitches,
        "speed": declared.speeds,
        "brightness": declared.brightness,
        "length": declared.lengths,
    }
    for kind, words in allowed.items():
        word = getattr(sound, kind)
        if word is not None and word not in words:
            known = ", ".join(words) or "none"
            raise InputError(f"{kind} {word!r} does not apply to {sound.sound!r}; known: {known}")
    if sound.length is not None and sound.length not in lengths_with_room(
        declared, sound.own_seconds
    ):
        raise InputError(f"{sound.own_seconds:g} s is too short for a {sound.length} sound")
    if sound.pitch == "high" and sound.brightness == "dark":
        raise InputError(f"{sound.sound!r} cannot be both high and dark; leave one out")
    if declared.pitches and sound.pitch is None:
        raise InputError(f"{sound.sound!r} needs a pitch: {', '.join(declared.pitches)}")
    if declared.repeats == "always" and sound.speed is None and declared.speeds:
        raise InputError(f"{sound.sound!r} needs a speed: {', '.join(declared.speeds)}")


def _check_pair(sound: Attributes) -> None:
    if (sound.second is None) != (sound.joined is None):
        raise InputError("a pair of sounds needs both a second sound and how the two are joined")
    if sound.second is None:
        return
    if sound.second.second is not None:
        raise InputError("a pair has two sounds; the second must not have another")
    longest = sound.seconds - (SHORTEST_SECONDS if sound.joined == "then" else 0.0)
    if sound.second.seconds > longest:
        raise InputError(
            f"the second sound lasts {sound.second.seconds:g} s; at most {longest:g} s fit"
        )


def choose_one(declared: SoundClass, seconds: float, rng: np.random.Generator) -> Attributes:
    """Choose words for a class at random, all possible in a clip of ``seconds``."""
    pitch = _pick(rng, declared.pitches) if declared.pitches else None
    tints = [tint for tint in declared.brightness if (pitch, tint) != ("high", "dark")]
    brightness = _pick(rng, tints) if tints and rng.random() < 0.7 else None
    speeds = speeds_with_room(declared, seconds)
    if declared.repeats == "always":
        speeds = speeds or declared.speeds[-1:]
    elif rng.random() < 0.5:
        speeds = ()
    speed = _pick(rng, speeds) if speeds else None
    length = None if speed is not None else _pick(rng, lengths_with_room(declared, seconds))
    return completed(
        Attributes(
            sound=declared.name,
            seconds=seconds,
            side=_pick(rng, _SIDES),
            pitch=pitch,
            speed=speed,
            brightness=brightness,
            length=length,
        ),
        rng,
    )


def _with_room(seconds: float) -> list[SoundClass]:
    return [
        declared
        for declared in CLASSES.values()
        if seconds >= declared.minimum_seconds
        and (declared.repeats != "always" or speeds_with_room(declared, seconds))
    ]


def choose(rng: np.random.Generator, seconds: float | None = None) -> Attributes:
    """Choose attributes of one sound, or of two (:data:`PAIR_CHANCE`), at random."""
    if seconds is None:
        seconds = round(between(rng, *DEFAULT_SECONDS), 2)
    joined: Joined = "then" if rng.random() < 0.5 else "together"
    if rng.random() >= PAIR_CHANCE or seconds < _PAIR_SECONDS[joined]:
        return choose_one(_pick(rng, _with_room(seconds)), seconds, rng)
    share = round(seconds * between(rng, 0.45, 0.55), 2) if joined == "then" else seconds
    rest = round(seconds - share, 2) if joined == "then" else seconds
    first = choose_one(_pick(rng, _with_room(share)), share, rng)
    others = [declared for declared in _with_room(rest) if declared.name != first.sound]
    second = choose_one(_pick(rng, others), rest, rng)
    return replace(first, seconds=seconds, joined=joined, second=second)
