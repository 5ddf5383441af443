"""The loop around a trainer's steps: progress, metrics, saved states, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from arcmobile.posttrain.training.divergence import DivergenceCheck, Losses, Probe
from arcmobile.posttrain.training.folder_lock import only_writer
from arcmobile.posttrain.training.metrics import METRICS, append_metrics
from arcmobile.posttrain.training.state import STATE, write_tensors
from arcmobile.posttrain.training.stop_request import stop_request
from arcmobile.runtime.errors import OutputError

STOP = "STOP"


class Trainer(Protocol):
    """What the loop needs of a training; ``step`` counts the batches seen."""

    step: int

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return (tensors, JSON header) from which training goes on exactly."""


@dataclass(frozen=True)
class Intervals:
    """Steps between two reports, saved states, and evaluations."""

    report: int = 20
    save: int = 200
    evaluate: int = 500


def remove_stop_file(out: Path) -> None:
    """Remove the STOP file that ended an earlier run.

    Raises:
        OutputError: it cannot be removed.
    """
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
    evaluate: Callable[[], None],
    steps: int,
    seconds: float,
    watched: str,
    probe: Probe | None = None,
    advice: str = "use a lower learning rate",
    intervals: Intervals | None = None,
) -> None:
    """Train until ``steps``, for ``seconds``, or until a file STOP; then save and evaluate.

    Ctrl-C, SIGTERM and SIGHUP end it after the running step, with a state to resume from but
    without an evaluation; a second one ends it at once.

    Args:
        trainer: its step count says where the training starts.
        out: folder of the state and the metrics.
        name: of the training, in messages and before the progress bar.
        train_step: takes one step; returns its losses.
        evaluate: writes what the training is for: weights, figures, plots.
        steps: last step.
        seconds: longest time.
        watched: loss that is shown, and whose size is checked.
        probe: see :class:`DivergenceCheck`.
        advice: what to do about a divergence.
        intervals: how often to write.

    Raises:
        OutputError: the folder cannot be written, or another process writes it.
        TrainingError: the training diverged; the last state before is left.
        KeyboardInterrupt: a signal ended it; the state is saved.
    """
    intervals = intervals or Intervals()
    end = time.monotonic() + seconds
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    began = trainer.step or None  # a resumed training has a state of its step
    check = DivergenceCheck(name, out, main=watched, advice=advice, probe=probe, saved=began)
    with (
        only_writer(out),
        Progress(*columns, TimeRemainingColumn()) as progress,
        stop_request() as stop,
    ):
        remove_stop_file(out)
        task = progress.add_task(name, total=steps, completed=trainer.step)
        losses: dict[str, list[float | Tensor]] = {}
        since, reported = time.monotonic(), trainer.step

        def save_checked() -> None:
            if check.saved == trainer.step:
                return
            check.losses(trainer.step, losses)
            tensors, header = trainer.state()
            check.state(trainer.step, tensors)
            write_tensors(out / STATE, tensors, header)
            check.saved = trainer.step

        def save_and_evaluate() -> None:
            save_checked()  # results are never ahead of a saved state
            with stop.at_once():
                evaluate()

        while trainer.step < steps and time.monotonic() < end and not stop.requested:
            latest = train_step()
            check.new_losses(trainer.step, latest)
            for key, value in latest.items():
                losses.setdefault(key, []).append(value)
            if trainer.step % intervals.report == 0:
                check.losses(trainer.step, losses)
                means = {key: mean_of(values) for key, values in losses.items()}
                pace = (time.monotonic() - since) / (trainer.step - reported)
                row = {"step": trainer.step, **means, "seconds_per_step": round(pace, 3)}
                append_metrics(out / METRICS, row)
                if watched in means:
                    text = f"{name} {watched} {means[watched]:.3f}"
                    progress.update(task, description=text)
                losses, since, reported = {}, time.monotonic(), trainer.step
            if trainer.step % intervals.save == 0:
                save_checked()
            if trainer.step % intervals.evaluate == 0 and not stop.requested:
                save_and_evaluate()
            progress.update(task, completed=trainer.step)
            if (out / STOP).exists():
                break
        if stop.requested:
            save_checked()
            progress.console.print(f"stopped at step {trainer.step}; go on with --resume")
            raise KeyboardInterrupt
        save_and_evaluate()


def mean_of(values: Sequence[float | Tensor]) -> float:
    """Return the mean of losses of several steps, to five decimals."""
    return round(float(np.mean([float(value) for value in values])), 5)
