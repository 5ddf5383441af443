"""Words for people: stages, their calls, thread counts, results, and the colour of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT, stage_of


@dataclass(frozen=True)
class _Words:
    stage: str
    call: str = "call"


_WORDS: Final[Mapping[str, _Words]] = {
    CONDITIONER: _Words("conditioner"),
    DIT: _Words("DiT", "step"),
    DECODER: _Words("decoder", "chunk"),
}
STAGES: Final = tuple(_WORDS)
"""The stages that every generation runs, in order."""
_LOAD: Final = "load "
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def stage_label(stage: str) -> str:
    """Return ``DiT`` for ``dit``, ``load DiT`` for ``load dit``; unknown names stay as they are."""
    if stage.startswith(_LOAD):
        return _LOAD + stage_label(stage.removeprefix(_LOAD))
    return _WORDS[stage].stage if stage in _WORDS else stage


def call_label(stage: str) -> str:
    """Return what one call of a stage is: a ``step``, a ``chunk`` of sound, a ``call``."""
    return _WORDS[stage].call if stage in _WORDS else "call"


def component_label(component: str) -> str:
    """Return ``decoder, part 2`` for ``decoder_2``; other programs are named like their stage."""
    stage = stage_of(component)
    if stage == component:
        return stage_label(component)
    return f"{stage_label(stage)}, part {component.removeprefix(f'{stage}_')}"


def stage_tone(stage: str) -> str:
    """Return the style-sheet class of the stage's colour; unknown stages are grey."""
    return stage if stage in _WORDS else "other"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 thread``, ``4 threads``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def result_letter(index: int) -> str:
    """Return the letter of a result among several: ``A``, ``B``, ..., and ``AA`` after ``Z``."""
    before, letter = divmod(index, len(_LETTERS))
    return (result_letter(before - 1) if before else "") + _LETTERS[letter]
