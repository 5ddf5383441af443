"""`arcmobile bench instructions`: what a bundle executes on an Arm core, under emulation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from arcmobile.cli.bench_options import (
    BundleFolder,
    Native,
    Overwrite,
    Prompt,
    Seconds,
    Seed,
    Steps,
    Timeout,
)
from arcmobile.cli.consoles import plain_console

if TYPE_CHECKING:
    from arcmobile.bench.instructions import CountedRun
    from arcmobile.bench.result import BenchResult, InstructionProfile
    from arcmobile.runtime.bundle import Bundle
    from arcmobile.runtime.request import GenerationRequest, Plan

_SHORTEST_BAR = 4


def instructions(
    bundle: BundleFolder,
    cpu: Annotated[
        list[str] | None,
        typer.Option(
            help="CPU model of QEMU, with features after commas; repeat the option for several. "
            "Default: max,sme=off.",
            show_default=False,
        ),
    ] = None,
    prompt: Prompt = None,
    seconds: Seconds = None,
    steps: Steps = None,
    seed: Seed = 1,
    repeat: Annotated[
        int, typer.Option(min=1, help="Counts per CPU; exits with 1 if they differ by 0.1 %.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Result file. Default: none.")
    ] = None,
    overwrite: Overwrite = False,
    native: Native = None,
    timeout: Timeout = 3600.0,
) -> None:
    """Count the instructions that a bundle executes on emulated Arm cores, by class and stage.

    Shows which int8 kernels run: SMMLA (i8mm), SDOT (dot product), SMOPA (SME) or none. Counts
    repeat, unlike times, so recipes can be compared on any machine. Needs no Arm device, but
    `make native-arm64` and an ExecuTorch bundle. QEMU counts some 100 million instructions a
    second.

    Three kinds of core, one sampler step:

        arcmobile bench instructions --bundle out/embedded-executorch-mobile --cpu max,sme=off
        --cpu neoverse-n1 --cpu cortex-a53 --steps 1

    One core, counted twice to see that the counts repeat:

        arcmobile bench instructions --bundle out/embedded-executorch-mobile --repeat 2
    """
    from arcmobile.bench import instructions as counting
    from arcmobile.bench.emulated_cpu import DEFAULT_CPU
    from arcmobile.bench.measure import DEFAULT_PROMPT
    from arcmobile.bench.targets.base import RunRequest, TargetOptions
    from arcmobile.runtime.bundle import Bundle
    from arcmobile.runtime.request import GenerationRequest, make_plan
    from arcmobile.runtime.whole_output import check_file

    if out is not None:
        check_file(out, overwrite=overwrite, option="--out")
    opened = Bundle.open(bundle)
    request = GenerationRequest(prompt or DEFAULT_PROMPT, seconds, steps, seed)
    plan = make_plan(request, opened.manifest)
    one_sound = RunRequest(request.prompt, seconds, len(plan.times) - 1, plan.seed, threads=1)

    console = plain_console()
    runs: list[CountedRun] = []
    differences = []
    with plain_console(stderr=True).status("") as status:
        for model in dict.fromkeys(cpu or [DEFAULT_CPU]):
            repeats = []
            for index in range(repeat):
                status.update(Text(f"counting as {model}, run {index + 1} of {repeat}"))
                options = TargetOptions(cpu=model, native=native, timeout=timeout)
                repeats.append(counting.count_instructions(opened, one_sound, options))
            runs.append(repeats[0])
            differences.append(counting.largest_difference([one.profile for one in repeats]))

    profiles = tuple(run.profile for run in runs)
    for table in profile_tables(profiles, console.width):
        console.print(table)
    console.print(_legend(profiles))
    if out is not None:
        _result(opened, request, plan, runs).write(out, overwrite=overwrite)
        console.print(f"result: {out}")
    if repeat > 1:
        worst = max(differences, key=lambda one: one.ratio)
        if not worst.ratio:
            console.print(f"{repeat} runs each: equal counts in all stages except finish")
        else:
            where = f"{worst.kind} in {worst.stage}"
            console.print(f"{repeat} runs each: counts differ by {worst.ratio:.4%} ({where})")
        if worst.ratio > counting.TOLERANCE:
            raise typer.Exit(1)


def _result(
    bundle: Bundle, request: GenerationRequest, plan: Plan, runs: list[CountedRun]
) -> BenchResult:
    from arcmobile.bench.measure import bench_result

    environment = runs[0].environment
    if len(runs) > 1:
        cpus = ", ".join(run.profile.cpu for run in runs)
        environment = environment.model_copy(
            update={"device": cpus, "cpu": f"{cpus}, emulated", "features": ()}
        )
    profiles = tuple(run.profile for run in runs)
    return bench_result(bundle, request, plan, runs[0].runner, environment, instructions=profiles)


def profile_tables(profiles: tuple[InstructionProfile, ...], width: int) -> list[Table]:
    """Return a table for each stage, classes by CPU, and one of all stages; in millions."""
    from arcmobile.bench.labels import STAGES

    room = (width - 14) // len(profiles) - 14
    bar = min(16, room) if room >= _SHORTEST_BAR else 0
    tables = [_stage_table(stage, profiles, bar) for stage in STAGES]
    totals = Table(title="All stages, millions of instructions", title_justify="left")
    totals.add_column("")
    for profile in profiles:
        totals.add_column(profile.cpu, justify="right")
    for stage in dict.fromkeys(name for profile in profiles for name in profile.stages):
        totals.add_row(stage, *(_millions(profile.stages[stage].total) for profile in profiles))
    totals.add_section()
    sums = (sum(stage.total for stage in profile.stages.values()) for profile in profiles)
    totals.add_row("total", *map(_millions, sums))
    return [*tables, totals]


def _stage_table(stage: str, profiles: tuple[InstructionProfile, ...], bar: int) -> Table:
    from arcmobile.bench.instructions import CLASSES, float_kernels, int8_kernels

    counts = [profile.stages[stage].classes for profile in profiles]
    largest = max(max(classes.values()) for classes in counts) or 1
    table = Table(title=f"{stage}, millions of instructions", title_justify="left")
    table.add_column("")
    for profile in profiles:
        table.add_column(profile.cpu, min_width=bar + 9 if bar else None)
    for kind in CLASSES:
        if any(classes[kind] for classes in counts):
            table.add_row(kind, *(_cell(classes[kind], largest, bar) for classes in counts))
    table.add_section()
    table.add_row("total", *(_cell(sum(classes.values()), 0, bar) for classes in counts))
    table.add_row("int8", *map(int8_kernels, counts))
    table.add_row("float", *map(float_kernels, counts))
    return table


def _legend(profiles: tuple[InstructionProfile, ...]) -> Table:
    """What the classes are that were counted."""
    from arcmobile.bench.instructions import CLASSES

    legend = Table.grid(padding=(0, 2))
    stages = [stage.classes for profile in profiles for stage in profile.stages.values()]
    for kind, one in CLASSES.items():
        if any(classes[kind] for classes in stages):
            legend.add_row(kind, one.label)
    return legend


def _cell(count: int, largest: int, bar: int) -> Table:
    """A number, and a bar beside it where there is room."""
    cell = Table.grid(padding=(0, 1))
    cell.add_column(justify="right", min_width=8)
    cell.add_column()
    if bar and largest:
        cell.add_row(_millions(count), Bar(largest, 0, count, width=bar))
    else:
        cell.add_row(_millions(count))
    return cell


def _millions(count: int) -> str:
    return f"{count / 1e6:,.2f}" if count else "-"
