"""Export: checkpoint -> networks -> quantized, lowered programs -> bundle.

Components are built, planned, lowered and freed one after the other, so memory peaks at the
largest. When all are lowered, each program is run by the runtime's own engine on real inputs and
compared with the float32 network; a program that misses its gate stops the export and leaves
nothing behind.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from arcmobile.export.backends import get_backend
from arcmobile.export.backends.base import (
    Backend,
    ComputedEntry,
    LoweringEntry,
    LoweringSummary,
)
from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound
from arcmobile.export.fidelity import Array, compare
from arcmobile.export.manifest import (
    build_manifest,
    folder_tokenizer,
    tool_versions,
    write_tokenizer_files,
)
from arcmobile.export.program_cache import ProgramCache, program_key
from arcmobile.export.programs import (
    PARTS,
    FramePlan,
    plan_frames,
    tensor_specs,
    tokenize_example,
    walk_components,
)
from arcmobile.export.work import WorkCounter
from arcmobile.quant.plan import (
    check_size,
    expected_bytes,
    least_bytes,
    plan_layers,
    quantizable_layers,
)
from arcmobile.quant.precision import Precision
from arcmobile.quant.recipes import Recipe, get_recipe
from arcmobile.runtime.bundle import (
    Bundle,
    BundleWriter,
    Component,
    Entry,
    Fidelity,
    Manifest,
    Work,
    write_bundle,
)
from arcmobile.runtime.engine import EngineOptions, open_engine
from arcmobile.runtime.errors import ExportError, InputError, one_line
from arcmobile.runtime.tensors import CONDITIONER, DIT, ENCODER, stage_of

# Least SNR in dB of a program against the float32 network, by the lowest precision in it. These
# catch broken lowerings; how good a recipe is, is the quantization report's business.
MINIMUM_SNR_DB: Mapping[Precision, float] = {
    Precision.FP32: 70.0,
    Precision.FP16: 45.0,
    Precision.INT8_WEIGHT_ONLY: 25.0,
    Precision.INT8_DYNAMIC: 18.0,
}

_LONGEST_ID = 200  # characters

Report = Callable[[str], None]


@dataclass(frozen=True)
class ExportRequest:
    """What to export and where to.

    Attributes:
        checkpoint: checkpoint folder; ``text_encoder`` defaults to its sub-folder.
        backend, recipe: registered names.
        destination: the bundle's folder.
        frames: latent lengths to make programs for; empty: the trained length.
        window: frames per window of the chunked decode; None: chosen.
        encoder: whether the bundle gets the audio encoder (for init audio).
        model_id: name in the manifest; None: the checkpoint folder's.
        overwrite: whether an existing bundle is replaced.
        cache: folder of lowered programs to reuse and fill; None: no cache.
        threads: for running the lowered programs.
    """

    checkpoint: Path
    destination: Path
    backend: str
    recipe: str
    text_encoder: Path | None = None
    frames: tuple[int, ...] = ()
    window: int | None = None
    encoder: bool = False
    model_id: str | None = None
    overwrite: bool = False
    cache: Path | None = None
    threads: int | None = None


@dataclass
class LoweredComponent:
    """One lowered program and what is known about it."""

    name: str
    file: str
    entries: tuple[LoweringEntry, ...]
    outputs: dict[str, dict[str, Array]]  # entry -> tensor -> the float32 network's values
    work: dict[str, Work]  # by entry
    plan: dict[str, Precision]
    precision: dict[str, str]
    summary: LoweringSummary
    cached: bool
    fidelity: Fidelity = field(
        default_factory=lambda: Fidelity(max_abs_error=0.0, snr_db=None, cosine=1.0)
    )

    def manifest_entries(self) -> tuple[Entry, ...]:
        """Return the entries as the manifest lists them."""
        return tuple(
            Entry(
                name=entry.name,
                frames=entry.frames,
                inputs=tensor_specs(entry.inputs),
                outputs=tensor_specs(
                    {n: torch.from_numpy(a) for n, a in self.outputs[entry.name].items()}
                ),
                work=self.work[entry.name],
            )
            for entry in self.entries
        )


@dataclass(frozen=True)
class ExportOutcome:
    """A finished export: the bundle and, per component, how it was made."""

    bundle: Bundle
    components: list[LoweredComponent]
    seconds: float


def component_plan(
    component: str, network: nn.Module, recipe: Recipe, backend: Backend
) -> dict[str, Precision]:
    """Return, by layer name, the precision that the backend will really give it."""
    layers = dict(quantizable_layers(network))
    planned = plan_layers(network, PARTS[stage_of(component)], recipe)
    return {name: backend.effective(layers[name], precision) for name, precision in planned.items()}


def describe_precision(
    component: str, network: nn.Module, plan: Mapping[str, Precision]
) -> dict[str, str]:
    """Return the precisions of each part by share of weights, e.g. ``int8-dynamic+fp16``."""
    shares: dict[str, dict[Precision, int]] = {}
    prefixes = PARTS[stage_of(component)]
    for name, layer in quantizable_layers(network):
        matching = [p for p in prefixes if not p or name == p or name.startswith(f"{p}.")]
        part = prefixes[max(matching, key=len)].value
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        share = shares.setdefault(part, {})
        share[plan[name]] = share.get(plan[name], 0) + weight.numel()
    return {
        part: "+".join(p.value for p in sorted(share, key=lambda p: -share[p]))
        for part, share in shares.items()
    }


def export_bundle(request: ExportRequest, report: Report = lambda line: None) -> ExportOutcome:
    """Export a checkpoint as a bundle; ``report`` gets one line per step.

    Raises:
        InputError: an unknown backend or recipe, or latent lengths out of range.
        CheckpointError: the checkpoint is not sound.
        ExportError: lowering failed, or a program missed its gate or its size.
        OutputError: the destination cannot be written.
    """
    start = time.perf_counter()
    recipe, backend = get_recipe(request.recipe), get_backend(request.backend)
    EngineOptions(threads=request.threads).thread_count()
    model_id = _model_id(request)
    folder = CheckpointFolder.open(request.checkpoint, request.text_encoder)
    frames = plan_frames(folder.config, request.frames, request.window)
    cache = ProgramCache(request.cache) if request.cache else None
    with write_bundle(request.destination, overwrite=request.overwrite) as writer:
        report("checking the checkpoint")
        require_sound(folder, digest=True)
        digest = folder.digest()
        tokenizer_files = write_tokenizer_files(folder, writer)
        lowered = _lower_components(
            request, folder, recipe, backend, frames, digest, writer, cache, report
        )

        def manifest() -> Manifest:
            return build_manifest(
                folder,
                frames,
                {one.name: _component(one, writer) for one in lowered},
                model_id=model_id,
                recipe=recipe.name,
                backend=backend.spec.name,
                minimum_runtime=backend.spec.minimum_runtime,
                digest=digest,
                tokenizer_files=[writer.record(name) for name in tokenizer_files],
                tools=tool_versions(backend.spec.tools),
            )

        unfinished = Bundle(writer.folder, manifest())
        computed = measure_fidelity(unfinished, lowered, request.threads, report)
        if backend.cross_check:
            report("running the programs as devices do")
            backend.cross_check(computed)
        writer.finish(manifest())
    bundle = Bundle.open(request.destination)
    return ExportOutcome(bundle, lowered, time.perf_counter() - start)


def _model_id(request: ExportRequest) -> str:
    """Return the name for the manifest, which is one line.

    Raises:
        InputError: the name that the request gives is not.
    """
    name = request.model_id
    if name is None:
        return one_line(request.checkpoint.resolve().name)[:_LONGEST_ID] or "model"
    if not name or name != one_line(name) or len(name) > _LONGEST_ID:
        raise InputError(
            f"--model-id {name!r}: give 1 to {_LONGEST_ID} printable characters on one line"
        )
    return name


def _component(lowered: LoweredComponent, writer: BundleWriter) -> Component:
    delegation: dict[str, int] = {}
    for one in lowered.summary.delegation.values():  # entries are the same graph at other lengths
        delegation = one.record()
    return Component(
        **writer.record(lowered.file).model_dump(),
        precision=lowered.precision,
        entries=lowered.manifest_entries(),
        fidelity=lowered.fidelity,
        delegation=delegation or None,
    )


def _lower_components(
    request: ExportRequest,
    folder: CheckpointFolder,
    recipe: Recipe,
    backend: Backend,
    frames: FramePlan,
    digest: str,
    writer: BundleWriter,
    cache: ProgramCache | None,
    report: Report,
) -> list[LoweredComponent]:
    parts = [part.component for part in frames.decoder]
    names = [CONDITIONER, DIT, *parts, *([ENCODER] if request.encoder else [])]
    tokens = tokenize_example(folder_tokenizer(folder))
    lowered = []
    for examples in walk_components(names, folder.config, frames, tokens):
        name, entries = examples.component, examples.entries
        report(f"{name}: loading weights")
        network = folder.build(name, backend.form)
        plan = component_plan(name, network, recipe, backend)
        report(f"{name}: float32 reference")
        work = {}
        for entry in entries:
            with WorkCounter(network, plan) as counter:
                examples.run(network, entry)
            work[entry.name] = counter.work()
        precision = describe_precision(name, network, plan)
        sizes = least_bytes(network, plan), expected_bytes(network, plan)
        file = f"{name}{backend.spec.suffix}"
        key = program_key(
            checkpoint=digest,
            component=name,
            backend=backend.spec.name,
            plan=plan,
            entries=entries,
            tools=tool_versions(backend.spec.tools),
        )
        summary = cache.take(key, writer.path(file)) if cache else None
        cached = summary is not None
        if summary is None:
            summary = backend.lower(network, plan, entries, writer.path(file), report=report)
            check_size(f"{name} ({recipe.name}, {backend.spec.name})", summary.bytes, *sizes)
            if cache:
                cache.keep(key, writer.path(file), summary)
        else:
            report(f"{name}: taken from the cache")
        del network
        gc.collect()
        arrays = {
            entry: {n: t.numpy().astype(np.float32) for n, t in tensors.items()}
            for entry, tensors in examples.outputs.items()
        }
        lowered.append(
            LoweredComponent(name, file, entries, arrays, work, plan, precision, summary, cached)
        )
    return lowered


def measure_fidelity(
    bundle: Bundle, lowered: list[LoweredComponent], threads: int | None, report: Report
) -> list[ComputedEntry]:
    """Run every entry by the runtime's engine and note its distance from the float32 network.

    Returns:
        What every entry gave.

    Raises:
        ExportError: a program's SNR is below :data:`MINIMUM_SNR_DB` of its lowest precision.
    """
    computed = []
    with open_engine(bundle, EngineOptions(threads=threads)) as engine:
        for one in lowered:
            report(f"{one.name}: running the program")
            worst: Fidelity | None = None
            for entry in one.entries:
                inputs = {name: tensor.numpy() for name, tensor in entry.inputs.items()}
                found = engine.run(one.name, entry.name, inputs)
                fidelity = compare(one.outputs[entry.name], found)
                kept = {name: values.copy() for name, values in found.items()}
                program = bundle.folder / one.file
                computed.append(ComputedEntry(program, entry.name, inputs, kept))
                if worst is None or _snr(fidelity) < _snr(worst):
                    worst = fidelity
            engine.unload(one.name)
            assert worst is not None  # every component has an entry
            one.fidelity = worst
            lowest = min(
                set(one.plan.values()) or {Precision.FP32}, key=lambda p: MINIMUM_SNR_DB[p]
            )
            if _snr(worst) < MINIMUM_SNR_DB[lowest]:
                raise ExportError(
                    f"{one.file}: SNR {_snr(worst):.1f} dB against float32 PyTorch, at least "
                    f"{MINIMUM_SNR_DB[lowest]:.0f} dB expected of {lowest.value}; "
                    "try another recipe (arcmobile quant report shows where the error arises)"
                )
    return computed


def _snr(fidelity: Fidelity) -> float:
    return float("inf") if fidelity.snr_db is None else fidelity.snr_db
