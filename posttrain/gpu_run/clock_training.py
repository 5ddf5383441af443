"""Training by the clock: as many steps as fit, rates that fall as the time runs out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from arcmobile.posttrain.flow.batches import GeneratorBatch
from arcmobile.posttrain.gpu_run.resident_data import ResidentLatents
from arcmobile.posttrain.gpu_run.results import RunRecord
from arcmobile.posttrain.training.settings import warm_up
from arcmobile.runtime.errors import ArcMobileError, InputError

_REPORT_SECONDS = 2.0
_LOAD_SECONDS = 2.0
_FEWEST_SOUNDS = 2
_LEAST_BATCH = 8


class TrainingFailed(ArcMobileError):
    """A training failed; one line says why."""


class Trainer(Protocol):
    """What is needed of a training; ``step`` counts the batches seen."""

    step: int
    device: torch.device

    def train_step(self, batch: GeneratorBatch) -> dict[str, Tensor]:
        """Take one step; return its losses."""
        ...


_Trainer = TypeVar("_Trainer", bound=Trainer)


@dataclass
class Clock:
    """A share of the time.

    Attributes:
        end: when it is over, as :func:`time.monotonic` counts.
        begin: when it began: when the clock was made, or last started.
    """

    end: float
    begin: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, seconds: float) -> Clock:
        """Make a clock of so many seconds from now."""
        return cls(time.monotonic() + seconds)

    def start(self) -> None:
        """Begin now: compiling before it is not training."""
        self.begin = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.end - time.monotonic()

    @property
    def progress(self) -> float:
        """0 at the beginning, 1 from the end on."""
        span = max(1e-3, self.end - self.begin)
        return min(1.0, max(0.0, (time.monotonic() - self.begin) / span))


def falling(
    clock: Clock, *, last: float, level: float = 0.0, warmup: int = 0
) -> Callable[[int], float]:
    """Return a schedule of rates that fall with the clock.

    Up in ``warmup`` steps, full for the share ``level`` of the time, then down to ``last``.
    """

    def rate(step: int) -> float:
        down = max(0.0, (clock.progress - level) / (1 - level))
        return warm_up(step, warmup) * (1 - (1 - last) * down)

    return rate


def started(
    make: Callable[[bool], _Trainer],
    data: ResidentLatents,
    batch: int,
    record: RunRecord,
    *,
    compiled: bool,
    seed: int,
) -> tuple[_Trainer, int]:
    """Make a trainer and take its first step, with less than was asked for where that fails.

    Where compiling fails the trainer is not compiled; where memory runs out the batch is halved.
    Both are noted.

    Args:
        make: makes a trainer, compiled or not.
        data: what to train on.
        batch: size to begin with.
        record: takes the notes.
        compiled: try to compile.
        seed: of the batch.

    Returns:
        The trainer, and the size of its batches.

    Raises:
        TrainingFailed: the first step fails all the same.
        ArcMobileError: another error that the user can fix.
    """
    while True:
        try:
            trainer = make(compiled)
            random = torch.Generator(trainer.device).manual_seed(seed)
            report = trainer.train_step(data.batch(batch, random))
            values = {name: float(value) for name, value in report.items()}
        except torch.OutOfMemoryError:
            if batch <= _LEAST_BATCH:
                raise TrainingFailed("no batch fits into memory") from None
            record.note(f"batch {batch}: out of memory, trying half of it")
            batch //= 2
            torch.cuda.empty_cache()
        except ArcMobileError:
            raise
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "")
            if not compiled:
                raise TrainingFailed(f"first step: {type(error).__name__}: {reason}") from error
            record.note(f"not compiled: {type(error).__name__}: {reason}")
            compiled = False
            torch.compiler.reset()
        else:
            if not all(np.isfinite(value) for value in values.values()):
                raise TrainingFailed(f"first step: losses are not finite ({values})")
            return trainer, batch


def train_by_clock(
    name: str,
    trainer: Trainer,
    data: ResidentLatents,
    batch: int,
    clock: Clock,
    record: RunRecord,
    *,
    seed: int,
    most_steps: int = 0,
    between: Callable[[float], None] = lambda progress: None,
) -> dict[str, float]:
    """Train until the clock is over, or until ``most_steps``.

    Args:
        name: of the training, in metrics.
        trainer: what to train.
        data: what to train on; new sounds are loaded meanwhile.
        batch: sounds per step.
        clock: time to train for.
        record: takes the metrics.
        seed: of the batches.
        most_steps: last step; 0: no limit.
        between: called with the progress, 0 to 1, between two steps.

    Returns:
        The last losses reported.

    Raises:
        TrainingFailed: a loss is not finite.
    """
    random = torch.Generator(trainer.device).manual_seed(seed)
    losses: dict[str, list[Tensor]] = {}
    means: dict[str, float] = {}
    begin = reported = loaded = time.monotonic()
    step_then = trainer.step
    while True:
        for key, value in trainer.train_step(data.batch(batch, random)).items():
            losses.setdefault(key, []).append(value)
        now = time.monotonic()
        progress = max(clock.progress, trainer.step / most_steps if most_steps else 0.0)
        over = progress >= 1
        if over or now - loaded >= _LOAD_SECONDS:
            data.load_new()
            loaded = now
        if over or now - reported >= _REPORT_SECONDS:
            means = {key: round(float(torch.stack(v).mean()), 5) for key, v in losses.items()}
            now = time.monotonic()  # reading them waited for the device
            row: dict[str, Any] = {
                "step": trainer.step,
                "seconds": round(now - begin, 2),
                "sounds": data.count,
                "steps_per_second": round((trainer.step - step_then) / (now - reported), 2),
                **means,
            }
            record.metrics(name, row)
            _require_finite(name, means, trainer.step)
            losses, reported, step_then = {}, now, trainer.step
        between(progress)
        if over:
            return means


def _require_finite(name: str, means: Mapping[str, float], step: int) -> None:
    wrong = [key for key, value in means.items() if not np.isfinite(value)]
    if wrong:
        raise TrainingFailed(f"{name}: {wrong[0]} is not finite after step {step}")


def wait_for_sounds(data: ResidentLatents, fewest: int, clock: Clock, record: RunRecord) -> None:
    """Wait until there is enough to train on.

    Raises:
        InputError: the clock is over and there is nothing to train on.
    """
    begin = time.monotonic()
    while data.load_new() < fewest and clock.left > 0:
        time.sleep(0.2)
    if data.count < _FEWEST_SOUNDS:
        raise InputError(f"no sounds to train on after {time.monotonic() - begin:.0f} s")
    record.note(f"training begins with {data.count} sounds ({time.monotonic() - begin:.1f} s)")
