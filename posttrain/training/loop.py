"""The loop around a trainer's steps: progress, metrics, saved states, and how it is ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from arcmobile.posttrain.latents.folder_writer import only_writer
from arcmobile.posttrain.training.divergence import Losses, Probe, Watch
from arcmobile.posttrain.training.state import append_metrics, write_tensors
from arcmobile.posttrain.training.stop_request import stop_request
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


def remove_stop_file(out: Path) -> None:
    """Takes an old STOP away; raises OutputError where that fails."""
    try:
        (out / STOP).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"--out {out}: cannot be written ({error.strerror})") from error


def run_training(
    trainer: Trainer,
    out: Path,
    *,
    name: str,
    train_step: Callable[[], Losses],
    judge: Callable[[], None],
    steps: int,
    seconds: float,
    watched: str,
    probe: Probe | None = None,
    advice: str = "use a lower learning rate",
    rhythm: Rhythm | None = None,
) -> None:
    """Trains until ``steps``, for ``seconds``, or until a file STOP; saves and judges then.

    Ctrl-C, SIGTERM and SIGHUP end it after the running step, with a state to resume from but
    without a judgement; a second one ends it at once.

    Args:
        out: folder of the state and the metrics.
        name: in front of the progress bar, with the loss ``watched``.
        train_step: one step; returns its losses.
        judge: writes what the training is for: weights, figures, plots.
        probe: see :class:`Watch`.
        advice: what to do about a divergence.

    Raises:
        OutputError: the folder cannot be written, or another process writes it.
        TrainingError: the training diverged; the last sound state is left, and no newer one.
        KeyboardInterrupt: a signal ended it; the state is saved.
    """
    rhythm = rhythm or Rhythm()
    end = time.monotonic() + seconds
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    began = trainer.step or None  # a resumed training's state is that of its step
    watch = Watch(name, out, main=watched, advice=advice, probe=probe, saved=began)
    with (
        only_writer(out),
        Progress(*columns, TimeRemainingColumn()) as progress,
        stop_request() as stop,
    ):
        remove_stop_file(out)
        task = progress.add_task(name, total=steps, completed=trainer.step)
        losses: dict[str, list[float | Tensor]] = {}
        since, reported = time.monotonic(), trainer.step

        def save_sound() -> None:
            if watch.saved != trainer.step:
                watch.check(trainer.step, losses)
                save(trainer, out, watch)

        def judge_saved() -> None:
            save_sound()  # what is written for others is never ahead of a sound state
            with stop.at_once():
                judge()

        while trainer.step < steps and time.monotonic() < end and not stop.asked:
            latest = train_step()
            watch.check_new(trainer.step, latest)
            for key, value in latest.items():
                losses.setdefault(key, []).append(value)
            if trainer.step % rhythm.report_every == 0:
                watch.check(trainer.step, losses)
                means = {key: mean_of(values) for key, values in losses.items()}
                pace = (time.monotonic() - since) / (trainer.step - reported)
                row = {"step": trainer.step, **means, "seconds_per_step": round(pace, 3)}
                append_metrics(out / METRICS, row)
                if watched in means:
                    text = f"{name} {watched} {means[watched]:.3f}"
                    progress.update(task, description=text)
                losses, since, reported = {}, time.monotonic(), trainer.step
            if trainer.step % rhythm.save_every == 0:
                save_sound()
            if trainer.step % rhythm.judge_every == 0 and not stop.asked:
                judge_saved()
            progress.update(task, completed=trainer.step)
            if (out / STOP).exists():
                break
        if stop.asked:
            save_sound()
            progress.console.print(f"stopped at step {trainer.step}; go on with --resume")
            raise KeyboardInterrupt
        judge_saved()


def mean_of(values: Sequence[float | Tensor]) -> float:
    """The mean of losses of several steps, to five decimals."""
    return round(float(np.mean([float(value) for value in values])), 5)


def save(trainer: Trainer, out: Path, watch: Watch | None = None) -> None:
    """Writes the state, as a whole or not at all; with a ``watch``, only one that is sound."""
    tensors, header = trainer.state()
    if watch is not None:
        watch.check_state(trainer.step, tensors)
    write_tensors(out / STATE, tensors, header)
    if watch is not None:
        watch.saved = trainer.step
