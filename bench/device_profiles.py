"""Device profiles: the peak rates of a CPU, one TOML file each in ``bench/devices``.

To add a device, add a file; its name is the profile's. Every figure has a source in the file;
figures without one are listed under ``assumed``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from arcmobile.bench.records import Record, first_problem, packaged_names, packaged_toml
from arcmobile.runtime.errors import InputError

# Kinds of multiply-accumulate instructions, by what sets their rate. ``int8_dot`` are SDOT and
# VPDPBUSD, ``int8_mmla`` is SMMLA; ``fp32`` and ``fp16`` are FMLA.
Instruction = Literal["fp32", "fp16", "int8_dot", "int8_mmla"]
Outer = Literal["fp32", "fp16", "int8"]

_FOLDER: Final = "devices"
_SUFFIX: Final = ".toml"
_Positive = Annotated[float, Field(ge=1e-6, le=1e9)]
_MOST_BYTES: Final = 1 << 20


class Cluster(Record):
    """Cores of one kind. ``macs_per_cycle`` is what one core issues at most, by instruction."""

    core: str
    count: int = Field(ge=1, le=4096)
    clock_ghz: _Positive
    macs_per_cycle: dict[Instruction, Annotated[int, Field(ge=1, le=1 << 20)]]
    bandwidth_gb_s: _Positive  # what one core draws from memory at most

    @model_validator(mode="after")
    def _computes_floats(self) -> Self:
        if "fp32" not in self.macs_per_cycle:
            raise ValueError(f"{self.core}: macs_per_cycle.fp32 is missing")
        return self


class MatrixUnit(Record):
    """Outer-product units (SME) that the cores share; the rates are of all of them together."""

    name: str
    gmacs: dict[Outer, _Positive]  # 10^9 multiply-accumulates per second


class Memory(Record):
    """``bandwidth_gb_s`` is that of the interface, ``cache_mb`` the last cache before it."""

    kind: str
    bandwidth_gb_s: _Positive
    cache_mb: _Positive


class DeviceProfile(Record):
    """One device.

    ``sustained_clock`` is the share of the stated clocks that remains after some seconds of load on
    all threads; ``clusters`` go from the fastest core to the slowest, the order in which threads
    are placed on them.
    """

    title: str
    year: int = Field(ge=2010, le=2100)
    chip: str
    features: tuple[str, ...]  # ISA extensions as Linux names them
    clusters: tuple[Cluster, ...] = Field(min_length=1, max_length=16)
    matrix_unit: MatrixUnit | None = None
    memory: Memory
    sustained_clock: float = Field(ge=0.01, le=1)
    default_threads: int = Field(ge=1)
    source: tuple[str, ...] = Field(min_length=1)
    assumed: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_the_threads(self) -> Self:
        if self.default_threads > self.cores:
            raise ValueError(f"default_threads {self.default_threads}, but {self.cores} cores")
        return self

    @property
    def cores(self) -> int:
        """Cores of all clusters."""
        return sum(cluster.count for cluster in self.clusters)

    def placed(self, threads: int) -> Iterator[Cluster]:
        """Yield the cluster of the core that each thread runs on, fastest first.

        Raises:
            InputError: the device has fewer cores.
        """
        if not 1 <= threads <= self.cores:
            raise InputError(f"--threads {threads}: {self.title} has {self.cores} cores")
        cores = [cluster for cluster in self.clusters for _ in range(cluster.count)]
        yield from cores[:threads]


@dataclass(frozen=True)
class NamedProfile:
    """A profile and what it is called on the command line."""

    name: str
    profile: DeviceProfile


def profile_names() -> tuple[str, ...]:
    """Return the names of the profiles that come with the package, sorted."""
    return packaged_names(_FOLDER)


def load_profile(name: str) -> NamedProfile:
    """Load a profile by name, or from a file (``./board.toml``).

    Raises:
        InputError: there is none of that name, or the file is not a valid profile.
    """
    if name.endswith(_SUFFIX):
        path = Path(name)
        if path.exists() and not path.is_file():
            raise InputError(f"--device {name}: is not a file; give a profile")
        try:
            with path.open("rb") as profile:
                data = profile.read(_MOST_BYTES + 1)
            text = data.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise InputError(f"--device {name}: cannot be read ({reason})") from error
        if len(data) > _MOST_BYTES:
            raise InputError(f"--device {name}: over {_MOST_BYTES >> 20} MB; give a profile")
        return NamedProfile(path.stem, parse_profile(text, name))
    if name not in profile_names():
        raise InputError(
            f"--device {name}: unknown; choose one of {', '.join(profile_names())}, "
            "or give a .toml file of your own"
        )
    return NamedProfile(name, DeviceProfile.model_validate(packaged_toml(f"{_FOLDER}/{name}")))


def parse_profile(text: str, origin: str) -> DeviceProfile:
    """Parse a profile from TOML text.

    Raises:
        InputError: it is not a valid profile; the message names ``origin`` and the field.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of TOML's syntax, long integers, deep lists
        raise InputError(f"{origin}: not TOML ({error})") from None
    try:
        return DeviceProfile.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{origin}: {first_problem(error)}") from None
