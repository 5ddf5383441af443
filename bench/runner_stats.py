"""A runner's figures of one generation: JSON, checked before use.

Two runners write it: `arcmobile-run --stats json` (one object) and `arcmobile generate
--stats-json` (a list of records, one per sound).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from arcmobile.bench.labels import STAGES
from arcmobile.bench.records import parse_record
from arcmobile.runtime.errors import TargetError
from arcmobile.runtime.tensors import DECODER, DIT

Seconds = Annotated[float, Field(ge=0, le=1e9)]
Bytes = Annotated[int, Field(ge=0, le=1 << 53)]
Whole = Annotated[int, Field(ge=1, le=1 << 31)]


class _Facts(BaseModel):
    # A newer runner may add fields; those read here must be right.
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class NativeRunner(_Facts):
    """The build that ran: its version, ExecuTorch's, and the ABI it was built for."""

    version: str
    executorch: str
    abi: str


class RunnerCpu(_Facts):
    """The CPU as the runner saw it; under emulation that is the emulated one."""

    name: str
    features: tuple[str, ...]
    cores: Whole


class PythonStats(_Facts):
    """One record of `arcmobile generate --stats-json`; seconds and bytes."""

    prompt: str
    seed: Annotated[int, Field(ge=0, lt=1 << 64)]
    model: str
    recipe: str
    backend: str
    seconds: Annotated[float, Field(ge=1e-6, le=1e9)]
    sample_rate: Whole
    load_seconds: dict[str, Seconds]
    tokenize_seconds: Seconds
    conditioner_seconds: Seconds
    encoder_seconds: Seconds
    dit_step_seconds: tuple[Seconds, ...] = Field(min_length=1)
    decode_window_seconds: tuple[Seconds, ...] = Field(min_length=1)
    first_audio_seconds: Seconds
    compute_seconds: Seconds
    total_seconds: Seconds
    peak_memory_bytes: dict[str, Bytes] = {}
    warnings: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_every_stage(self) -> Self:
        if missing := [stage for stage in STAGES if stage not in self.load_seconds]:
            raise ValueError(f"load_seconds: no {', '.join(missing)}")
        return self

    @property
    def peak_bytes(self) -> int:
        """Peak of the process, as far as it is known: the highest of its stages."""
        return max(self.peak_memory_bytes.values(), default=0)

    def calls(self, stage: str) -> tuple[float, ...]:
        """Return the seconds of each call of a stage: one, the sampler's steps, the chunks."""
        by_stage = {DIT: self.dit_step_seconds, DECODER: self.decode_window_seconds}
        return by_stage.get(stage, (self.conditioner_seconds,))


class NativeStats(PythonStats):
    """What `arcmobile-run --stats json` prints."""

    stats_version: Literal[1]
    runner: NativeRunner
    cpu: RunnerCpu
    threads: Whole
    steps: Whole
    frames: Whole
    decoder_windows: tuple[Whole, ...] = Field(min_length=1)  # of each part, in frames it takes
    process_peak_bytes: Bytes
    resident_after_bytes: dict[str, Bytes] = {}

    @model_validator(mode="after")
    def _one_time_per_step(self) -> Self:
        if len(self.dit_step_seconds) != self.steps:
            raise ValueError(f"dit_step_seconds: {len(self.dit_step_seconds)}, steps: {self.steps}")
        return self

    @property
    def peak_bytes(self) -> int:
        """Peak of the process."""
        return self.process_peak_bytes


_RECORDS: Final = TypeAdapter(list[PythonStats])
_NATIVE: Final = TypeAdapter(NativeStats)


def parse_native(text: str) -> NativeStats:
    """Parse the standard output of `arcmobile-run --stats json`.

    Raises:
        TargetError: it cannot be used.
    """
    try:
        return parse_record(text, _NATIVE, strict=True)
    except ValueError as error:
        raise TargetError(_broken("arcmobile-run", text, error)) from error


def parse_python(text: str) -> PythonStats:
    """Parse the file of one sound of `arcmobile generate --stats-json`.

    Raises:
        TargetError: it cannot be used.
    """
    try:
        records = parse_record(text, _RECORDS, strict=True)
    except ValueError as error:
        raise TargetError(_broken("arcmobile generate", text, error)) from error
    if len(records) != 1:
        raise TargetError(f"arcmobile generate: stats of {len(records)} sounds, not of one")
    return records[0]


def _broken(runner: str, text: str, error: ValueError) -> str:
    shown = " ".join(text[:200].split())[:60] or "nothing"
    return (
        f"{runner} printed stats that cannot be used ({error}; they begin: {shown}); "
        "build it again from this version of arcmobile"
    )
