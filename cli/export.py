"""`arcmobile export`: a checkpoint to a bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from arcmobile.cli.consoles import plain_console
from arcmobile.cli.registry_options import Backend, Recipe
from arcmobile.quant.recipes import DEFAULT_RECIPE
from arcmobile.runtime.backends import DEFAULT_BACKEND
from arcmobile.runtime.errors import InputError
from arcmobile.runtime.memory import peak_bytes

if TYPE_CHECKING:
    from arcmobile.export.pipeline import ExportOutcome


def export_bundle(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint folder: model_config.json, model.safetensors.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Bundle folder. Default: out/MODEL-BACKEND-RECIPE."),
    ] = None,
    backend: Backend = DEFAULT_BACKEND,
    recipe: Recipe = DEFAULT_RECIPE,
    text_encoder: Annotated[
        Path | None,
        typer.Option(help="Text encoder folder. Default: CHECKPOINT/text_encoder."),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            help="Latent lengths to make programs for, e.g. 64,256; shorter ones generate short "
            "sounds faster. Default: the trained length."
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            help="Latent frames that a part of the decoder takes at most at once; 0: all of them. "
            "Default: chosen by what caches hold."
        ),
    ] = None,
    encoder: Annotated[
        bool, typer.Option("--encoder", help="Add the audio encoder, for --init-audio.")
    ] = False,
    model_id: Annotated[
        str | None, typer.Option(help="Name in the manifest. Default: the checkpoint folder's.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a bundle that is already there.")
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of lowered programs to reuse when an export is repeated."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads for checking the programs. Default: all cores.")
    ] = None,
) -> None:
    """Export a checkpoint as a bundle of programs that a phone, a board or this machine can run.

    Every program is compared with the float32 network before the bundle appears; the figures are
    in its manifest (see: arcmobile inspect BUNDLE).

    Example:  arcmobile export checkpoints/sao-small --backend executorch --recipe mobile
    """
    from arcmobile.export.pipeline import ExportRequest
    from arcmobile.export.pipeline import export_bundle as run

    request = ExportRequest(
        checkpoint=checkpoint,
        destination=out or Path("out") / f"{checkpoint.resolve().name}-{backend}-{recipe}",
        backend=backend,
        recipe=recipe,
        text_encoder=text_encoder,
        frames=_lengths(frames),
        window=window,
        encoder=encoder,
        model_id=model_id,
        overwrite=overwrite,
        cache=cache,
        threads=threads,
    )
    console = plain_console(stderr=True)
    with StepLog(console) as steps:
        outcome = run(request, steps)
    _summary(outcome)


def _lengths(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise InputError(f"--frames {text}: give whole numbers, e.g. 64,256") from None


class StepLog:
    """A spinner with the current step and, unless ``keep`` is off, a line for each step done."""

    def __init__(self, console: Console, *, keep: bool = True):
        self._console, self._keep = console, keep
        self._status = Status("", console=console)
        self._current: tuple[str, float] | None = None

    def __call__(self, line: str) -> None:
        """Begin a step; the one before is done."""
        self._finish()
        self._current = (line, time.perf_counter())
        self._status.update(Text(line))  # a str would be read as markup

    def _finish(self) -> None:
        if self._current is not None:
            line, start = self._current
            self._current = None
            if self._keep:
                self._print(line, time.perf_counter() - start)

    def _print(self, line: str, seconds: float) -> None:
        self._console.print(Text.assemble((f"  {seconds:6.1f} s", "dim"), f"  {line}"))

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._status.stop()
        if kind is None:
            self._finish()


def _summary(outcome: ExportOutcome) -> None:
    console = plain_console()
    manifest = outcome.bundle.manifest
    if manifest.objective == "rectified_flow":
        typer.echo(
            f"warning: {manifest.model_id} is a flow model (rectified_flow): "
            f"{manifest.schedule.default_steps} steps without guidance are not what it was trained "
            "for; `arcmobile posttrain arc` makes a few-step model of it",
            err=True,
        )
    table = Table(title=f"{manifest.model_id} · {manifest.backend} · {manifest.recipe}")
    delegating = any(one.summary.delegation for one in outcome.components)
    table.add_column("component", no_wrap=True)
    for heading in ("MB", "SNR dB", *(["delegates"] if delegating else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("precision", *(["outside delegates"] if delegating else [])):
        table.add_column(heading, overflow="fold")
    for one in outcome.components:
        snr = one.fidelity.snr_db
        cells = [f"{one.summary.bytes / 1e6:.1f}", "equal" if snr is None else f"{snr:.1f}"]
        precision = "\n".join(dict.fromkeys(one.precision.values()))
        if delegating:
            delegation = next(iter(one.summary.delegation.values()))
            names = (n.removesuffix(".default") for n in delegation.outside)
            outside = zip(delegation.outside.values(), names, strict=True)
            cells += [str(delegation.delegates), precision]
            cells.append("\n".join(f"{count} {name}" for count, name in outside))
        else:
            cells.append(precision)
        table.add_row(one.name, *cells)
    console.print(table)
    console.print(
        f"Bundle: {outcome.bundle.folder}  ({outcome.bundle.size / 1e6:.1f} MB, "
        f"{outcome.seconds:.0f} s, peak memory {peak_bytes() / 1e9:.1f} GB)",
        soft_wrap=True,
    )
    console.print(
        f'Hear it: arcmobile generate "soft rain" --bundle {outcome.bundle.folder}', soft_wrap=True
    )
