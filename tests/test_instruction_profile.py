"""Instruction counts under emulation: exact, the same again, and what is told of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from native_binaries import EMULATOR, I8MM_CPU, NATIVE, require
from typer.testing import CliRunner

from arcmobile.bench.emulated_cpu import DEFAULT_CPU, cpu_files, has_wrong_smopa
from arcmobile.bench.instructions import (
    CLASSES,
    FINISH,
    PLUGIN,
    TOLERANCE,
    count_instructions,
    float_kernels,
    int8_kernels,
    largest_difference,
    parse_counts,
)
from arcmobile.bench.result import BenchResult, InstructionProfile, StageInstructions
from arcmobile.bench.targets.base import RunRequest, TargetOptions
from arcmobile.cli.main import app
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.errors import TargetError

# The stages of a program in order: name, rounds of a loop, what is in it and how that counts. The
# name may have 16 characters, and the last stage is the first one again.
MARK = """
    ldr x0, option
    ldr x1, {label}
    ldr x2, {label} + 8
    mov x3, #0
    mov x4, #0
    mov x8, #167
    svc #0
"""
LOOP = """
    mov x10, #{rounds}
1:  {body}
    subs x10, x10, #1
    b.ne 1b
"""
STAGES: list[tuple[str, int, str, dict[str, int]]] = [
    (
        "whole numbers",
        1000,
        "smmla v0.4s, v1.16b, v2.16b; sdot v0.4s, v1.16b, v2.16b; sdot v0.4s, v1.16b, v2.4b[1];"
        "smlal v3.8h, v1.8b, v2.8b; str q0, [x11]; add x12, x12, #1",
        {"smmla": 1, "sdot": 2, "mla": 1, "store": 1, "other": 1},
    ),
    (
        "sixteen letters!",
        77,
        "fmla v0.4s, v1.4s, v2.4s; fmla v3.8h, v1.8h, v2.h[1]; ldp q1, q2, [x11]; fadd s4, s5, s6",
        {"fmla": 1, "fmla16": 1, "load": 1, "simd": 1},
    ),
    (
        "tiles",
        5,
        "smopa za0.s, p0/m, p0/m, z0.b, z1.b; fmopa za1.s, p0/m, p0/m, z0.s, z1.s; nop",
        {"smopa": 1, "fmopa": 1, "other": 1},
    ),
    ("whole numbers", 3, "usmmla v0.4s, v1.16b, v2.16b", {"smmla": 1}),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Executes :data:`STAGES`, each behind its mark; the tiles of SME need its streaming mode."""
    text = [".arch armv9-a+i8mm+sme", ".global _start", "_start:", "adr x11, room"]
    for index, (name, rounds, body, _) in enumerate(STAGES):
        before, after = ("smstart", "smstop") if name == "tiles" else ("nop", "nop")
        loop = LOOP.format(rounds=rounds, body=body)
        text += [MARK.format(label=f"name{index}"), before, loop, after]
    text += ["mov x0, #0", "mov x8, #93", "svc #0", ".balign 16", "option: .quad 0x4152434d"]
    for index, (name, *_) in enumerate(STAGES):
        text += [f'name{index}: .ascii "{name}"', f".zero {16 - len(name)}"]
    text += [".balign 16", "room: .zero 64", ""]
    return build(tmp_path_factory.mktemp("program"), "\n".join(text))


def build(folder: Path, assembly: str) -> Path:
    """A program for Arm without any library; one segment, writable."""
    source, program = folder / "program.s", folder / "program"
    source.write_text(assembly)
    flags = ("-nostdlib", "-static", "-Wl,--omagic")
    subprocess.run(["aarch64-linux-gnu-gcc", *flags, "-o", program, source], check=True)
    return program


def counted(program: Path, folder: Path) -> dict[str, Any]:
    out = folder / "counts.json"
    command = [*EMULATOR, "max", "-plugin", f"{require(PLUGIN)},out={out}", program]
    subprocess.run(command, check=True)
    assert [path.name for path in folder.iterdir()] == ["counts.json"]
    return json.loads(out.read_text())


def test_counts_are_exact(program: Path, tmp_path: Path) -> None:
    file = counted(program, tmp_path)
    assert (file["profile_version"], file["target"], file["threads"]) == (1, "aarch64", 1)
    mark = {"load": 3, "other": 4}
    wanted: dict[str, dict[str, int]] = {"start": {"other": 1}}
    names = ["start", *(name for name, *_ in STAGES)]
    for before, (name, rounds, _, body) in zip(names, STAGES, strict=False):
        # A mark still belongs to the stage it ends.
        add(wanted[before], mark)
        stage = wanted.setdefault(name, {})
        add(stage, {kind: count * rounds for kind, count in body.items()})
        add(stage, {"other": 3 + rounds, "branch": rounds})
    add(wanted[names[-1]], {"other": 3})  # the exit
    assert [stage["name"] for stage in file["stages"]] == list(wanted)
    for stage in file["stages"]:
        assert {kind: n for kind, n in stage["classes"].items() if n} == wanted[stage["name"]]
        assert stage["total"] == sum(wanted[stage["name"]].values())


def add(counts: dict[str, int], more: dict[str, int]) -> None:
    for kind, count in more.items():
        counts[kind] = counts.get(kind, 0) + count


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "give -plugin"),
        (",out=", "out="),
        (",size=3", "size=3"),
        (",out=/proc/none/counts.json", "/proc/none/counts.json"),
    ],
)
def test_plugin_refuses(program: Path, arguments: str, words: str) -> None:
    command = [*EMULATOR, "max", "-plugin", f"{require(PLUGIN)}{arguments}", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: instruction")]
    assert len(lines) == 1
    assert words in lines[0]


@pytest.mark.parametrize("cpu", ["max", "cortex-a53", "cortex-a76", "neoverse-n1"])
def test_files_name_the_core_that_is_emulated(cpu: str, tmp_path: Path) -> None:
    """Against the register that the core itself has."""
    program = build(
        tmp_path,
        ".global _start\n_start: mrs x0, midr_el1\n str x0, [sp, #-16]!\n mov x1, sp\n"
        " mov x0, #1\n mov x2, #8\n mov x8, #64\n svc #0\n mov x0, #0\n mov x8, #93\n svc #0\n",
    )
    told = subprocess.run([*EMULATOR, cpu, program], check=True, capture_output=True)
    midr = int.from_bytes(told.stdout, "little")
    lines = (line for line in cpu_files(cpu, 2)["proc/cpuinfo"].splitlines() if line)
    info = {name.strip(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
    assert info["processor"] == "1"
    parts = ("CPU implementer", 24), ("CPU variant", 20), ("CPU part", 4)
    values = [int(info[name], 16) << shift for name, shift in parts]
    assert sum(values) + int(info["CPU revision"]) + (0xF << 16) == midr


REQUEST = RunRequest("soft rain", seconds=None, steps=1, seed=1, threads=1)


@pytest.mark.parametrize(
    ("cpu", "kernel"),
    [
        (I8MM_CPU, "i8mm: SMMLA"),
        ("neoverse-n1", "dot product: SDOT"),
        ("cortex-a53", "none: plain multiply-add"),
    ],
)
def test_kernels_of_a_bundle(
    micro_bundles: dict[str, Path], cpu: str, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernels follow the core, and the counts repeat in another environment."""
    bundle = Bundle.open(micro_bundles["mobile"])
    first = count_instructions(bundle, REQUEST, TargetOptions(cpu=cpu))
    monkeypatch.setenv("SOMETHING_LONG", "x" * 999)
    second = count_instructions(bundle, REQUEST, TargetOptions(cpu=cpu))
    assert largest_difference([first.profile, second.profile]).ratio < TOLERANCE
    assert [*first.profile.stages][:2] == ["start", "tokenize"]
    assert [*first.profile.stages][-1] == FINISH
    for stage in ("dit", "decoder"):
        classes = first.profile.stages[stage].classes
        assert int8_kernels(classes) == kernel
        assert "FMLA" in float_kernels(classes)
        for kind in ("smmla", "sdot", "smopa"):
            assert (classes[kind] > 0) == (kind.upper() in kernel)
    assert first.environment.emulated
    assert first.environment.cores == 1
    assert first.runner.kind == "native"


def test_float_bundle_has_no_int8_kernel(micro_bundles: dict[str, Path]) -> None:
    bundle = Bundle.open(micro_bundles["fp32"])
    stages = count_instructions(bundle, REQUEST, TargetOptions(cpu=I8MM_CPU)).profile.stages
    assert int8_kernels(stages["dit"].classes) == "no int8 kernel"
    assert stages["dit"].classes["fmla"] > 0


def profile(**dit: int) -> InstructionProfile:
    stages = {}
    for name, counts in {"dit": dit, FINISH: {"other": dit.get("other", 0)}}.items():
        classes = {kind: counts.get(kind, 0) for kind in CLASSES}
        stages[name] = StageInstructions(total=sum(classes.values()), classes=classes)
    return InstructionProfile(cpu="max", stages=stages)


def test_largest_difference() -> None:
    same = profile(sdot=1000, other=10**9)
    assert largest_difference([same, same]).ratio == 0
    worst = largest_difference([same, profile(sdot=990, other=10**9 - 1), same])
    assert (worst.ratio, worst.stage, worst.kind) == (pytest.approx(0.01), "dit", "sdot")
    assert largest_difference([same, InstructionProfile(cpu="max", stages={})]).ratio == 1


def test_main_kernels() -> None:
    assert int8_kernels({"smmla": 10, "smopa": 1, "mla": 4}) == "i8mm: SMMLA, SME: SMOPA"
    assert int8_kernels({"mla": 5, "fmla": 10_000}) == "no int8 kernel"
    assert int8_kernels({}) == "no int8 kernel"
    assert float_kernels({"fmopa": 5, "fmla": 10}) == "SME: FMOPA, FMLA"
    assert float_kernels({"other": 5}) == "no float kernel"


def plugin_file() -> dict[str, Any]:
    classes = dict.fromkeys(CLASSES, 1)
    names = ("conditioner", "dit", "decoder")
    stages = [{"name": name, "total": len(CLASSES), "classes": dict(classes)} for name in names]
    return {"profile_version": 1, "target": "aarch64", "threads": 1, "stages": stages}


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        (["profile_version"], 2, "profile_version"),
        (["target"], "arm", "target"),
        (["threads"], 2, "2 threads"),
        (["stages"], [], "no stage conditioner, dit, decoder"),
        (["stages", 1, "name"], "decoder", "twice"),
        (["stages", 0, "total"], 5, "add up"),
        (["stages", 0, "total"], "12", "stages.0.total"),
        (["stages", 0, "classes", "load"], -1, "stages.0.classes.load"),
        (["stages", 0, "classes", "loads"], 1, "classes are not"),
        (["surprise"], 1, "surprise"),
    ],
)
def test_counts_that_cannot_be_right(path: list[str | int], value: object, word: str) -> None:
    file = plugin_file()
    assert parse_counts(json.dumps(file), "max").stages["dit"].total == len(CLASSES)
    *parents, last = path
    place: Any = file
    for key in parents:
        place = place[key]
    place[last] = value
    with pytest.raises(TargetError, match=word) as caught:
        parse_counts(json.dumps(file), "max")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"profile_version": NaN}'])
def test_counts_that_are_no_counts(text: str) -> None:
    with pytest.raises(TargetError, match="make native-arm64"):
        parse_counts(text, "max")


def arcmobile(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_command(micro_bundles: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "counts.json"
    cpus = ("--cpu", "neoverse-n1", "--cpu", "cortex-a53")
    common = ("bench", "instructions", "--bundle", micro_bundles["mobile"], *cpus)
    result = arcmobile(*common, "--steps", 1, "--repeat", 2, "--out", out)
    assert result.exit_code == 0, result.output
    for words in (
        "2 runs each",
        "dit, millions",
        "sdot",
        "SDOT",
        "plain",
        "load decoder",
        str(out),
    ):
        assert words in result.stdout.replace("\n", "")
    written = BenchResult.read(out)
    assert [one.cpu for one in written.instructions] == ["neoverse-n1", "cortex-a53"]
    assert written.request.steps == 1
    assert written.environment.architecture == "aarch64"
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_command_refuses(
    micro_bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = micro_bundles["mobile"]
    refusals = [
        (["--bundle", tmp_path / "none"], "none"),
        (["--bundle", bundle, "--cpu", "cortex-z1"], "cortex-z1"),
        (["--bundle", bundle, "--native", tmp_path], "arcmobile-run"),
        (["--bundle", bundle, "--native", NATIVE / "host" / "dist"], "needs Linux aarch64"),
        (["--bundle", bundle, "--seconds", "99"], "--seconds 99"),
    ]
    for arguments, word in refusals:
        result = arcmobile("bench", "instructions", *arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr
        assert word in result.stderr
    with pytest.raises(TargetError, match="--timeout"):
        count_instructions(Bundle.open(bundle), REQUEST, TargetOptions(timeout=0.05))
    plugin = tmp_path / "libinstructions.so"
    with pytest.raises(TargetError, match="make native-arm64"):
        count_instructions(Bundle.open(bundle), REQUEST, TargetOptions(), plugin=plugin)
    plugin.write_text("no library")
    with pytest.raises(TargetError, match="does not take the counting plugin"):
        count_instructions(Bundle.open(bundle), REQUEST, TargetOptions(), plugin=plugin)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match="apt"):
        count_instructions(Bundle.open(bundle), REQUEST, TargetOptions())


@pytest.mark.parametrize(
    ("cpu", "version", "wrong"),
    [
        ("max", "qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7)", True),
        ("max,sve=off", "qemu-aarch64 version 8.2.0", True),
        ("max", "qemu-aarch64 version 9.0.0", False),
        (DEFAULT_CPU, "qemu-aarch64 version 7.2.22", False),
        ("neoverse-n1", "qemu-aarch64 version 7.2.22", False),
    ],
)
def test_wrong_outer_products_are_known(cpu: str, version: str, wrong: bool) -> None:
    assert has_wrong_smopa(cpu, version) is wrong
