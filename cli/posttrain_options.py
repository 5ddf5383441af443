"""Options of the trainings of `arcmobile posttrain`: made from their settings, or shared."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from arcmobile.posttrain.training.settings import Setting
from arcmobile.runtime.bounds import THREADS
from arcmobile.runtime.errors import InputError

Out = Annotated[Path, typer.Option(help="Folder of this training.")]
Hours = Annotated[float, typer.Option(min=0, help="Longest time to train for.")]
Threads = Annotated[int, typer.Option(min=1, max=THREADS, help="Threads of PyTorch.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Resume = Annotated[bool, typer.Option(help="Go on from the state in the folder.")]
Compiled = Annotated[
    bool, typer.Option("--compile/--no-compile", help="Faster; needs a C++ compiler.")
]
Changes = dict[str, Any]
"""Settings given on the command line, by name; the others keep their defaults or, with --resume,
the values of the state."""

_SECONDS_PER_HOUR = 3600.0


def with_settings(settings: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every setting that has a help text.

    The command takes the settings that were given as its first argument ``changes``
    (:data:`Changes`); all its other parameters are options of its own.
    """
    kinds = get_type_hints(settings)
    declared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=Annotated[
                kinds[field.name], _option(Setting.of(field), type(field.default))
            ],
        )
        for field in fields(settings)
        if Setting.of(field).help
    ]

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(context: typer.Context, **options: Any) -> None:
            values = {option.name: options.pop(option.name) for option in declared}
            changes = {name: value for name, value in values.items() if _is_given(context, name)}
            command(changes, **options)

        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        context = inspect.Parameter(
            "context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context
        )
        keywords = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in own]
        parameters = [context, *keywords, *declared]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del run.__wrapped__
        return run

    return wrap


def _option(declared: Setting, kind: type) -> Any:
    names = [declared.option] if declared.option else []
    if kind not in (int, float):
        return typer.Option(*names, help=declared.help)
    least, most = declared.least, declared.most
    if kind is int:
        least, most = (None if bound is None else int(bound) for bound in (least, most))
    return typer.Option(*names, min=least, max=most, help=declared.help)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def seconds_of(hours: float) -> float:
    """Return the seconds of --hours.

    Raises:
        InputError: it is NaN, which typer lets pass.
    """
    if math.isnan(hours):
        raise InputError("--hours nan: give a number, e.g. 2")
    return hours * _SECONDS_PER_HOUR


def use_device(device: str, threads: int) -> None:
    """Set the number of PyTorch's threads and check the device.

    Raises:
        InputError: the device is unknown, or PyTorch cannot use it here.
    """
    import torch

    torch.set_num_threads(threads)
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise InputError(f"--device {device}: give cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"--device {device}: PyTorch finds no GPU here; leave it out")
