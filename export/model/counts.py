"""Counts the work of a preset's networks under every recipe, without weights: ``bench/models``.

From these counts `arcmobile bench predict` estimates a model that nobody has exported. After a
change of networks, recipes or windows, `make counts` writes them again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from arcmobile.export.backends import get_backend
from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.checkpoint.presets import MAX_PIECES, PRESETS
from arcmobile.export.manifest import SCHEDULE
from arcmobile.export.model.config import ModelConfig, T5Config
from arcmobile.export.pipeline import component_plan
from arcmobile.export.programs import FramePlan, audio_format, plan_frames, walk_components
from arcmobile.export.work import WorkCounter
from arcmobile.quant.plan import expected_bytes
from arcmobile.quant.recipes import RECIPES
from arcmobile.runtime.backends import DEFAULT_BACKEND
from arcmobile.runtime.bundle import Work
from arcmobile.runtime.tensors import ATTENTION_MASK, CONDITIONER, DIT, INPUT_IDS
from arcmobile.runtime.whole_output import write_whole_text

_WINDOW_FIELDS: Final = ("frames_per_latent", "window", "context_frames")
_HEAD: Final = """\
# {title} at full size: what one call of each component computes and moves.
# Written by `make counts`; a test counts again and compares.
"""


@dataclass(frozen=True)
class PresetCounts:
    """What is counted of a preset.

    Attributes:
        config: the model.
        frames: its latent length and windows.
        counts: recipe -> component -> work of one call of the largest entry, and bytes of weights.
    """

    config: ModelConfig
    frames: FramePlan
    counts: Mapping[str, Mapping[str, tuple[Work, int]]]


def count_preset(preset: str = "sao-small", recipes: Iterable[str] = RECIPES) -> PresetCounts:
    """Count a preset's networks, as shapes without values, in the order of a generation."""
    chosen, nowhere = PRESETS[preset], Path("nowhere")
    config = ModelConfig.model_validate(chosen.model_config())
    text_config = T5Config.model_validate(chosen.text_config(MAX_PIECES))
    folder = CheckpointFolder(nowhere, nowhere, nowhere, nowhere, config, text_config)
    frames, backend = plan_frames(config), get_backend(DEFAULT_BACKEND)
    length = config.conditioning.text.config.max_length
    tokens = {
        INPUT_IDS: torch.zeros(1, length, dtype=torch.int32),
        ATTENTION_MASK: torch.ones(1, length),
    }
    names = (CONDITIONER, DIT, *(part.component for part in frames.decoder))
    counts: dict[str, dict[str, tuple[Work, int]]] = {recipe: {} for recipe in recipes}
    for examples in walk_components(names, config, frames, tokens):
        network = folder.build_empty(examples.component, backend.form)
        for recipe, components in counts.items():
            plan = component_plan(examples.component, network, RECIPES[recipe], backend)
            with WorkCounter(network, plan) as counter:
                examples.run(network, examples.largest)
            components[examples.component] = counter.work(), expected_bytes(network, plan)
    return PresetCounts(config, frames, counts)


def counts_file(title: str, counted: PresetCounts) -> str:
    """Return the file: sizes of the model, its decoder's parts, each recipe's components."""
    audio = audio_format(counted.config)
    facts = {
        "sample_rate": audio.sample_rate,
        "samples_per_frame": audio.samples_per_frame,
        "frames": counted.frames.counts[-1],
        "default_steps": SCHEDULE.default_steps,
    }
    lines = [f'title = "{title}"', f'backend = "{DEFAULT_BACKEND}"']
    lines += [f"{name} = {value}" for name, value in facts.items()]
    for part in counted.frames.decoder:
        lines += ["", "[[decoder]]", f'component = "{part.component}"']
        lines += [f"{name} = {getattr(part, name)}" for name in _WINDOW_FIELDS]
    for recipe, components in counted.counts.items():
        lines += ["", f"[recipes.{recipe}]"]
        for component, (work, size) in components.items():
            values = {"bytes": size, **work.model_dump()}
            lines.append(f"{component} = {_inline(values)}")
    return _HEAD.format(title=title) + "\n".join(lines) + "\n"


def _inline(table: Mapping[str, object]) -> str:
    """Return an inline table of TOML, keys in order: the file changes only where counts do."""
    cells = (
        f"{key} = {_inline(dict(sorted(value.items()))) if isinstance(value, dict) else value}"
        for key, value in table.items()
    )
    return f"{{ {', '.join(cells)} }}" if table else "{}"


if __name__ == "__main__":
    text = counts_file("Stable Audio Open Small", count_preset())
    write_whole_text(Path(sys.argv[1]), text, overwrite=True, option="FILE")
