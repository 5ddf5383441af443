"""`arcmobile bench run`: measure a bundle on this machine, an emulated core, a board or a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from arcmobile.cli.bench_options import (
    BundleFolder,
    Native,
    Overwrite,
    Prompt,
    Seconds,
    Seed,
    Steps,
    Timeout,
    option,
    parse_counts,
)
from arcmobile.cli.consoles import plain_console
from arcmobile.runtime.errors import InputError, OutputError

if TYPE_CHECKING:
    from arcmobile.bench.measure import Cooling, Report
    from arcmobile.bench.result import BenchResult

_TARGET: Final = "Target"
_PROTOCOL: Final = "Protocol"


def run(
    bundle: BundleFolder,
    target: Annotated[
        str, option(_TARGET, "host, qemu, ssh or adb.", "--target", "-t", show_default=True)
    ] = "host",
    runner: Annotated[
        str | None, option(_TARGET, "host: auto, native or python (any backend). Default: auto.")
    ] = None,
    cpu: Annotated[
        str | None,
        option(_TARGET, "qemu: neoverse-n1, cortex-a53 ... Default: max,sme=off (has i8mm)."),
    ] = None,
    host: Annotated[
        str | None, option(_TARGET, "ssh: user@board, or a name from your ssh configuration.")
    ] = None,
    port: Annotated[int | None, option(_TARGET, "ssh: port.", min=1, max=65535)] = None,
    identity: Annotated[Path | None, option(_TARGET, "ssh: private key file.")] = None,
    ssh_config: Annotated[Path | None, option(_TARGET, "ssh: configuration file.")] = None,
    serial: Annotated[
        str | None, option(_TARGET, "adb: which phone (see adb devices -l). Default: the only one.")
    ] = None,
    native: Native = None,
    exec_prefix: Annotated[
        str | None,
        option(_TARGET, 'Start the runner through another program, e.g. "taskset -c 4-7".'),
    ] = None,
    device_folder: Annotated[
        str | None, option(_TARGET, "ssh, adb: folder on the device for the scratch folder.")
    ] = None,
    prompt: Prompt = None,
    seconds: Seconds = None,
    steps: Steps = None,
    seed: Seed = 1,
    threads: Annotated[
        str, option(_PROTOCOL, "Thread counts, e.g. 1,2,4.", show_default=True)
    ] = "1",
    warmup: Annotated[int, option(_PROTOCOL, "Runs to warm up.", min=0, show_default=True)] = 1,
    repeats: Annotated[int, option(_PROTOCOL, "Runs that count.", min=1, show_default=True)] = 5,
    cool_to: Annotated[
        float | None,
        option(
            _PROTOCOL,
            "Before each run, wait until the CPU is at most this many °C. "
            "Default: 40 for adb; no waiting elsewhere.",
        ),
    ] = None,
    no_cool: Annotated[
        bool, option(_PROTOCOL, "Never wait for the device to cool.", "--no-cool")
    ] = False,
    timeout: Timeout = 3600.0,
    out: Annotated[
        Path | None,
        option(None, "Result file. Default: out/bench/BUNDLE-DEVICE-DATE.json.", "--out", "-o"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure a bundle: time by stage, loading and memory; here, emulated, or on a device.

    Cold loads come first, then warm-ups, then the repeats, each in a fresh process. The figures go
    to a result file (see `bench report` and `bench compare`). Nothing stays on a device.

    This machine, three thread counts:

        arcmobile bench run --bundle out/embedded-executorch-mobile --threads 1,2,4

    An emulated Cortex-A53 (its times are the emulator's):

        arcmobile bench run --bundle out/embedded-executorch-mobile --target qemu --cpu cortex-a53

    A board on the network, on its big cores:

        arcmobile bench run --bundle out/embedded-executorch-mobile --target ssh --host pi@board
        --exec-prefix "taskset -c 2-3"

    A phone on USB (waits until it is cool, and says so if it throttles):

        arcmobile bench run --bundle out/embedded-executorch-mobile --target adb --threads 1,4
    """
    from arcmobile.bench.measure import DEFAULT_PROMPT, Protocol, measure
    from arcmobile.bench.targets import make_target
    from arcmobile.bench.targets.base import TargetOptions
    from arcmobile.cli.bench_tables import measurement_tables
    from arcmobile.runtime.bounds import THREADS
    from arcmobile.runtime.bundle import Bundle
    from arcmobile.runtime.request import GenerationRequest
    from arcmobile.runtime.whole_output import check_file

    console = plain_console(stderr=True)
    protocol = Protocol(parse_counts("--threads", threads, most=THREADS), warmup, repeats)
    opened = Bundle.open(bundle)
    options = TargetOptions(
        native=native,
        runner=runner,
        cpu=cpu,
        serial=serial,
        host=host,
        port=port,
        identity=identity,
        ssh_config=ssh_config,
        exec_prefix=exec_prefix,
        device_folder=device_folder,
        timeout=timeout,
        warn=lambda line: console.print(f"note: {line}"),
    )
    machine = make_target(target, options)
    if out is not None:
        check_file(out, overwrite=overwrite, option="--out")
    request = GenerationRequest(
        DEFAULT_PROMPT if prompt is None else prompt, seconds=seconds, steps=steps, seed=seed
    )
    cooling = _cooling(cool_to, no_cool=no_cool, phone=machine.is_phone)

    def write(measured: BenchResult) -> Path:
        """Write the result, to its default path if --out has become impossible meanwhile."""
        path = out or _default_path(measured)
        try:
            measured.write(path, overwrite=overwrite)
        except OutputError:
            if out is None:
                raise
            path = _default_path(measured)
            measured.write(path)
            console.print(f"note: the result is in {path}")
            raise
        return path

    def keep(part: BenchResult) -> None:
        console.print(f"note: what was measured so far is kept: {write(part)}")

    with _progress(console) as report:
        result = measure(
            machine, opened, request, protocol, cooling=cooling, report=report, keep=keep
        )
    path = write(result)
    table_console = plain_console()
    for table in measurement_tables(result):
        table_console.print(table)
    typer.echo(f"result: {path}")


def _cooling(celsius: float | None, *, no_cool: bool, phone: bool) -> Cooling | None:
    from arcmobile.bench.measure import PHONE_COOL_CELSIUS, Cooling

    if no_cool:
        if celsius is not None:
            raise InputError("--cool-to and --no-cool: give one of them")
        return None
    if celsius is None:
        return Cooling(PHONE_COOL_CELSIUS) if phone else None
    if not 0 < celsius < 150:
        raise InputError(f"--cool-to {celsius:g}: give degrees Celsius, e.g. 40")
    return Cooling(celsius)


def _default_path(result: BenchResult) -> Path:
    parts = (result.bundle.name, result.environment.target, result.environment.device)
    name = "-".join(re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-") for part in parts)
    date = re.sub(r"[-:]|\+.*", "", result.created)
    folder, stem, count = Path("out") / "bench", f"{name}-{date}", 1
    while (path := folder / f"{stem}{f'-{count}' if count > 1 else ''}.json").exists():
        count += 1
    return path


@contextmanager
def _progress(console: Console) -> Iterator[Report]:
    """A bar on a terminal; elsewhere a line for each run, as a log wants it."""
    from arcmobile.bench.measure import Progress

    columns = (
        TextColumn("{task.description}", markup=False),
        *(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
    )
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("")
        last = ""

        def show(progress: Progress) -> None:
            nonlocal last
            bars.update(
                task, description=progress.doing, completed=progress.done, total=progress.total
            )
            # A wait counts its seconds; a log hears of it once.
            what = progress.doing.partition(":")[0]
            if not console.is_terminal and what != last:
                console.print(f"{progress.done}/{progress.total} {progress.doing}")
            last = what

        yield show
