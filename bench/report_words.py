"""The words and colour classes that all parts of the report use for the same things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from arcmobile.runtime.tensors import CONDITIONER, DECODER, DIT, stage_of

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_STAGES: Final[Mapping[str, str]] = {CONDITIONER: "conditioner", DIT: "DiT", DECODER: "decoder"}


_LOAD: Final = "load "


def stage_label(stage: str) -> str:
    """``dit`` is ``DiT``, ``load dit`` is ``load DiT``; unknown names stay as they are."""
    if stage.startswith(_LOAD):
        return _LOAD + stage_label(stage.removeprefix(_LOAD))
    return _STAGES.get(stage, stage)


def component_label(component: str) -> str:
    """``decoder_2`` is ``decoder, part 2``; other programs are called as their stage is."""
    stage = stage_of(component)
    if stage == component:
        return stage_label(component)
    return f"{stage_label(stage)}, part {component.removeprefix(f'{stage}_')}"


def stage_tone(stage: str) -> str:
    """The class that gives the stage its colour; stages we do not know are grey."""
    return stage if stage in _STAGES else "other"


def threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def result_letter(index: int) -> str:
    """``A``, ``B``, ...: what a result is called where several are shown; ``AA`` after ``Z``."""
    before, letter = divmod(index, len(_LETTERS))
    return (result_letter(before - 1) if before else "") + _LETTERS[letter]
