"""Counts the work of a preset's networks under every recipe, without weights: ``bench/models``.

From these counts `arcmobile bench predict` estimates a model that nobody has exported. After a
change of networks, recipes or windows, `make counts` writes them again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from arcmobile.export.backends import get_backend
from arcmobile.export.backends.base import LoweringEntry
from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.checkpoint.presets import PRESETS
from arcmobile.export.manifest import SCHEDULE
from arcmobile.export.model.config import ModelConfig, T5Config
from arcmobile.export.model.primitives import ONNX, NetworkForm
from arcmobile.export.pipeline import component_plan
from arcmobile.export.programs import (
    ExampleInputs,
    audio_format,
    component_entries,
    network_outputs,
    plan_frames,
)
from arcmobile.export.work import WorkCounter
from arcmobile.quant.plan import expected_bytes
from arcmobile.quant.recipes import RECIPES
from arcmobile.runtime.backends import DEFAULT_BACKEND
from arcmobile.runtime.bundle import Work
from arcmobile.runtime.tensors import ATTENTION_MASK, CONDITIONER, DIT, INPUT_IDS, NEXT_FEATURES
from arcmobile.runtime.whole_output import write_whole_text

_PIECES: Final = 1000  # of a random tokenizer; the preset's vocabulary is T5's all the same
_WINDOW_FIELDS: Final = ("frames_per_latent", "window", "context_frames")
_HEAD: Final = """\
# {title} at full size: what one call of each component computes and moves.
# Written by `make counts`; a test counts again and compares.
"""


class PresetCounts:
    """The networks of a preset as shapes without values.

    ``components`` are those of a generation, in order.
    """

    def __init__(self, preset: str = "sao-small") -> None:
        chosen, nowhere = PRESETS[preset], Path("nowhere")
        config = ModelConfig.model_validate(chosen.model_config())
        text_config = T5Config.model_validate(chosen.text_config(_PIECES))
        self.folder = CheckpointFolder(nowhere, nowhere, nowhere, nowhere, config, text_config)
        self.frames = plan_frames(config)
        self._parts = tuple(part.component for part in self.frames.decoder)
        self.components = (CONDITIONER, DIT, *self._parts)
        self._outputs: dict[str, Mapping[str, Tensor]] = {}
        tokens = config.conditioning.text.config.max_length
        ids = torch.zeros(1, tokens, dtype=torch.int32)
        self._examples = ExampleInputs({INPUT_IDS: ids, ATTENTION_MASK: torch.ones(1, tokens)}, {})

    def counted(self, component: str, form: NetworkForm, recipe: str) -> tuple[Work, int]:
        """Work of one call of the largest entry, and bytes of weights."""
        network = self.folder.build_empty(component, form)
        plan = component_plan(component, network, RECIPES[recipe], get_backend(DEFAULT_BACKEND))
        largest = self._entries(component)[-1]
        with WorkCounter(network, plan) as counter:
            network_outputs(network, largest)
        return counter.work(), expected_bytes(network, plan)

    def _entries(self, component: str) -> list[LoweringEntry]:
        examples = self._examples
        if component == DIT:
            examples = replace(examples, conditioning=self._given(CONDITIONER))
        elif component in self._parts[1:]:
            before = self._parts[self._parts.index(component) - 1]
            examples = replace(examples, features=self._given(before)[NEXT_FEATURES])
        return component_entries(component, self.folder.config, self.frames, examples)

    def _given(self, component: str) -> Mapping[str, Tensor]:
        """What the largest entry of a component gives, which the next one takes."""
        if component not in self._outputs:
            network = self.folder.build_empty(component, ONNX)
            self._outputs[component] = network_outputs(network, self._entries(component)[-1])
        return self._outputs[component]


def counts_file(title: str, counts: PresetCounts) -> str:
    """The text of the file: sizes of the model, its decoder's parts, each recipe's components."""
    audio = audio_format(counts.folder.config)
    facts = {
        "sample_rate": audio.sample_rate,
        "samples_per_frame": audio.samples_per_frame,
        "frames": counts.frames.counts[-1],
        "default_steps": SCHEDULE.default_steps,
    }
    lines = [f'title = "{title}"', f'backend = "{DEFAULT_BACKEND}"']
    lines += [f"{name} = {value}" for name, value in facts.items()]
    for part in counts.frames.decoder:
        lines += ["", "[[decoder]]", f'component = "{part.component}"']
        lines += [f"{name} = {getattr(part, name)}" for name in _WINDOW_FIELDS]
    form = get_backend(DEFAULT_BACKEND).form
    for recipe in RECIPES:
        lines += ["", f"[recipes.{recipe}]"]
        for component in counts.components:
            work, size = counts.counted(component, form, recipe)
            values = {"bytes": size, **work.model_dump()}
            lines.append(f"{component} = {_inline(values)}")
    return _HEAD.format(title=title) + "\n".join(lines) + "\n"


def _inline(table: Mapping[str, object]) -> str:
    """An inline table of TOML; keys in order, so that the file changes only where counts do."""
    cells = (
        f"{key} = {_inline(dict(sorted(value.items()))) if isinstance(value, dict) else value}"
        for key, value in table.items()
    )
    return f"{{ {', '.join(cells)} }}" if table else "{}"


if __name__ == "__main__":
    text = counts_file("Stable Audio Open Small", PresetCounts())
    write_whole_text(Path(sys.argv[1]), text, overwrite=True, option="FILE")
