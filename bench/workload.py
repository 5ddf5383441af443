"""What a generation makes a device compute: calls, multiply-accumulates and bytes of each program.

Taken from a bundle's manifest, or, so that a first estimate needs no export, from the counts of a
known model in ``bench/models``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Final

from pydantic import Field

from arcmobile.bench.labels import STAGES
from arcmobile.bench.records import Record, packaged_names, packaged_toml
from arcmobile.runtime.bundle import Bundle, Component, DecoderPart, Work
from arcmobile.runtime.decode import PartPlan, count_calls, plan_parts
from arcmobile.runtime.errors import BundleError, InputError
from arcmobile.runtime.request import GenerationRequest, make_plan
from arcmobile.runtime.tensors import CONDITIONER, DIT, stage_of

_FOLDER: Final = "models"
_Size = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class ComponentWork:
    """One program: ``calls`` of it with ``weight_bytes`` of weights, and what a call does.

    ``first_calls`` of them are made until the first samples are there.
    """

    name: str
    calls: int
    first_calls: int
    work: Work
    weight_bytes: int

    @property
    def stage(self) -> str:
        """The stage of a generation that it is, or belongs to."""
        return stage_of(self.name)


@dataclass(frozen=True)
class Workload:
    """A generation: ``seconds`` of sound in ``steps`` sampler steps, program by program."""

    title: str
    recipe: str
    backend: str
    seconds: float
    steps: int
    components: tuple[ComponentWork, ...]

    def of_stage(self, stage: str) -> tuple[ComponentWork, ...]:
        """Return the programs of a stage: one, or the parts of the decoder."""
        return tuple(one for one in self.components if one.stage == stage)


class ComponentCounts(Work):
    """Work of one call of a component, and the bytes of its weights."""

    bytes: int = Field(ge=1)

    def work(self) -> Work:
        """Return the counts without the bytes."""
        return Work(**self.model_dump(exclude={"bytes"}))


class WindowedPart(DecoderPart):
    """A part of the decoder and the window it was exported with, in frames of its input."""

    window: _Size


class ModelCounts(Record):
    """A known model exported with the default windows: its counts for every recipe."""

    title: str
    backend: str
    sample_rate: _Size
    samples_per_frame: _Size
    frames: _Size
    default_steps: _Size
    decoder: tuple[WindowedPart, ...] = Field(min_length=1)
    recipes: dict[str, dict[str, ComponentCounts]]

    def decoder_plan(self) -> tuple[PartPlan, ...]:
        """Return how the decoder's parts go over the whole latent."""
        windows = [part.window for part in self.decoder]
        return plan_parts(self.decoder, windows, self.frames, self.samples_per_frame)


def bundle_workload(
    bundle: Bundle, seconds: float | None = None, steps: int | None = None
) -> Workload:
    """Return the workload of a bundle; ``None`` means its longest sound and its default steps.

    Raises:
        InputError: seconds or steps are out of range.
        BundleError: the bundle was exported before work was counted.
    """
    manifest = bundle.manifest
    plan = make_plan(GenerationRequest("", seconds=seconds, steps=steps, seed=0), manifest)
    sampler_steps = len(plan.times) - 1
    frames = {DIT: plan.frames, **{part.component: part.window for part in plan.decoder}}

    def component(name: str, calls: int, first_calls: int) -> ComponentWork:
        found = manifest.components[name]
        work = _entry_work(bundle, name, found, frames.get(name))
        return ComponentWork(name, calls, first_calls, work, found.bytes)

    return Workload(
        title=manifest.model_id,
        recipe=manifest.recipe,
        backend=manifest.backend,
        seconds=plan.samples / manifest.audio.sample_rate,
        steps=sampler_steps,
        components=tuple(
            component(name, *calls)
            for name, calls in _calls(sampler_steps, plan.decoder, plan.samples).items()
        ),
    )


def _calls(steps: int, decoder: Sequence[PartPlan], samples: int) -> Mapping[str, tuple[int, int]]:
    """Return the calls of each component in order: for all samples, and until the first one."""
    counts = zip(decoder, count_calls(decoder, samples), count_calls(decoder, 1), strict=True)
    parts = {part.component: (calls, first) for part, calls, first in counts}
    return {CONDITIONER: (1, 1), DIT: (steps, steps), **parts}


def _entry_work(bundle: Bundle, name: str, component: Component, frames: int | None) -> Work:
    entry = component.entries[0] if frames is None else component.entry_for(frames)
    work = entry.work if entry else None
    if work is None:
        raise BundleError(
            f"{bundle.folder}: does not state the work of {name}; export the bundle again"
        )
    return work


def model_names() -> tuple[str, ...]:
    """Return the names of the known models, sorted."""
    return packaged_names(_FOLDER)


@cache
def load_model(name: str) -> ModelCounts:
    """Load the counts of a known model.

    Raises:
        InputError: there is none of that name; the message lists all.
    """
    if name not in model_names():
        raise InputError(
            f"--model {name}: unknown; choose one of {', '.join(model_names())}, "
            "or give an exported bundle with --bundle"
        )
    return ModelCounts.model_validate(packaged_toml(f"{_FOLDER}/{name}"))


def model_workload(
    name: str, recipe: str, seconds: float | None = None, steps: int | None = None
) -> Workload:
    """Return the workload of a known model, as if exported with default settings.

    Raises:
        InputError: unknown model or recipe, or seconds or steps out of range.
    """
    model = load_model(name)
    if recipe not in model.recipes:
        raise InputError(f"--recipe {recipe}: unknown; choose one of {', '.join(model.recipes)}")
    longest = model.frames * model.samples_per_frame / model.sample_rate
    wanted = longest if seconds is None else seconds
    if not 0 < wanted < longest + model.samples_per_frame / model.sample_rate:
        raise InputError(f"--seconds {wanted:g}: give more than 0 and at most {longest:.3f}")
    wanted = min(wanted, longest)
    count = model.default_steps if steps is None else steps
    if not 1 <= count <= 64:
        raise InputError(f"--steps {count}: give 1 to 64")
    calls = _calls(count, model.decoder_plan(), max(1, round(wanted * model.sample_rate)))
    counts = model.recipes[recipe]
    return Workload(
        title=model.title,
        recipe=recipe,
        backend=model.backend,
        seconds=wanted,
        steps=count,
        components=tuple(
            ComponentWork(component, *each, counts[component].work(), counts[component].bytes)
            for component, each in calls.items()
        ),
    )


def mixed_workload(
    name: str, recipes: dict[str, str], steps: int, *, whole_decode: bool
) -> Workload:
    """Return the workload of a known model with a recipe for each stage, as published.

    With ``whole_decode`` each part of the decoder takes all frames in one call, so that none are
    computed twice.
    """
    model = load_model(name)
    chosen = {stage: model_workload(name, recipes[stage], None, steps) for stage in STAGES}
    components = {one.name: one for stage in STAGES for one in chosen[stage].of_stage(stage)}
    if whole_decode:
        for part in model.decoder_plan():
            one = components[part.component]
            work = _scaled(one.work, part.frames / part.window)
            components[one.name] = replace(one, calls=1, first_calls=1, work=work)
    label = " + ".join(dict.fromkeys(recipes[stage] for stage in STAGES))
    return replace(chosen[DIT], recipe=label, components=tuple(components.values()))


def _scaled(work: Work, factor: float) -> Work:
    """Return the work on that many times the frames; its tensors grow as well."""
    return Work(
        linear_macs={kind: round(n * factor) for kind, n in work.linear_macs.items()},
        convolution_macs={kind: round(n * factor) for kind, n in work.convolution_macs.items()},
        product_bytes=round(work.product_bytes * factor),
        elementwise_bytes=round(work.elementwise_bytes * factor),
        largest_bytes=round(work.largest_bytes * factor),
    )
