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

# As bench/tcg_plugin/aarch64_classes.h has them.
CLASSES: Final = {
    "smmla": "int8 matrix multiply (i8mm)",
    "sdot": "int8 dot product",
    "mla": "other integer vector multiply",
    "smopa": "integer outer product (SME)",
    "fmopa": "float outer product (SME)",
    "fmla": "vector float32 multiply-add",
    "fmla16": "vector float16 multiply-add",
    "simd": "other vector and float",
    "load": "loads",
    "store": "stores",
    "branch": "branches",
    "other": "integer, system",
}

# Multiply-adds of one instruction: of a 128-bit vector, and of a tile at 256-bit streaming length.
# Only for saying which kernel does most of the work.
_INT8_WORK: Final = {"smmla": 32, "sdot": 16, "mla": 8, "smopa": 256}
_FLOAT_WORK: Final = {"fmla": 4, "fmla16": 8, "fmopa": 64}
_KERNELS: Final = {
    "smmla": "i8mm: SMMLA",
    "sdot": "dot product: SDOT",
    "mla": "none: plain multiply-add",
    "smopa": "SME: SMOPA",
    "fmla": "FMLA",
    "fmla16": "fp16: FMLA",
    "fmopa": "SME: FMOPA",
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
    work = _work(classes, _INT8_WORK)
    total = sum(work.values())
    if total <= _NO_INT8_BELOW * (total + sum(_work(classes, _FLOAT_WORK).values())):
        return "no int8 kernel"
    return _main_kernels(work)


def float_kernels(classes: Mapping[str, int]) -> str:
    """Return the kinds of float kernel that did a stage's float work, the main one first."""
    work = _work(classes, _FLOAT_WORK)
    return _main_kernels(work) if any(work.values()) else "no float kernel"


def _work(classes: Mapping[str, int], weights: Mapping[str, int]) -> dict[str, int]:
    return {kind: classes.get(kind, 0) * weight for kind, weight in weights.items()}


def _main_kernels(work: Mapping[str, int]) -> str:
    ranked = sorted(work, key=lambda kind: -work[kind])
    total = sum(work.values())
    return ", ".join(_KERNELS[kind] for kind in ranked if work[kind] > _SHARE_OF_A_KERNEL * total)
