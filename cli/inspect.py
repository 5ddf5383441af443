"""`arcmobile inspect`: what a bundle holds, and whether its files are what they were."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from arcmobile.cli.consoles import plain_console
from arcmobile.runtime.bundle import Bundle, Entry, Manifest, TensorSpec, Work
from arcmobile.runtime.request import longest_seconds
from arcmobile.runtime.tensors import ENCODER


def inspect_bundle(
    bundle: Annotated[Path, typer.Argument(help="Folder of an exported bundle.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file and compare its sha256.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the manifest as JSON, for scripts.")
    ] = False,
) -> None:
    """Show what a bundle holds; check its files.

    What is in it, at a glance:

        arcmobile inspect out/android

    Check every file against its checksum, after a download or a copy:

        arcmobile inspect out/android --verify

    One figure for a script:

        arcmobile inspect out/android --json | jq .components.dit.fidelity.snr_db
    """
    opened = Bundle.open(bundle, verify=verify)
    if as_json:
        typer.echo(json.dumps(opened.manifest.model_dump(mode="json"), indent=2))
        return
    console = plain_console()
    for table in (
        _overview(opened),
        _components(opened.manifest),
        _precision(opened.manifest),
        _tensors(opened.manifest),
        _files(opened.manifest),
    ):
        console.print(table)
    console.print(
        "Every file has the size and sha256 of the manifest."
        if verify
        else "Every file has the size and sha256 of the manifest, read now or unchanged since; "
        "--verify reads all of them again."
    )


def _overview(bundle: Bundle) -> Table:
    manifest = bundle.manifest
    audio = manifest.audio
    lengths = ", ".join(
        f"{frames} ({frames * audio.samples_per_frame / audio.sample_rate:.2f} s)"
        for frames in manifest.frame_counts
    )
    numbers = ", ".join(f"{n.name} {n.minimum:g}..{n.maximum:g}" for n in manifest.numbers)
    schedule = manifest.schedule
    tools = ", ".join(f"{name} {version}" for name, version in manifest.provenance.tools.items())
    table = Table(title=str(bundle.folder), show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in (
        ("model", manifest.model_id),
        ("license", manifest.license_notice),
        ("recipe", f"{manifest.recipe} on {manifest.backend}"),
        *([("runtime", f"{oldest} or later")] if (oldest := manifest.minimum_runtime) else []),
        ("size", f"{bundle.size / 1e6:.1f} MB"),
        ("sound", f"{audio.channels} channels, {audio.sample_rate} Hz"),
        ("longest", f"{longest_seconds(manifest):.2f} s"),
        ("latent frames", lengths),
        ("numbers", numbers or "none"),
        ("prompt", f"up to {manifest.tokenizer.max_length} tokens"),
        ("sampler", f"{schedule.kind}, {schedule.default_steps} steps by default"),
        ("noise", manifest.noise),
        ("windows", _windows(manifest)),
        ("created", f"{manifest.provenance.created} from {manifest.provenance.checkpoint_sha256}"),
        ("tools", tools),
    ):
        table.add_row(name, value)
    return table


def _windows(manifest: Manifest) -> str:
    """Return how each part of the decoder, and the encoder, goes over a sound: a line for each."""
    audio = manifest.audio
    chain = [
        (p.component, p.frames_per_latent, p.context_frames) for p in manifest.windowing.decoder
    ]
    if ENCODER in manifest.components:
        chain.append((ENCODER, 1, manifest.windowing.encoder_context_frames))
    lines = []
    for name, rate, context in chain:
        frames_per_second = audio.sample_rate / audio.samples_per_frame * rate
        lengths = " or ".join(
            f"{frames} ({frames / frames_per_second:.2f} s)"
            for frames in manifest.components[name].windows
        )
        lines.append(f"{name}: {lengths} frames, context {context}")
    return "\n".join(lines)


def _components(manifest: Manifest) -> Table:
    table = Table(title="Components; error against float32 PyTorch at export time")
    for column in ("component", "MB", "frames", "SNR", "max error", "cosine"):
        table.add_column(column, overflow="fold")
    for name, component in manifest.components.items():
        fidelity = component.fidelity
        table.add_row(
            name,
            f"{component.bytes / 1e6:.1f}",
            ", ".join(map(str, component.windows)) or "–",
            "identical" if fidelity.snr_db is None else f"{fidelity.snr_db:.1f} dB",
            f"{fidelity.max_abs_error:.2g}",
            f"{fidelity.cosine:.6f}",
        )
    return table


def _precision(manifest: Manifest) -> Table:
    """Precision of each part; for ExecuTorch also what runs in the delegate and what outside."""
    table = Table(title="Precision")
    delegated = any(c.delegation is not None for c in manifest.components.values())
    for column in ("component", "part: precision", *(["delegation"] if delegated else [])):
        table.add_column(column, overflow="fold")
    for name, component in manifest.components.items():
        cells = [_pairs(component.precision)]
        if delegated:
            cells.append(_pairs(component.delegation or {}))
        table.add_row(name, *cells)
    return table


def _pairs(values: Mapping[str, str | int]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in values.items())


def _tensors(manifest: Manifest) -> Table:
    """List inputs and outputs of every entry, and what one call computes where that is known."""
    entries = [(name, e) for name, c in manifest.components.items() for e in c.entries]
    counted = any(entry.work is not None for _, entry in entries)
    table = Table(title="Tensors, in call order")
    for column in ("entry", "inputs", "outputs", *(["GMAC a call"] if counted else [])):
        table.add_column(column, overflow="fold")
    for name, entry in entries:
        work = [_gmacs(entry.work)] if counted else []
        table.add_row(f"{name}.{entry.name}", *_tensor_cells(entry), *work)
    return table


def _gmacs(work: Work | None) -> str:
    """Return multiply-accumulates by arithmetic, e.g. ``79.5 int8``."""
    if work is None:
        return "unknown"
    return "\n".join(f"{count / 1e9:.3g} {name}" for name, count in work.macs.items())


def _tensor_cells(entry: Entry) -> tuple[str, str]:
    def lines(specs: tuple[TensorSpec, ...]) -> str:
        return "\n".join(
            f"{spec.name} {spec.dtype} {'×'.join(map(str, spec.shape))}" for spec in specs
        )

    return lines(entry.inputs), lines(entry.outputs)


def _files(manifest: Manifest) -> Table:
    table = Table(title="Files")
    table.add_column("file", overflow="fold")
    table.add_column("bytes", justify="right")
    table.add_column("sha256", overflow="fold")
    for record in manifest.files():
        table.add_row(record.file, f"{record.bytes:,}", record.sha256)
    return table
