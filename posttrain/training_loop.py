"""The loop around a trainer's steps: progress, metrics, saved states, and how it is ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from arcmobile.posttrain.training_state import append_metrics, write_tensors
from arcmobile.runtime.errors import OutputError

STATE, METRICS, STOP = "state.safetensors", "metrics.jsonl", "STOP"


class Trainer(Protocol):
    """What the loop needs of a training; ``step`` counts the batches seen."""

    step: int

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, JSON header) from which training goes on exactly."""


@dataclass(frozen=True)
class Rhythm:
    """How often a training writes, in steps."""

    report_every: int = 20
    save_every: int = 200
    judge_every: int = 500


def prepare_folder(out: Path) -> None:
    """Makes the folder and takes an old STOP away; raises OutputError where that fails."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / STOP).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"--out {out}: cannot be written ({error.strerror})") from error


def run_training(
    trainer: Trainer,
    out: Path,
    *,
    name: str,
    train_step: Callable[[], Mapping[str, float]],
    judge: Callable[[], None],
    steps: int,
    seconds: float,
    watched: str,
    rhythm: Rhythm | None = None,
) -> None:
    """Trains until ``steps``, for ``seconds``, or until a file STOP; saves and judges then.

    Ctrl-C ends it as STOP does.

    Args:
        out: folder of the state and the metrics.
        name: in front of the progress bar, with the loss ``watched``.
        train_step: one step; returns its losses.
        judge: writes what the training is for: weights, figures, plots.

    Raises OutputError where the folder cannot be written.
    """
    rhythm = rhythm or Rhythm()
    prepare_folder(out)
    end = time.monotonic() + seconds
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task(name, total=steps, completed=trainer.step)
        losses: dict[str, list[float]] = {}
        since, reported = time.monotonic(), trainer.step
        try:
            while trainer.step < steps and time.monotonic() < end:
                for key, value in train_step().items():
                    losses.setdefault(key, []).append(value)
                if trainer.step % rhythm.report_every == 0:
                    means = {key: round(float(np.mean(v)), 5) for key, v in losses.items()}
                    pace = (time.monotonic() - since) / (trainer.step - reported)
                    row = {"step": trainer.step, **means, "seconds_per_step": round(pace, 3)}
                    append_metrics(out / METRICS, row)
                    if watched in means:
                        text = f"{name} {watched} {means[watched]:.3f}"
                        progress.update(task, description=text)
                    losses, since, reported = {}, time.monotonic(), trainer.step
                if trainer.step % rhythm.save_every == 0:
                    save(trainer, out)
                if trainer.step % rhythm.judge_every == 0:
                    judge()
                progress.update(task, completed=trainer.step)
                if (out / STOP).exists():
                    break
        except KeyboardInterrupt:
            progress.console.print("stopped; go on with --resume")
    save(trainer, out)
    judge()


def save(trainer: Trainer, out: Path) -> None:
    """Writes the state, as a whole or not at all."""
    write_tensors(out / STATE, *trainer.state())
