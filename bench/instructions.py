"""Instructions by class and stage, counted while QEMU emulates an Arm core.

The counting is done by a plugin (``bench/tcg_plugin``). Unlike times, the counts of a binary and an
input repeat, so recipes and kernels can be compared on any machine. What could make them differ is
excluded: one thread, an empty environment, fixed random numbers, and a fixed description of the CPU
(:mod:`arcmobile.bench.emulated_cpu`). What remains are the digits of process numbers and memory
sizes that the runner reads, some tens of instructions, and of the times it prints, in ``finish``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from arcmobile.bench.emulated_cpu import DEFAULT_CPU
from arcmobile.bench.labels import STAGES
from arcmobile.bench.measure import runner_facts
from arcmobile.bench.records import Record, parse_record
from arcmobile.bench.result import (
    Environment,
    InstructionProfile,
    RunnerFacts,
    StageInstructions,
)
from arcmobile.bench.targets.base import RunRecord, RunRequest, TargetOptions
from arcmobile.bench.targets.qemu import QemuTarget
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.errors import TargetError
from arcmobile.runtime.installation import build_command

PLUGIN: Final = (
    Path(__file__).resolve().parents[1] / "build" / "native" / "plugin" / "libinstructions.so"
)
TOLERANCE: Final = 1e-3
FINISH: Final = "finish"


@dataclass(frozen=True)
class InstructionClass:
    """A class of instructions.

    Attributes:
        label: for people.
        tone: its colour in a report: int8 products in blues, float products in oranges.
        int8_macs: multiply-adds of one instruction, of a 128-bit vector or of a tile at 256-bit
            streaming length; only for finding the kernel that does most of the work.
        float_macs: the same of float arithmetic.
        kernel: what the instruction set calls the kernels that use it.
    """

    label: str
    tone: str
    int8_macs: int = 0
    float_macs: int = 0
    kernel: str = ""


# As bench/tcg_plugin/aarch64_classes.h has them, in the order of a legend.
CLASSES: Final[Mapping[str, InstructionClass]] = {
    "smopa": InstructionClass(
        "SMOPA, int8 outer product", "int8-1", int8_macs=256, kernel="SME: SMOPA"
    ),
    "smmla": InstructionClass("SMMLA, int8 matrix", "int8-2", int8_macs=32, kernel="i8mm: SMMLA"),
    "sdot": InstructionClass(
        "SDOT, int8 dot product", "int8-3", int8_macs=16, kernel="dot product: SDOT"
    ),
    "mla": InstructionClass(
        "integer multiply", "int8-4", int8_macs=8, kernel="none: plain multiply-add"
    ),
    "fmopa": InstructionClass(
        "FMOPA, outer product", "float-1", float_macs=64, kernel="SME: FMOPA"
    ),
    "fmla": InstructionClass("FMLA", "float-2", float_macs=4, kernel="FMLA"),
    "fmla16": InstructionClass("FMLA, 16 bits", "float-3", float_macs=8, kernel="fp16: FMLA"),
    "simd": InstructionClass("other vector and float", "vector"),
    "load": InstructionClass("load", "memory-1"),
    "store": InstructionClass("store", "memory-2"),
    "branch": InstructionClass("branch", "rest-1"),
    "other": InstructionClass("other: integer, system", "rest-2"),
}
_SHARE_OF_A_KERNEL: Final = 0.1  # less is what kernels do besides their main work
_NO_INT8_BELOW: Final = 0.02  # of the multiply-adds of a stage


class _Stage(Record):
    name: Annotated[str, Field(min_length=1, max_length=16)]
    total: Annotated[int, Field(ge=0)]
    classes: dict[str, Annotated[int, Field(ge=0)]]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if set(self.classes) != set(CLASSES):
            raise ValueError("its classes are not those of this version")
        if sum(self.classes.values()) != self.total:
            raise ValueError("its classes do not add up to its total")
        return self


class _PluginFile(Record):
    """What the plugin writes."""

    profile_version: Literal[1]
    target: Literal["aarch64"]
    threads: Annotated[int, Field(ge=1)]
    stages: tuple[_Stage, ...]

    @model_validator(mode="after")
    def _has_every_stage(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError("a stage comes twice")
        if missing := [name for name in STAGES if name not in names]:
            raise ValueError(f"no stage {', '.join(missing)}")
        if self.threads > 1:
            raise ValueError(f"{self.threads} threads ran, counts are exact with one only")
        return self


_PLUGIN_FILE: Final = TypeAdapter(_PluginFile)


@dataclass(frozen=True)
class CountedRun:
    """The counts of a run, what ran it, and on what."""

    profile: InstructionProfile
    runner: RunnerFacts
    environment: Environment


@dataclass(frozen=True)
class Difference:
    """The largest difference between repeats, as a ``ratio`` of the larger count."""

    ratio: float
    stage: str = ""
    kind: str = ""


def count_instructions(
    bundle: Bundle, request: RunRequest, options: TargetOptions, *, plugin: Path = PLUGIN
) -> CountedRun:
    """Run ``bundle`` once under emulation as ``options.cpu``, with one thread, and count.

    Raises:
        TargetError: plugin, emulator, its libraries or the runner are missing, or one of them
            failed.
        InputError: a bundle of another backend, or an unknown CPU model.
    """
    if not plugin.is_file():
        raise TargetError(f"{plugin}: no such file; build it: {build_command('native-arm64')}")
    request = replace(request, threads=1, arguments=(*request.arguments, "--mark-stages"))
    cpu = options.cpu or DEFAULT_CPU
    with tempfile.TemporaryDirectory(prefix="arcmobile-") as folder:
        counts = Path(folder) / "counts.json"
        with QemuTarget(options, _emulator_arguments(plugin, counts), cores=1) as target:
            target.prepare(bundle)
            stats = _run(target, request).stats
            runner = runner_facts(target, stats, bundle.manifest.backend)
            environment = target.environment().model_copy(update={"cores": 1})
        try:
            text = counts.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TargetError(
                f"{plugin.name} wrote no counts; is there space in {folder}?"
            ) from error
    return CountedRun(parse_counts(text, cpu), runner, environment)


def _emulator_arguments(plugin: Path, counts: Path) -> list[str]:
    """Options of QEMU that count, and take away what differs from machine to machine."""
    shell = {"PWD", "OLDPWD", "SHLVL", "_"}  # set by the shells in between
    environment = sorted(name for name in shell | os.environ.keys() if "," not in name)
    file = str(plugin.resolve()).replace(",", ",,")  # as QEMU's options want it
    return [
        *("-seed", "1", "-U", ",".join(environment)),
        *("-plugin", f"{file},out={counts}"),
    ]


def _run(target: QemuTarget, request: RunRequest) -> RunRecord:
    try:
        return target.run(request)
    except TargetError as error:
        if "plugin" in str(error):
            raise TargetError(
                f"{target.name}: the emulator does not take the counting plugin, QEMU 4.2 to 8.2 "
                f"do if built with plugins ({error})"
            ) from error
        raise


def parse_counts(text: str, cpu: str) -> InstructionProfile:
    """Parse the plugin's file.

    Raises:
        TargetError: it is something else, or incomplete.
    """
    try:
        file = parse_record(text, _PLUGIN_FILE, strict=True)
    except ValueError as error:
        raise TargetError(
            f"the instruction counts cannot be used ({error}); "
            "build runner and plugin again: make native-arm64"
        ) from error
    stages = {
        stage.name: StageInstructions(total=stage.total, classes=stage.classes)
        for stage in file.stages
    }
    return InstructionProfile(cpu=cpu, stages=stages)


def largest_difference(profiles: Sequence[InstructionProfile]) -> Difference:
    """Return where repeats of a run differ most, over all classes of all stages but ``finish``.

    ``ratio`` is 0 where they are equal. A stage that is not in all of them differs by 1.
    """
    worst = Difference(0.0)
    names = dict.fromkeys(name for profile in profiles for name in profile.stages)
    for stage in names:
        if stage == FINISH:
            continue
        found = [profile.stages.get(stage) for profile in profiles]
        for kind in CLASSES:
            counts = [one.classes[kind] if one else 0 for one in found]
            ratio = 1 - min(counts) / max(counts) if any(counts) else 0.0
            if ratio > worst.ratio:
                worst = Difference(ratio, stage, kind)
    return worst


def int8_kernels(classes: Mapping[str, int]) -> str:
    """Return the kinds of int8 kernel that did a stage's work, the main one first.

    Kinds are known by the multiply-adds of their instructions; ``no int8 kernel`` where those are
    few compared with the float ones.
    """
    work = {kind: classes.get(kind, 0) * one.int8_macs for kind, one in CLASSES.items()}
    total = sum(work.values())
    if total <= _NO_INT8_BELOW * (total + sum(_float_work(classes).values())):
        return "no int8 kernel"
    return _main_kernels(work)


def float_kernels(classes: Mapping[str, int]) -> str:
    """Return the kinds of float kernel that did a stage's float work, the main one first."""
    work = _float_work(classes)
    return _main_kernels(work) if any(work.values()) else "no float kernel"


def _float_work(classes: Mapping[str, int]) -> dict[str, int]:
    return {kind: classes.get(kind, 0) * one.float_macs for kind, one in CLASSES.items()}


def _main_kernels(work: Mapping[str, int]) -> str:
    ranked = sorted(work, key=lambda kind: -work[kind])
    total = sum(work.values())
    return ", ".join(
        CLASSES[kind].kernel for kind in ranked if work[kind] > _SHARE_OF_A_KERNEL * total
    )
