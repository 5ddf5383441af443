"""Measurements and profiles as they are read from files: bounded, strict, refused in one line."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from arcmobile.runtime.errors import InputError
from arcmobile.runtime.strict_json import parse_json

MOST_BYTES: Final = 1 << 26
_MOST_LEVELS: Final = 32
_LONGEST_REASON: Final = 200
_TOML: Final = ".toml"

# Wider than anything that can be measured, and narrow enough to be added, divided and drawn.
Quantity = Annotated[float, Field(ge=0, le=1e15)]
"""Seconds or bytes."""
AnyFigure = Annotated[float, Field(ge=-1e15, le=1e15)]
Duration = Annotated[float, Field(ge=1e-6, le=1e9)]
"""Seconds of a sound, which figures are divided by."""
Count = Annotated[int, Field(ge=0, le=1 << 62)]
Positive = Annotated[int, Field(ge=1, le=1 << 62)]

T = TypeVar("T")


class Record(BaseModel):
    """A part of a file: frozen, and strict about its fields and numbers."""

    # NaN and infinity are not JSON and mean a broken measurement.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def read_record(path: Path, adapter: TypeAdapter[T], *, what: str, way_out: str) -> T:
    """Read the record in a JSON file.

    Args:
        path: the file.
        adapter: the type of the record.
        what: what the file should be, e.g. ``a result of `arcmobile bench```.
        way_out: what to do about a file that is something else.

    Raises:
        InputError: the file cannot be read, is not JSON, or a field is missing or wrong.
    """
    try:
        return parse_record(read_bounded(path, what=what), adapter)
    except ValueError as error:
        raise InputError(f"{path}: not {what} ({error}); {way_out}") from error


def read_bounded(path: Path, *, what: str) -> bytes:
    """Read a file, up to one byte over :data:`MOST_BYTES`.

    Raises:
        InputError: it cannot be read; the message says ``what`` to name instead.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is not a file; name {what}")
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def parse_record(data: bytes | str, adapter: TypeAdapter[T], *, strict: bool | None = None) -> T:
    """Parse a record from JSON text.

    Raises:
        ValueError: the text is anything else; one line that names the field.
    """
    # Read twice: pydantic takes the last of two equal keys, and knows strings of JSON better.
    parse_json(data, most_bytes=MOST_BYTES, most_levels=_MOST_LEVELS)
    try:
        return adapter.validate_json(data, strict=strict)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


def first_problem(error: ValidationError) -> str:
    """Return the first problem of an invalid record in one line that names the field."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the file"
    return " ".join(f"{where[:_LONGEST_REASON]}: {first['msg'][:_LONGEST_REASON]}".split())


def packaged_names(folder: str) -> tuple[str, ...]:
    """Return the names of the TOML files in a folder of this package, sorted."""
    files = (item.name for item in (resources.files("arcmobile.bench") / folder).iterdir())
    return tuple(sorted(name.removesuffix(_TOML) for name in files if name.endswith(_TOML)))


def packaged_toml(name: str) -> dict[str, Any]:
    """Return what a TOML file of this package holds; ``name`` without its suffix."""
    file = resources.files("arcmobile.bench") / f"{name}{_TOML}"
    return tomllib.loads(file.read_text(encoding="utf-8"))
