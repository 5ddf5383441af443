"""`arcmobile`: the table of commands, and the one place where errors become exit codes.

A command's module is imported when the command runs, so that `--help` stays quick and a missing
extra costs one line instead of the whole program. Exit codes: 0 done, 1 a check found something,
2 a mistake the user can fix, 130 stopped (Ctrl-C, SIGTERM, SIGHUP).
"""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from arcmobile.cli.standard_streams import prepare_streams
from arcmobile.cli.stop_signals import EXIT_STOPPED, stopped_by_signals
from arcmobile.runtime.backends import BACKENDS, runtime_distributions
from arcmobile.runtime.errors import ArcMobileError, one_line
from arcmobile.runtime.installation import install_advice

EXIT_MISTAKE = 2


@dataclass(frozen=True)
class Entry:
    """One command: where its function (or its Typer sub-app) lives, and its line in the help."""

    target: str  # "module:attribute"
    help: str
    panel: str


COMMANDS: dict[str, Entry] = {
    "export": Entry(
        "arcmobile.cli.export:export_bundle",
        "Turn a checkpoint into a bundle for one engine.",
        "Make",
    ),
    "generate": Entry("arcmobile.cli.generate:generate", "Turn a prompt into sound.", "Make"),
    "inspect": Entry(
        "arcmobile.cli.inspect:inspect_bundle",
        "Show what a bundle holds; check its files.",
        "Measure",
    ),
    "parity": Entry(
        "arcmobile.cli.parity:parity", "Compare the networks with reference arrays.", "Measure"
    ),
    "quant": Entry(
        "arcmobile.cli.quant:quant_app",
        "Measure what quantization costs, layer by layer.",
        "Measure",
    ),
    "bench": Entry("arcmobile.cli.bench:bench_app", "Measure speed, memory and size.", "Measure"),
    "evaluate": Entry(
        "arcmobile.cli.evaluate:evaluate",
        "Judge models on captions that no training has seen.",
        "Measure",
    ),
    "posttrain": Entry(
        "arcmobile.cli.posttrain:posttrain_app",
        "Train a model; make a flow model fast with ARC.",
        "Make",
    ),
    "checkpoint": Entry(
        "arcmobile.cli.checkpoint:checkpoint_app",
        "Make a random checkpoint, or check one.",
        "Set up",
    ),
    "fetch": Entry(
        "arcmobile.cli.fetch:fetch", "Download the trained weights you have access to.", "Set up"
    ),
    "card": Entry("arcmobile.cli.card:card", "Write the model card of a bundle.", "Publish"),
    "publish": Entry(
        "arcmobile.cli.publish:publish", "Put a bundle on the Hugging Face Hub.", "Publish"
    ),
    "doctor": Entry(
        "arcmobile.cli.doctor:doctor",
        "Show what this machine can do, and how to get the rest.",
        "Set up",
    ),
    "version": Entry(
        "arcmobile.cli.main:version", "Print the versions of arcmobile and its engines.", "Set up"
    ),
}

# Import name -> the extra that brings it. Whatever is not listed here comes with `export`.
_EXTRA_OF = {spec.package.partition(".")[0]: spec.extra for spec in BACKENDS.values()} | {
    "huggingface_hub": "hub",
    "jinja2": "bench",
    "pytest": "dev",
    "scipy": "posttrain",
}

# Engines, then what exports for them.
_VERSIONED = dict.fromkeys(
    [*runtime_distributions(), *(tool for spec in BACKENDS.values() for tool in spec.tools)]
)

# Writing fails for reasons the user can fix; the words of errno are clear, the way out is added.
_WAY_OUT = {
    errno.ENOSPC: "free some space or write to another disk",
    errno.EDQUOT: "free some space or write to another disk",
    errno.EACCES: "choose a folder you may write to",
    errno.EPERM: "choose a folder you may write to",
    errno.EROFS: "choose a folder you may write to",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "check the path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f) or write to another disk",
    errno.ELOOP: "the link leads to itself; check the path",
    errno.EIO: "check the disk",
    errno.EBADF: "open it for writing",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENOMEM: "free some memory",
}


class LazyGroup(TyperGroup):
    """A command group filled from :data:`COMMANDS`; a command is imported when it is resolved."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.help, rich_help_panel=entry.panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that the arguments name."""
        name, stub, rest = super().resolve_command(ctx, args)
        if name is None or ctx.resilient_parsing:
            return name, stub, rest
        return name, load_command(name), rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error becomes one line and an exit code."""
        verbose = bool(ctx.params.get("verbose"))
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a full disk behind it shows here, not while Python shuts down
            return result
        except KeyboardInterrupt:
            _say("stopped", verbose)
            raise typer.Exit(EXIT_STOPPED) from None
        except ArcMobileError as error:
            _say(f"error: {error}", verbose)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package in ("", "arcmobile"):
                raise
            extra = _EXTRA_OF.get(package, "export")
            _say(
                f"error: the Python package {package!r} is missing: {install_advice(extra)}",
                verbose,
            )
        except MemoryError:
            _say("error: not enough memory; free some or use a smaller model", verbose)
        except OSError as error:
            if error.errno not in _WAY_OUT:
                raise
            where = f"{error.filename}: " if error.filename else ""
            reason = os.strerror(error.errno)
            _say(f"error: {where}{reason}; {_WAY_OUT[error.errno]}", verbose)
        raise typer.Exit(EXIT_MISTAKE)


def load_command(name: str) -> Any:
    """Import the command `name` of :data:`COMMANDS`; a Typer sub-app becomes a group.

    Raises:
        ModuleNotFoundError: its extra is not installed.
    """
    module_name, _, attribute = COMMANDS[name].target.partition(":")
    target = getattr(importlib.import_module(module_name), attribute)
    if isinstance(target, typer.Typer):
        command: Any = typer.main.get_group(target)
    else:
        single = typer.Typer(add_completion=False)
        single.command(name)(target)
        command = typer.main.get_command(single)
    command.name = name
    return command


def _say(line: str, verbose: bool) -> None:
    if verbose:
        traceback.print_exc()
    # What is said last should reach a full disk or a closed terminal, but must not fail for it.
    with suppress(OSError, ValueError):
        typer.echo(one_line(line), err=True)


def version() -> None:
    """Print the versions of arcmobile and its engines."""
    for package in ("arcmobile", *_VERSIONED):
        _print_version(package)


def _print_version(package: str) -> None:
    try:
        typer.echo(f"{package} {metadata.version(package)}")
    except metadata.PackageNotFoundError:
        typer.echo(f"{package} not installed")


def _print_version_and_exit(wanted: bool) -> None:
    if wanted:
        _print_version("arcmobile")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich"
)


@app.callback()
def _arcmobile(
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            envvar="ARCMOBILE_VERBOSE",
            help="Show the libraries' own messages, and the trace of an error.",
        ),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version_and_exit, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Text to audio on the phone: export, quantize, run and measure Stable Audio Open Small.

    Start with [bold]arcmobile doctor[/bold], or [bold]make export-android[/bold] in a clone.
    """
    if verbose:
        logging.basicConfig(level=logging.INFO)
    else:
        # The exporters announce their own deprecations by the dozen; none concerns our user. Errors
        # still show. PyTorch reads its setting when it is imported, which has not happened yet.
        os.environ.setdefault("TORCH_LOGS", "-all")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the `arcmobile` script; always ends in SystemExit."""
    # Signals are handled until the very end: what is written whole has been, and shutting down
    # PyTorch takes a while.
    with stopped_by_signals():
        try:
            prepare_streams()
            app(args=None if arguments is None else list(arguments), prog_name="arcmobile")
        except KeyboardInterrupt:  # before or after the command itself
            sys.exit(EXIT_STOPPED)
        finally:
            _drop_unwritten_output()
    sys.exit(0)


def _drop_unwritten_output() -> None:
    """Python ends with 120 if it cannot write what is left; an error has said so before."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
