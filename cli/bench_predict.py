"""`arcmobile bench predict`: estimated time of a generation on a device that is not at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from arcmobile.cli.consoles import plain_console
from arcmobile.quant.recipes import DEFAULT_RECIPE

if TYPE_CHECKING:
    from arcmobile.bench.predict import Prediction
    from arcmobile.bench.workload import Workload


def predict(
    device: Annotated[
        str | None, typer.Option("--device", "-d", help="Name of a profile, or a .toml file.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", "-b", help="Exported bundle, instead of --model."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model with known counts. Default: sao-small.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "-r", help=f"Recipe of --model. Default: {DEFAULT_RECIPE}."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads. Default: as the profile says.", min=1)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of the sound. Default: the longest.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Sampler steps. Default: the model's.")] = None,
    list_devices: Annotated[
        bool, typer.Option("--list", help="List the device profiles and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Estimate how long a generation takes on a device you do not have: a roofline per stage.

    All known devices, for the full-size model and the default recipe:

        arcmobile bench predict

    One device in detail, with assumptions and a check against published figures:

        arcmobile bench predict --device raspberry-pi-5

    Your own bundle on your own board (copy a file of bench/devices and change it):

        arcmobile bench predict --bundle out/embedded-executorch-mobile --device ./my-board.toml
        --threads 2
    """
    from arcmobile.bench.device_profiles import load_profile, profile_names
    from arcmobile.bench.predict import assumptions
    from arcmobile.bench.predict import predict as predict_time
    from arcmobile.bench.prediction_record import PredictionRecord, dump
    from arcmobile.bench.published import check_published

    console = plain_console()
    if list_devices:
        if as_json:
            profiles = {name: load_profile(name).profile for name in profile_names()}
            dumped = {name: profile.model_dump() for name, profile in profiles.items()}
            typer.echo(json.dumps(dumped, indent=2))
        else:
            console.print(_devices_table())
        return
    workload = _workload(bundle, model, recipe, seconds, steps)
    names = (device,) if device else profile_names()
    predictions = [predict_time(workload, load_profile(name), threads) for name in names]
    if as_json:
        checks = check_published()
        typer.echo(dump([PredictionRecord.of(p, assumptions(p), checks) for p in predictions]))
        return
    if device is None:
        console.print(f"Predicted: {_title(workload)}", style="bold")
        console.print(_overview(predictions))
        console.print("Loading is not included. For detail, assumptions and checks: --device NAME")
        return
    _explain(console, predictions[0])


def _workload(
    bundle: Path | None,
    model: str | None,
    recipe: str | None,
    seconds: float | None,
    steps: int | None,
) -> Workload:
    from arcmobile.bench.workload import bundle_workload, model_workload
    from arcmobile.runtime.bundle import Bundle
    from arcmobile.runtime.errors import InputError

    if bundle is None:
        return model_workload(model or "sao-small", recipe or DEFAULT_RECIPE, seconds, steps)
    if model or recipe:
        option = "--model" if model else "--recipe"
        raise InputError(f"{option}: a bundle has its own; give {option} or --bundle, not both")
    return bundle_workload(Bundle.open(bundle), seconds, steps)


def _table(left: tuple[str, ...], right: tuple[str, ...], last: tuple[str, ...] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in left:
        table.add_column(column, no_wrap=True)
    for column in right:
        table.add_column(column, justify="right", no_wrap=True)
    for column in last:
        table.add_column(column, overflow="fold")
    return table


def _devices_table() -> Table:
    """Peaks of all cores together."""
    from arcmobile.bench.device_profiles import load_profile, profile_names
    from arcmobile.bench.predict import rate

    table = _table(("profile",), ("year", "int8", "fp32 GMAC/s", "GB/s"), ("device",))
    for name in profile_names():
        profile = load_profile(name).profile
        table.add_row(
            name,
            str(profile.year),
            f"{rate(profile, 'int8', 'linear', profile.cores).gmacs:.0f}",
            f"{rate(profile, 'fp32', 'linear', profile.cores).gmacs:.0f}",
            f"{profile.memory.bandwidth_gb_s:.0f}",
            f"{profile.title}, {profile.chip}",
        )
    return table


def _title(workload: Workload) -> str:
    return (
        f"{workload.title} · {workload.recipe} · {workload.seconds:.1f} s of sound in "
        f"{workload.steps} steps"
    )


def _overview(predictions: list[Prediction]) -> Table:
    right = ("threads", "expected s", "at best s", "first audio s", "RTF")
    table = _table(("device",), right, ("",))
    for one in predictions:
        table.add_row(
            one.device.name,
            str(one.threads),
            f"{one.expected.seconds:.1f}",
            f"{one.optimistic.seconds:.1f}",
            f"{one.expected.first_audio:.1f}",
            f"{one.expected.seconds / one.workload.seconds:.2f}",
            f"{one.device.profile.year}",
        )
    return table


def _explain(console: Console, one: Prediction) -> None:
    from arcmobile.bench.labels import counted
    from arcmobile.bench.predict import assumptions
    from arcmobile.bench.published import check_published, summary

    profile = one.device.profile
    threads = counted(one.threads, "thread")
    console.print(f"{profile.title} ({profile.chip}), {threads}", style="bold")
    cores = (f"{c.count}× {c.core} {c.clock_ghz:g} GHz" for c in profile.clusters)
    console.print(f"{' + '.join(cores)}; {profile.memory.kind}")
    console.print(_title(one.workload))
    console.print(_stages_table(one))
    expected, best = one.expected.seconds, one.optimistic.seconds
    console.print(
        f"Expected {expected:.1f} s (RTF {expected / one.workload.seconds:.2f}), at best "
        f"{best:.1f} s; first audio after {one.expected.first_audio:.1f} s. "
        "Loading is not included."
    )
    console.print("\nAssumed", style="bold")
    for line in assumptions(one):
        console.print(Padding(f"· {line}", (0, 0, 0, 2)))
    console.print("\nSources", style="bold")
    for line in profile.source:
        console.print(Padding(f"· {line}", (0, 0, 0, 2)))
    console.print("\nThe same method against measured figures", style="bold")
    checks = check_published()
    for check in checks:
        point = check.point
        console.print(Padding(f"{check.sentence()}", (0, 0, 0, 2)))
        about = f"{point.title} ({point.year}), threads: {point.threads}; {point.reading}"
        console.print(Padding(about, (0, 0, 0, 6)), style="dim")
    console.print(summary(checks))


def _stages_table(one: Prediction) -> Table:
    """Expected seconds by stage, split into products and all else, and what the products use."""
    right = ("calls", "expected s", "at best s", "products", "rest")
    table = _table(("stage",), right, ("products mostly by",))
    for stage, best in zip(one.expected.stages, one.optimistic.stages, strict=True):
        kind, by = next(iter(stage.by.items()), ("", ""))
        table.add_row(
            stage.name,
            f"{stage.calls:g}",
            f"{stage.seconds:.2f}",
            f"{best.seconds:.2f}",
            f"{stage.products:.2f}",
            f"{stage.elementwise:.2f}",
            f"{by}, {kind}" + ("" if stage.bound == "compute" else "; waits for memory"),
        )
    return table
