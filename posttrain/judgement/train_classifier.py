"""Trains the classifier of sounds: ``python -m arcmobile.posttrain.judgement.train_classifier``.

Some minutes of one core. Draws as many sounds of every class, keeps their log-mel bands, and
disturbs them anew in every epoch (:func:`.sound_classifier.disturbed`). The file that is written
carries its accuracy on held-out sounds, plain and disturbed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from arcmobile.posttrain.autoencoder_crops import HELD_OUT_SEED
from arcmobile.posttrain.judgement.held_out_prompts import drawn_sound, held_out_prompts
from arcmobile.posttrain.judgement.sound_classifier import (
    NAMES,
    STORED,
    SoundClassifier,
    clip_bands,
    disturbed,
    stored_tensors,
)
from arcmobile.posttrain.sounds import CLASSES
from arcmobile.posttrain.sounds.attributes import DRAWN_SECONDS
from arcmobile.posttrain.sounds.choosing import choose_one
from arcmobile.posttrain.sounds.drawing import draw_with
from arcmobile.posttrain.training_state import write_tensors
from arcmobile.runtime.errors import ArcMobileError

_FIRST_SEED = 3 * HELD_OUT_SEED
_WEIGHT_DECAY = 1e-2
_HELD_OUT_SET = 1000  # of prompts; evaluations take low numbers
_WORST_PAIRS = 8


@dataclass(frozen=True)
class ClassifierSettings:
    """``sounds`` of each class are drawn; ``rate`` is the highest of a one-cycle schedule."""

    sounds: int = 120
    epochs: int = 10
    batch: int = 32
    rate: float = 4e-3
    held_out: int = 20
    seed: int = 0


@dataclass(frozen=True)
class Accuracy:
    """Shares right on held-out sounds, plain and disturbed; the pairs confused most often."""

    plain: float
    disturbed: float
    worst_pairs: Sequence[tuple[str, str, int]]


def drawn_bands(settings: ClassifierSettings) -> tuple[Tensor, Tensor]:
    """Bands (N, BANDS, FRAMES) in float16 of single sounds to train on, and their classes (N,)."""
    clips, labels = [], []
    numbers = range(settings.sounds * len(NAMES))
    for number in track(numbers, description="drawing", transient=True):
        rng = np.random.Generator(np.random.PCG64([_FIRST_SEED, settings.seed, number]))
        declared = CLASSES[NAMES[number % len(NAMES)]]
        shortest = max(DRAWN_SECONDS[0], declared.minimum_seconds)
        seconds = round(float(rng.uniform(shortest, DRAWN_SECONDS[1])), 2)
        sound = draw_with(choose_one(declared, seconds, rng), rng)
        clips.append(clip_bands(sound.audio).half())
        labels.append(number % len(NAMES))
    return torch.stack(clips), torch.tensor(labels)


def train(settings: ClassifierSettings) -> SoundClassifier:
    """A trained classifier, the same for the same settings on one kind of machine."""
    clips, labels = drawn_bands(settings)
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
            bands = disturbed(clips[chosen].float(), random)
            loss = functional.cross_entropy(network(bands), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def accuracy(network: SoundClassifier, settings: ClassifierSettings) -> Accuracy:
    """On held-out sounds, ``settings.held_out`` of every class."""
    prompts = held_out_prompts(settings.held_out * len(NAMES), _HELD_OUT_SET)
    truth = torch.tensor([NAMES.index(prompt.attributes.sound) for prompt in prompts])
    bands = torch.stack([clip_bands(drawn_sound(prompt)) for prompt in prompts])
    with torch.inference_mode():
        plain = network(bands).argmax(1)
        other = network(disturbed(bands, torch.Generator().manual_seed(1))).argmax(1)
    wrong = [
        (NAMES[int(said)], NAMES[int(heard)])
        for guesses in (plain, other)
        for said, heard in zip(truth, guesses, strict=True)
        if said != heard
    ]
    pairs = [(a, b, times) for (a, b), times in Counter(wrong).most_common(_WORST_PAIRS)]
    shares = [float((guesses == truth).float().mean()) for guesses in (plain, other)]
    return Accuracy(shares[0], shares[1], pairs)


app = typer.Typer(add_completion=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="File to write.")] = STORED,
    sounds: Annotated[
        int, typer.Option(min=2, help="Drawn sounds of every class.")
    ] = ClassifierSettings.sounds,
    epochs: Annotated[int, typer.Option(min=1)] = ClassifierSettings.epochs,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Train the classifier that judges generated sounds; prints its accuracy."""
    torch.set_num_threads(threads)
    settings = ClassifierSettings(sounds=sounds, epochs=epochs, seed=seed)
    network = train(settings)
    figures = accuracy(network, settings)
    tensors = stored_tensors(network)
    try:
        header = {"classes": NAMES, "settings": asdict(settings), "accuracy": asdict(figures)}
        write_tensors(out, tensors, header)
    except ArcMobileError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo(
        f"{out}: {out.stat().st_size / 1e3:.0f} kB; held-out sounds right: "
        f"{figures.plain:.1%} plain, {figures.disturbed:.1%} disturbed"
    )
    for said, heard, times in figures.worst_pairs:
        typer.echo(f"  {said} taken for {heard}: {times}")


if __name__ == "__main__":
    app()
