"""The result of a benchmark run: one versioned JSON file, written here and read here.

A figure keeps every measured value in the order of the runs, so that a reader can draw the spread
or test for a drift; medians and percentiles are derived, never stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from arcmobile.bench.records import (
    AnyFigure,
    Count,
    Duration,
    Positive,
    Quantity,
    Record,
    parse_record,
    read_bounded,
)
from arcmobile.runtime.errors import InputError
from arcmobile.runtime.whole_output import write_whole_text

RESULT_VERSION: Final = 1


class Figure(Record):
    """One quantity over the repeats, in the order they ran; seconds or bytes."""

    values: tuple[Quantity, ...] = Field(min_length=1)

    @property
    def median(self) -> float:
        """The median of the repeats."""
        return float(median(self.values))

    @property
    def minimum(self) -> float:
        """The least value."""
        return min(self.values)

    @property
    def maximum(self) -> float:
        """The largest value."""
        return max(self.values)

    @property
    def p90(self) -> float:
        """The 90th percentile by nearest rank, which is a measured value."""
        return sorted(self.values)[math.ceil(0.9 * len(self.values)) - 1]


class StageFigures(Record):
    """One stage (``conditioner``, ``dit``, ``decoder``) over the repeats.

    ``call`` is the median call of each repeat (a DiT step, a chunk of sound), ``compute`` the sum
    of its calls, ``load`` reading and preparing its programs; seconds. ``peak_bytes`` is the peak
    resident memory while the stage was in memory.
    """

    load: Figure
    compute: Figure
    call: Figure
    calls: Positive
    peak_bytes: Figure | None = None


class Conditions(Record):
    """The state of the device over a measurement; ``None`` where it cannot be read.

    ``throttled`` is true when the device lowered its clocks; such a measurement is not clean.
    ``temperature`` in degrees Celsius at the start and the highest at any point seen; ``waited`` in
    seconds for the device to cool.
    """

    throttled: bool | None = None
    temperature_start: AnyFigure | None = None
    temperature_peak: AnyFigure | None = None
    frequency_ratio_lowest: Quantity | None = None  # lowest seen clock / highest permitted clock
    waited: Quantity = 0.0
    notes: tuple[str, ...] = ()


class Measurement(Record):
    """All repeats at one thread count; seconds of wall time and bytes.

    ``clean`` is false where the device throttled or something else disturbed the runs; ``notes``
    say what. ``load_cold`` is the loading time with the program files out of the page cache,
    where the target can empty it.
    """

    threads: Positive
    warmups: Count
    repeats: Positive
    stages: dict[str, StageFigures]
    total: Figure
    compute: Figure
    first_audio: Figure
    load_warm: Figure
    load_cold: Figure | None = None
    peak_bytes: Figure
    audio_seconds: Duration
    conditions: Conditions = Conditions()
    clean: bool = True
    notes: tuple[str, ...] = ()

    @property
    def rtf(self) -> float:
        """Real-time factor: seconds of computing per second of sound, median."""
        return self.compute.median / self.audio_seconds


class Environment(Record):
    """The machine it ran on.

    ``features`` are the ISA extensions as Linux names them (``asimddp``); ``ceilings``, by name
    with unit, the peak rates that were measured on it.
    """

    target: str  # host, qemu, ssh, adb
    device: str  # a name for people: model of phone or board, CPU model under emulation
    cpu: str
    architecture: str
    features: tuple[str, ...] = ()
    cores: Positive
    memory_bytes: Positive | None = None
    system: str = ""
    governor: str | None = None
    emulated: bool = False
    ceilings: dict[str, Quantity] = Field(default_factory=dict)


class ProcessFigures(Record):
    """Wall seconds and peak resident bytes of one process."""

    seconds: Quantity
    peak_bytes: Count


class RunnerFacts(Record):
    """What ran the bundle, and the versions of its parts.

    ``native`` or ``python``: a runner and a bundle; ``torch``: the networks, on a GPU from before
    the first run.
    """

    kind: Literal["native", "python", "torch"]
    versions: dict[str, str] = Field(default_factory=dict)


class BundleFacts(Record):
    """The bundle that ran; ``digest``: sha256 of the manifest, which holds those of all files."""

    name: str
    model_id: str
    recipe: str
    backend: str
    bytes: Positive
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    component_bytes: dict[str, Count]
    precision: dict[str, dict[str, str]]
    snr_db: dict[str, AnyFigure | None]  # against the float32 network at export; None: identical
    license_notice: str = ""


class RequestFacts(Record):
    """The sound to generate, ``batch`` times at once; ``frames`` of latent hold its ``seconds``."""

    prompt: str
    seconds: Duration
    steps: Positive
    seed: int = Field(ge=0, lt=1 << 64)
    frames: Positive
    batch: Positive = 1


class StageInstructions(Record):
    """Instructions executed in one stage, by class; see :mod:`arcmobile.bench.instructions`."""

    total: Count
    classes: dict[str, Count]


class InstructionProfile(Record):
    """Instruction counts of one single-threaded run under emulation, by stage in order."""

    cpu: str
    stages: dict[str, StageInstructions]


class OperatorTime(Record):
    """One operator or delegate call of a program: seconds of one run, and how often it ran."""

    name: str
    seconds: Quantity
    calls: Positive
    delegated: bool


class OperatorProfile(Record):
    """One component's run by operator, slowest first; seconds of the median run."""

    component: str
    total: Quantity
    delegated: Quantity
    operators: tuple[OperatorTime, ...]


class BenchResult(Record):
    """A benchmark run: what ran, on what, and everything that was measured.

    ``export`` holds the figures of the process that exported the bundle, where the benchmark
    started it.
    """

    result_version: Literal[1] = RESULT_VERSION
    created: str  # ISO 8601, UTC
    arcmobile: str  # version
    runner: RunnerFacts
    bundle: BundleFacts
    request: RequestFacts
    environment: Environment
    export: ProcessFigures | None = None
    measurements: tuple[Measurement, ...] = ()
    instructions: tuple[InstructionProfile, ...] = ()
    operators: tuple[OperatorProfile, ...] = ()

    @property
    def best(self) -> Measurement | None:
        """The measurement with the shortest median total, clean ones first."""
        ranked = sorted(self.measurements, key=lambda one: (not one.clean, one.total.median))
        return ranked[0] if ranked else None

    def write(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the file whole or not at all.

        Raises:
            OutputError: the file cannot be written, or exists and may not be replaced.
        """
        text = self.model_dump_json(indent=1) + "\n"
        write_whole_text(path, text, overwrite=overwrite, option="--out")

    @classmethod
    def read(cls, path: Path) -> BenchResult:
        """Read a file of one result.

        Raises:
            InputError: the file cannot be read, is not JSON, holds several results or another
                version, or a field is missing or wrong.
        """
        results = read_results(path)
        if len(results) != 1:
            raise InputError(f"{path}: holds {len(results)} results; give a file of one")
        return results[0]


_ONE: Final = TypeAdapter(BenchResult)
_SEVERAL: Final[TypeAdapter[tuple[BenchResult, ...]]] = TypeAdapter(
    Annotated[tuple[BenchResult, ...], Field(min_length=1)]
)
_WHAT: Final = "a result of `arcmobile bench`"


def read_results(path: Path) -> tuple[BenchResult, ...]:
    """Read a file of one result, or of a list of them.

    Raises:
        InputError: as of :meth:`BenchResult.read`.
    """
    data = read_bounded(path, what=_WHAT)
    try:
        if data.lstrip()[:1] == b"[":
            return parse_record(data, _SEVERAL)
        return (parse_record(data, _ONE),)
    except ValueError as error:
        raise InputError(f"{path}: not {_WHAT} ({error}); measure again") from error


def write_results(path: Path, results: Sequence[BenchResult], *, overwrite: bool = False) -> None:
    """Write a file of several results whole or not at all.

    Raises:
        OutputError: the file cannot be written, or exists and may not be replaced.
    """
    text = _SEVERAL.dump_json(tuple(results), indent=1).decode() + "\n"
    write_whole_text(path, text, overwrite=overwrite, option="--out")
