"""Synthesizes captioned stereo sounds: attributes, signal and caption, all from one seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import signal

from arcmobile.posttrain.sounds.attributes import (
    SIDE_DECIBELS,
    Attributes,
    CaptionedSound,
    Mono,
    Side,
    Stereo,
)
from arcmobile.posttrain.sounds.captions import caption
from arcmobile.posttrain.sounds.catalogue import find_class
from arcmobile.posttrain.sounds.choosing import choose, completed
from arcmobile.posttrain.sounds.synthesis import between, faded, sample_count, white

PEAK = (0.6, 0.9)
_END_FADE = 0.012
_WIDTH = 0.3
_WIDTH_TAPS = 385  # odd, so that the filter has a middle to be antisymmetric about


def _panned(mono: Mono, side: Side, rng: np.random.Generator) -> Stereo:
    """Constant power; the centre is the same in both channels."""
    if side == "centre":
        return np.stack((mono, mono)) * np.float32(np.sqrt(0.5))
    angle = np.arctan(10 ** (-between(rng, *SIDE_DECIBELS) / 20))
    loud, soft = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return np.stack((loud * mono, soft * mono) if side == "left" else (soft * mono, loud * mono))


def _widened(mono: Mono, rng: np.random.Generator) -> Stereo:
    """A narrow image: a filtered copy, added on the left and subtracted on the right.

    The antisymmetric filter shifts every frequency by a quarter cycle, so that |1 + jh| = |1 - jh|:
    both channels stay equally loud however narrow the sound is.
    """
    random = white(_WIDTH_TAPS, rng) * np.hanning(_WIDTH_TAPS).astype(np.float32)
    smear = random - random[::-1]
    smear /= np.sqrt(np.sum(smear**2))
    wide = np.float32(_WIDTH) * signal.oaconvolve(mono, smear, mode="same").astype(np.float32)
    return np.stack((mono + wide, mono - wide)) * np.float32(np.sqrt(0.5))


def _one_sound(sound: Attributes, seconds: float, rng: np.random.Generator) -> Stereo:
    """(2, samples) at peak 1."""
    declared = find_class(sound.sound)
    mono = declared.synth(replace(sound, seconds=seconds), rng)
    mono = faded(mono, 0.0, _END_FADE)
    if declared.wide and sound.side == "centre":
        stereo = _widened(mono, rng)
    else:
        stereo = _panned(mono, sound.side, rng)
    return stereo / np.float32(np.max(np.abs(stereo)) + 1e-9)


def render(sound: Attributes, rng: np.random.Generator) -> Stereo:
    """Render completed attributes as float32 (2, samples) with a peak in :data:`PEAK`."""
    count = sample_count(sound.seconds)
    audio = np.zeros((2, count), dtype=np.float32)
    first = _one_sound(sound, sound.own_seconds, rng)[:, :count]
    audio[:, : first.shape[1]] += first
    if sound.second is not None:
        other = _one_sound(sound.second, sound.second.seconds, rng)
        at = sample_count(sound.own_seconds) if sound.joined == "then" else 0
        length = min(other.shape[1], count - at)
        audio[:, at : at + length] += np.float32(between(rng, 0.7, 1.0)) * other[:, :length]
    peak = np.float32(between(rng, *PEAK))
    result: Stereo = audio * (peak / (np.max(np.abs(audio)) + np.float32(1e-9)))
    return result


def synthesize_with(attributes: Attributes, rng: np.random.Generator) -> CaptionedSound:
    """Synthesize a sound of the given words; numbers that are None are chosen at random.

    Raises:
        InputError: a word does not apply to the class.
    """
    complete = completed(attributes, rng)
    text = caption(complete, rng)
    return CaptionedSound(render(complete, rng), text, complete, complete.seconds)


def synthesize(seed: int, seconds: float | None = None) -> CaptionedSound:
    """Synthesize the sound of a seed, the same on every run; ``seconds`` is random by default.

    Raises:
        InputError: ``seconds`` is out of range.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    return synthesize_with(choose(rng, seconds), rng)


def corpus(count: int, seed: int) -> list[str]:
    """Return captions without their sounds, for a vocabulary."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return [caption(choose(rng), rng) for _ in range(count)]
