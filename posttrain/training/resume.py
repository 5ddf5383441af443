"""Starts a training in a new folder, or goes on from the state in its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from arcmobile.posttrain.training.metrics import METRICS, keep_metrics_until
from arcmobile.posttrain.training.state import STATE, read_tensors
from arcmobile.posttrain.training.trainer import StatefulTrainer
from arcmobile.runtime.errors import CheckpointError, InputError, one_line

_Trainer = TypeVar("_Trainer", bound=StatefulTrainer)
_Settings = TypeVar("_Settings")


def start_or_resume(
    out: Path,
    settings: type[_Settings],
    changes: Mapping[str, Any],
    make: Callable[[_Settings], _Trainer],
    *,
    resume: bool,
) -> _Trainer:
    """Return the trainer of a training in the folder ``out``.

    Args:
        out: the training's folder.
        settings: class of its settings.
        changes: settings that differ from their defaults or, when resuming, from the state's.
        make: builds a trainer from settings.
        resume: go on from the state in ``out``.

    Raises:
        InputError: there is no state to resume, there is one already, or a setting is wrong.
        CheckpointError: the state is damaged, or of another model or version.
    """
    path = out / STATE
    if resume:
        return resumed(out, settings, changes, make)
    if path.exists():
        raise InputError(f"--out {out}: holds a training; add --resume or remove it")
    return make(settings(**changes))


def resumed(
    out: Path,
    settings: type[_Settings],
    changes: Mapping[str, Any],
    make: Callable[[_Settings], _Trainer],
) -> _Trainer:
    """Return the trainer of the state in a folder, its settings those of the state but ``changes``.

    Arguments and errors are those of :func:`start_or_resume`.

    Raises:
        InputError: there is no state to resume, or a setting is wrong.
        CheckpointError: the state is damaged, or of another model or version.
    """
    path = out / STATE
    if not path.is_file():
        raise InputError(f"--resume: {out} holds no {STATE}; start without it")
    tensors, header = read_tensors(path)
    try:
        trainer = make(settings(**{**header["settings"], **changes}))
        trainer.restore(tensors, header)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = one_line(error)
        raise CheckpointError(
            f"{path}: of another model or version ({reason}); choose another --out"
        ) from error
    keep_metrics_until(out / METRICS, trainer.step)
    return trainer
