"""Trains the classifier of sounds, in some minutes of one core.

Synthesizes the same number of sounds of every class, keeps their log-mel bands, and augments them
anew in every epoch (:func:`.sound_classifier.augmented`). The file that is written carries its
accuracy on held-out sounds, plain and augmented.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from arcmobile.posttrain.autoencoder.crops import HELD_OUT_SEED
from arcmobile.posttrain.judgement.held_out_prompts import held_out_prompts, reference_sound
from arcmobile.posttrain.judgement.sound_classifier import (
    NAMES,
    SoundClassifier,
    augmented,
    clip_bands,
    stored_tensors,
)
from arcmobile.posttrain.sounds import CLASSES
from arcmobile.posttrain.sounds.attributes import DEFAULT_SECONDS
from arcmobile.posttrain.sounds.choosing import choose_one
from arcmobile.posttrain.sounds.rendering import synthesize_with
from arcmobile.posttrain.training.settings import ClassifierSettings
from arcmobile.posttrain.training.state import write_tensors
from arcmobile.runtime.errors import TrainingError

_FIRST_SEED = 3 * HELD_OUT_SEED
_WEIGHT_DECAY = 1e-2
_HELD_OUT_SET = 1000  # of prompts; evaluations take low numbers
_WORST_PAIRS = 8


@dataclass(frozen=True)
class Accuracy:
    """Accuracy on held-out sounds.

    Attributes:
        plain: share right.
        augmented: share right after augmentation.
        worst_pairs: classes confused most often: truth, guess, and how often.
    """

    plain: float
    augmented: float
    worst_pairs: Sequence[tuple[str, str, int]]


def training_bands(settings: ClassifierSettings) -> tuple[Tensor, Tensor]:
    """Return bands (N, BANDS, FRAMES) float16 of sounds to train on, and their classes (N,)."""
    clips, labels = [], []
    numbers = range(settings.sounds * len(NAMES))
    for number in track(numbers, description="synthesizing", transient=True):
        rng = np.random.Generator(np.random.PCG64([_FIRST_SEED, settings.seed, number]))
        declared = CLASSES[NAMES[number % len(NAMES)]]
        shortest = max(DEFAULT_SECONDS[0], declared.minimum_seconds)
        seconds = round(float(rng.uniform(shortest, DEFAULT_SECONDS[1])), 2)
        sound = synthesize_with(choose_one(declared, seconds, rng), rng)
        clips.append(clip_bands(sound.audio).half())
        labels.append(number % len(NAMES))
    return torch.stack(clips), torch.tensor(labels)


def train(settings: ClassifierSettings) -> SoundClassifier:
    """Train a classifier; the same settings give the same one on one kind of machine.

    Raises:
        TrainingError: a loss is not finite.
    """
    clips, labels = training_bands(settings)
    torch.manual_seed(settings.seed)
    random = torch.Generator().manual_seed(settings.seed)
    network = SoundClassifier().train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=_WEIGHT_DECAY)
    batches = len(clips) // settings.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.rate, total_steps=batches * settings.epochs
    )
    for _ in track(range(settings.epochs), description="training", transient=True):
        order = torch.randperm(len(clips), generator=random)
        for step in range(batches):
            chosen = order[step * settings.batch : (step + 1) * settings.batch]
            bands = augmented(clips[chosen].float(), random)
            loss = functional.cross_entropy(network(bands), labels[chosen], label_smoothing=0.05)
            if not math.isfinite(loss.item()):
                raise TrainingError(
                    f"the classifier diverged (loss {loss.item()}); nothing was written, choose "
                    "another --seed"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def accuracy(network: SoundClassifier, settings: ClassifierSettings) -> Accuracy:
    """Measure the accuracy on held-out sounds, ``settings.held_out`` of every class."""
    prompts = held_out_prompts(settings.held_out * len(NAMES), _HELD_OUT_SET)
    truth = torch.tensor([NAMES.index(prompt.attributes.sound) for prompt in prompts])
    bands = torch.stack([clip_bands(reference_sound(prompt)) for prompt in prompts])
    with torch.inference_mode():
        plain = network(bands).argmax(1)
        other = network(augmented(bands, torch.Generator().manual_seed(1))).argmax(1)
    wrong = [
        (NAMES[int(label)], NAMES[int(guess)])
        for guesses in (plain, other)
        for label, guess in zip(truth, guesses, strict=True)
        if label != guess
    ]
    pairs = [(a, b, times) for (a, b), times in Counter(wrong).most_common(_WORST_PAIRS)]
    shares = [float((guesses == truth).float().mean()) for guesses in (plain, other)]
    return Accuracy(shares[0], shares[1], pairs)


def write_classifier(out: Path, network: SoundClassifier, settings: ClassifierSettings) -> Accuracy:
    """Write the classifier with its accuracy; raise OutputError if that fails."""
    found = accuracy(network, settings)
    header = {"classes": NAMES, "settings": asdict(settings), "accuracy": asdict(found)}
    write_tensors(out, stored_tensors(network), header)
    return found
