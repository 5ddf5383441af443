"""`arcmobile bench operators`: which operators the time goes into, inside XNNPACK and outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from arcmobile.cli.bench_options import Overwrite, Prompt, Seconds, Seed, Threads
from arcmobile.cli.consoles import bold, plain_console

if TYPE_CHECKING:
    from arcmobile.bench.result import BenchResult, OperatorProfile
    from arcmobile.runtime.bundle import Bundle
    from arcmobile.runtime.request import GenerationRequest

    Profiles = tuple[OperatorProfile, ...]


def operators(
    bundle: Annotated[
        Path | None, typer.Option("--bundle", "-b", help="Folder of an ExecuTorch bundle.")
    ] = None,
    etdump_dir: Annotated[
        Path | None, typer.Option(help="Read the .etdp files in this folder; run nothing.")
    ] = None,
    prompt: Prompt = None,
    seconds: Seconds = None,
    seed: Seed = 1,
    threads: Threads = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each program; the median counts.")] = 5,
    top: Annotated[int, typer.Option(min=1, help="Operators to show.")] = 10,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Result file with all operators.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Trace each program of a bundle, operator by operator (ExecuTorch's ETDump).

    Shows the share of time inside XNNPACK, the slowest kinds of operator there, and those outside.
    Tracing itself takes time: read shares here, and take seconds from `bench run`.

        arcmobile bench operators --bundle out/embedded-executorch-mobile --threads 1

    Traces that the native runner recorded elsewhere, on a phone for example:

        arcmobile-run bundle "rain" --etdump traces/rain
        arcmobile bench operators --etdump-dir traces
    """
    from arcmobile.bench.measure import DEFAULT_PROMPT
    from arcmobile.bench.operators import profile_bundle, read_folder
    from arcmobile.runtime.bundle import Bundle
    from arcmobile.runtime.errors import InputError
    from arcmobile.runtime.request import GenerationRequest
    from arcmobile.runtime.whole_output import check_file

    console = plain_console()
    if (bundle is None) == (etdump_dir is None):
        raise InputError("give either --bundle, to run it here, or --etdump-dir, to read traces")
    if bundle is None:
        assert etdump_dir is not None
        if out is not None:
            raise InputError(
                "--out: traces do not say what they were recorded on, a result must; leave it out"
            )
        show_profiles(read_folder(etdump_dir), top, console)
        return
    if out is not None:
        check_file(out, overwrite=overwrite, option="--out")
    opened = Bundle.open(bundle)
    # One step: the DiT's first input is what it is traced on.
    request = GenerationRequest(prompt or DEFAULT_PROMPT, seconds, steps=1, seed=seed)
    with plain_console(stderr=True).status("tracing"):
        profiles = profile_bundle(opened, request, threads=threads, runs=runs)
    show_profiles(profiles, top, console)
    if out is not None:
        _result(opened, request, profiles).write(out, overwrite=overwrite)
        console.print(f"result: {out}")


def _result(bundle: Bundle, request: GenerationRequest, profiles: Profiles) -> BenchResult:
    from importlib import metadata

    from arcmobile.bench.measure import bench_result
    from arcmobile.bench.result import RunnerFacts
    from arcmobile.bench.targets.base import TargetOptions
    from arcmobile.bench.targets.host import HostTarget
    from arcmobile.runtime.request import make_plan

    versions = {name: metadata.version(name) for name in ("arcmobile", "executorch")}
    runner = RunnerFacts(kind="python", versions=versions)
    with HostTarget(TargetOptions(runner="python")) as host:
        environment = host.environment()
    plan = make_plan(request, bundle.manifest)
    return bench_result(bundle, request, plan, runner, environment, operators=profiles)


def show_profiles(profiles: Profiles, top: int, console: Console) -> None:
    """Print a table for each component: shares of time, inside the delegate and outside."""
    for profile in profiles:
        console.print(_table(profile, top))


def _table(profile: OperatorProfile, top: int) -> Table:
    from arcmobile.bench.labels import component_label, counted

    inside = _share(profile.delegated, profile.total)
    label = component_label(profile.component)
    table = Table(
        title=f"{label}: {profile.total * 1e3:.2f} ms a call, {inside} inside XNNPACK",
        title_justify="left",
    )
    table.add_column("operator")
    for column in ("calls", "ms", "share"):
        table.add_column(column, justify="right")
    for delegated in (True, False):
        group = [one for one in profile.operators if one.delegated is delegated]
        if not group:
            continue
        table.add_section()
        table.add_row(bold("inside XNNPACK" if delegated else "outside XNNPACK"))
        for one in group[:top]:
            share = _share(one.seconds, profile.total)
            table.add_row(f"  {one.name}", str(one.calls), f"{one.seconds * 1e3:.3f}", share)
        if rest := group[top:]:
            seconds = sum(one.seconds for one in rest)
            calls = sum(one.calls for one in rest)
            label = f"  {counted(len(rest), 'other kind')}"
            share = _share(seconds, profile.total)
            table.add_row(label, str(calls), f"{seconds * 1e3:.3f}", share)
    return table


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"
