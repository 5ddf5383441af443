"""What a generation makes a device compute: calls, multiply-accumulates and bytes of each stage.

Taken from a bundle's manifest, or, so that a first estimate needs no export, from the counts of a
known model in ``bench/models``.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from arcmobile.runtime.bundle import Bundle, Component, Work
from arcmobile.runtime.decode import plan_windows
from arcmobile.runtime.errors import BundleError, InputError
from arcmobile.runtime.request import GenerationRequest, make_plan
from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT

STAGES: Final = (CONDITIONER, DIT, DECODER)
_SUFFIX: Final = ".toml"
_Size = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class StageWork:
    """One stage: ``calls`` of a program with ``weight_bytes`` of weights, and what a call does."""

    name: str
    calls: float
    work: Work
    weight_bytes: int


@dataclass(frozen=True)
class Workload:
    """A generation: ``seconds`` of sound in ``steps`` sampler steps, stage by stage."""

    title: str
    recipe: str
    backend: str
    seconds: float
    steps: int
    stages: tuple[StageWork, ...]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ComponentCounts(Work):
    """Work of one call of a component, and the bytes of its weights."""

    bytes: int = Field(ge=1)

    def work(self) -> Work:
        return Work(**self.model_dump(exclude={"bytes"}))


class ModelCounts(_Record):
    """A known model exported with the default windows: its counts for every recipe."""

    title: str
    backend: str
    sample_rate: _Size
    samples_per_frame: _Size
    frames: _Size
    window: _Size
    context: int
    default_steps: _Size
    recipes: dict[str, dict[str, ComponentCounts]]


def bundle_workload(
    bundle: Bundle, seconds: float | None = None, steps: int | None = None
) -> Workload:
    """The workload of a bundle; ``None`` means its longest sound and its default steps.

    Raises:
        InputError: seconds or steps are out of range.
        BundleError: the bundle was exported before work was counted.
    """
    manifest = bundle.manifest
    plan = make_plan(GenerationRequest("", seconds=seconds, steps=steps, seed=0), manifest)
    sampler_steps = len(plan.times) - 1
    windows = _windows(
        plan.frames, plan.window, manifest.windowing.context_frames, plan.frames_needed
    )
    calls = {CONDITIONER: 1, DIT: sampler_steps, DECODER: windows}
    frames = {CONDITIONER: None, DIT: plan.frames, DECODER: plan.window}
    return Workload(
        title=manifest.model_id,
        recipe=manifest.recipe,
        backend=manifest.backend,
        seconds=plan.samples / manifest.audio.sample_rate,
        steps=sampler_steps,
        stages=tuple(
            StageWork(
                name,
                calls[name],
                _entry_work(bundle, name, manifest.components[name], frames[name]),
                manifest.components[name].bytes,
            )
            for name in STAGES
        ),
    )


def _entry_work(bundle: Bundle, name: str, component: Component, frames: int | None) -> Work:
    entry = component.entries[0] if frames is None else component.entry_for(frames)
    work = entry.work if entry else None
    if work is None:
        raise BundleError(
            f"{bundle.folder}: says nothing about the work of {name}; export the bundle again"
        )
    return work


def _windows(frames: int, window: int, context: int, needed: int) -> int:
    """Decoder calls until ``needed`` of ``frames`` frames are there."""
    plan = plan_windows(frames, min(window, frames), context)
    return sum(one.keep_start < needed for one in plan)


def model_names() -> tuple[str, ...]:
    folder = resources.files("arcmobile.bench") / "models"
    files = (item.name for item in folder.iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX)))


@cache
def load_model(name: str) -> ModelCounts:
    """The counts of a known model; :class:`InputError` lists them if there is none of that name."""
    if name not in model_names():
        raise InputError(
            f"--model {name}: unknown; choose one of {', '.join(model_names())}, "
            "or give an exported bundle with --bundle"
        )
    file = resources.files("arcmobile.bench") / "models" / f"{name}{_SUFFIX}"
    return ModelCounts.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))


def model_workload(
    name: str, recipe: str, seconds: float | None = None, steps: int | None = None
) -> Workload:
    """The workload of a known model, as if exported with default settings.

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
    needed = math.ceil(wanted * model.sample_rate / model.samples_per_frame)
    windows = _windows(model.frames, model.window, model.context, needed)
    calls = {CONDITIONER: 1, DIT: count, DECODER: windows}
    return Workload(
        title=model.title,
        recipe=recipe,
        backend=model.backend,
        seconds=wanted,
        steps=count,
        stages=tuple(
            StageWork(stage, calls[stage], counts.work(), counts.bytes)
            for stage, counts in ((s, model.recipes[recipe][s]) for s in STAGES)
        ),
    )


def mixed_workload(
    name: str, recipes: dict[str, str], steps: int, *, whole_decode: bool
) -> Workload:
    """A known model with a recipe for each stage, as others have published it.

    With ``whole_decode`` all frames are decoded in one piece, so that none are decoded twice.
    """
    model = load_model(name)
    chosen = {stage: model_workload(name, recipes[stage], None, steps) for stage in STAGES}
    stages = [next(one for one in chosen[stage].stages if one.name == stage) for stage in STAGES]
    if whole_decode:
        stages[-1] = replace(stages[-1], calls=model.frames / model.window)
    label = " + ".join(dict.fromkeys(recipes[stage] for stage in STAGES))
    return replace(chosen[DIT], recipe=label, stages=tuple(stages))
