"""Training by the clock: as many steps as fit, rates that come down as the time runs out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from arcmobile.posttrain.arc.trainer import ArcBatch
from arcmobile.posttrain.gpu_run.resident_data import ResidentLatents
from arcmobile.posttrain.gpu_run.results import RunRecord
from arcmobile.runtime.errors import ArcMobileError, InputError

_REPORT_SECONDS = 2.0
_TAKE_IN_SECONDS = 2.0
_FEWEST_SOUNDS = 2
_LEAST_BATCH = 8


class TrainingFailed(ArcMobileError):
    """A training that came to nothing, in one line."""


class Trainer(Protocol):
    """What is needed of a training; ``step`` counts the batches seen."""

    step: int

    def train_step(self, batch: ArcBatch) -> dict[str, Tensor]: ...


_Trainer = TypeVar("_Trainer", bound=Trainer)


@dataclass
class Clock:
    """A share of the time, which begins when :meth:`start` is called and ends at ``end``."""

    end: float
    begun: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, seconds: float) -> Clock:
        return cls(time.monotonic() + seconds)

    def start(self) -> None:
        """Rates come down from here on: compiling before it is not training."""
        self.begun = time.monotonic()

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    @property
    def progress(self) -> float:
        """0 at the start, 1 at the end and behind it."""
        span = max(1e-3, self.end - self.begun)
        return min(1.0, max(0.0, (time.monotonic() - self.begun) / span))


def falling(
    clock: Clock, *, last: float, level: float = 0.0, warmup: int = 0
) -> Callable[[int], float]:
    """A schedule: up in ``warmup`` steps, full rate for the share ``level``, then down to ``last``.

    How far down is read from the clock, not from the step.
    """

    def rate(step: int) -> float:
        rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
        down = max(0.0, (clock.progress - level) / (1 - level))
        return rising * (1 - (1 - last) * down)

    return rate


def begun(
    make: Callable[[bool], _Trainer],
    data: ResidentLatents,
    batch: int,
    record: RunRecord,
    *,
    compiled: bool,
    seed: int,
) -> tuple[_Trainer, int]:
    """A trainer whose first step has been taken, and its batch.

    Where compiling fails it does without, where memory does not suffice it halves the batch; both
    are noted.

    Args:
        make: a new trainer, compiled or not.
        batch: to begin with.

    Raises:
        TrainingFailed: nothing of this helps.
    """
    while batch >= min(_LEAST_BATCH, batch):
        try:
            trainer = make(compiled)
            random = torch.Generator(_device(trainer)).manual_seed(seed)
            report = trainer.train_step(data.batch(batch, random))
            values = {name: float(value) for name, value in report.items()}
        except torch.OutOfMemoryError:
            record.note(f"batch {batch}: out of memory, half of it then")
            if batch <= _LEAST_BATCH:
                break
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
    raise TrainingFailed("no batch fits into the memory")


def _device(trainer: Trainer) -> torch.device:
    device: torch.device = getattr(trainer, "device", torch.device("cpu"))
    return device


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
    """Steps until the clock is over, or until ``most_steps``; returns the last losses reported.

    Args:
        name: of the training, in metrics.
        between: called with the progress a few times a second, between two steps.

    Raises:
        TrainingFailed: a loss is not finite.
    """
    random = torch.Generator(_device(trainer)).manual_seed(seed)
    losses: dict[str, list[Tensor]] = {}
    means: dict[str, float] = {}
    begin = reported = looked = time.monotonic()
    step_then = trainer.step
    while True:
        for key, value in trainer.train_step(data.batch(batch, random)).items():
            losses.setdefault(key, []).append(value)
        now = time.monotonic()
        progress = max(clock.progress, trainer.step / most_steps if most_steps else 0.0)
        over = progress >= 1
        if over or now - looked >= _TAKE_IN_SECONDS:
            data.take_in()
            looked = now
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
    """Waits until there is enough to train on.

    Raises:
        InputError: the clock is over and there is nothing.
    """
    begin = time.monotonic()
    while data.take_in() < fewest and clock.left > 0:
        time.sleep(0.2)
    if data.count < _FEWEST_SOUNDS:
        raise InputError(f"no sounds to train on after {time.monotonic() - begin:.0f} s")
    record.note(f"training begins with {data.count} sounds ({time.monotonic() - begin:.1f} s)")
