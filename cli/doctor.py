"""`arcmobile doctor`: what this machine can do, what it lacks, and the command that installs it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from arcmobile.cli.consoles import bold, plain_console
from arcmobile.runtime.backends import BACKENDS, runtime_distributions
from arcmobile.runtime.installation import install_command

State = Literal["ok", "missing", "broken", "info"]

_PROBE_SECONDS = 120  # a first import of torch from a cold disk


@dataclass(frozen=True)
class Finding:
    """One line of the report; `fix` is a command to run, empty where nothing is wrong."""

    group: str
    name: str
    state: State
    detail: str
    fix: str = ""


@dataclass(frozen=True)
class Package:
    """A Python package that gives an ability.

    With a `module`, it counts as working only once that is imported: native libraries fail there.
    """

    group: str
    name: str
    extra: str
    gives: str
    module: str = ""
    report: str = ""  # an expression over the module that adds to the detail


@dataclass(frozen=True)
class Tool:
    """A program on the PATH: its candidates, what it gives, and its packages by manager."""

    name: str
    gives: str
    packages: Mapping[str, str]


_PACKAGES = (
    *(
        Package(
            "engines", spec.distribution, spec.extra, f"runs {spec.suffix} bundles", spec.package
        )
        for spec in BACKENDS.values()
    ),
    Package(
        "engines",
        "torch",
        "export",
        "reference engine",
        "torch",
        "'CUDA: ' + (torch.cuda.get_device_name() if torch.cuda.is_available() else 'no device')",
    ),
    # Not imported: some take ten seconds, and `arcmobile export` names the one that fails.
    Package("export", "torchao", "export", "quantizes networks"),
    *(
        Package("export", tool, "export", f"writes {spec.suffix} bundles")
        for spec in BACKENDS.values()
        for tool in spec.tools
        if tool not in ("torch", *runtime_distributions())
    ),
    Package("export", "safetensors", "export", "reads checkpoints"),
    Package("export", "sentencepiece", "export", "reads tokenizers"),
    Package("export", "huggingface_hub", "export", "downloads trained weights"),
    Package("bench", "cmake", "bench", "builds the C++ runner"),
    Package("bench", "ninja", "bench", "builds the C++ runner"),
    Package("bench", "jinja2", "bench", "writes reports"),
    Package(
        "audio",
        "soundfile",
        "",
        "writes WAV and FLAC, no ffmpeg needed",
        "soundfile",
        "'libsndfile ' + soundfile.__libsndfile_version__",
    ),
    Package("audio", "soxr", "", "resamples --init-audio", "soxr"),
)
_TOOLS = (
    Tool("g++", "builds the C++ runner", {"apt-get": "g++", "dnf": "gcc-c++"}),
    Tool(
        "aarch64-linux-gnu-g++",
        "builds the C++ runner for Arm",
        {"apt-get": "g++-aarch64-linux-gnu", "dnf": "gcc-c++-aarch64-linux-gnu"},
    ),
    Tool("qemu-aarch64", "runs Arm programs here", {"apt-get": "qemu-user", "dnf": "qemu-user"}),
    Tool("ssh", "talks to an Arm board", {"apt-get": "openssh-client", "dnf": "openssh-clients"}),
    Tool(
        "adb",
        "talks to a phone",
        {"apt-get": "adb", "dnf": "android-tools", "brew": "android-platform-tools"},
    ),
)
# What the int8 and float16 kernels of XNNPACK and KleidiAI look for, by /proc/cpuinfo name.
_FEATURES = {
    "avx2": "256-bit vectors",
    "avx512f": "512-bit vectors",
    "avx_vnni": "int8 dot products",
    "avx512_vnni": "int8 dot products",
    "amx_int8": "int8 matrices",
    "asimd": "Neon",
    "asimddp": "int8 dot products",
    "asimdhp": "float16 arithmetic",
    "i8mm": "int8 matrices",
    "sve": "scalable vectors",
    "sme": "matrix tiles",
    "sme2": "matrix tiles",
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show what this machine can do, what it lacks, and the command that installs it.

    Exit code 1 when no engine loads, so that nothing can run.
    """
    findings = list(examine())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    if not any(f.group == "engines" and f.state == "ok" for f in findings):
        raise typer.Exit(1)


def examine() -> Iterator[Finding]:
    """Yield all findings in order; packages are imported in processes of their own."""
    yield from _machine()
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield from pool.map(probe_package, _PACKAGES)
    for tool in _TOOLS:
        yield probe_tool(tool)


def probe_package(package: Package) -> Finding:
    """Tell whether a package is installed and loads; its native code may crash without harm."""
    install = install_command(package.extra)
    try:
        version = metadata.version(package.name)
    except metadata.PackageNotFoundError:
        return Finding(package.group, package.name, "missing", package.gives, install)
    if not package.module:
        return Finding(package.group, package.name, "ok", f"{version}, {package.gives}")
    code = f"import {package.module}"
    if package.report:
        code += f"; print({package.report})"
    command = [sys.executable, "-W", "ignore", "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        reason = f"did not load within {_PROBE_SECONDS} s"
    else:
        if done.returncode == 0:
            notes = [version, package.gives, *done.stdout.strip().splitlines()[-1:]]
            return Finding(package.group, package.name, "ok", ", ".join(notes))
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    repair = install.replace("install", "install --force-reinstall", 1)
    return Finding(package.group, package.name, "broken", f"{version}, {reason}", repair)


def probe_tool(tool: Tool) -> Finding:
    """Tell whether a program is on the PATH."""
    if found := shutil.which(tool.name):
        return Finding("tools", tool.name, "ok", f"{tool.gives} ({found})")
    return Finding("tools", tool.name, "missing", tool.gives, _install_line(tool))


def _install_line(tool: Tool) -> str:
    for manager, package in tool.packages.items():
        if shutil.which(manager):
            root = "sudo " if manager != "brew" and os.geteuid() != 0 else ""
            return f"{root}{manager} install {package}"
    return "install " + " or ".join(sorted(set(tool.packages.values())))


def cpu_features(cpuinfo: str) -> list[str]:
    """Return those of :data:`_FEATURES` that a text of `/proc/cpuinfo` lists, in that order."""
    present: set[str] = set()
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            present.update(value.split())
    return [name for name in _FEATURES if name in present]


def _machine() -> Iterator[Finding]:
    yield Finding("machine", "Python", "info", f"{platform.python_version()}, {sys.executable}")
    yield Finding("machine", "system", "info", f"{platform.system()} {platform.release()}")
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    names = (line.partition(":")[2] for line in text.splitlines() if line.startswith("model name"))
    model = " ".join(next(names, platform.processor()).split())
    yield Finding("machine", "CPU", "info", f"{platform.machine()} {model}".strip())
    features = [f"{name} ({_FEATURES[name]})" for name in cpu_features(text)]
    yield Finding("machine", "CPU features", "info", ", ".join(features) or "not known here")
    yield Finding("machine", "cores", "info", str(os.cpu_count()))
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield Finding("machine", "memory", "info", f"{pages / 2**30:.1f} GiB")
    free = shutil.disk_usage(Path.cwd()).free
    yield Finding("machine", "disk", "info", f"{free / 2**30:.1f} GiB free in this folder")


_STYLES: dict[State, str] = {"ok": "green", "missing": "yellow", "broken": "red", "info": ""}


def _print(findings: list[Finding]) -> None:
    console = plain_console()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            table.add_row(bold(group))
        mark = Text("" if finding.state == "info" else finding.state, _STYLES[finding.state])
        table.add_row(f"  {finding.name}", mark, finding.detail)
    console.print(table)
    to_fix = [finding for finding in findings if finding.fix]
    if to_fix:
        console.print("\nto get the rest", style="bold")
    for finding in to_fix:
        # Commands are for copying: never wrapped, never read as markup.
        console.print(f"  {finding.fix}", soft_wrap=True, end="")
        console.print(f"   # {finding.name}", soft_wrap=True, style="dim")
