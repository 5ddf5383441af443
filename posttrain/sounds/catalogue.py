"""Every class of sounds by its name: words of ``classes.toml``, synthesis of the families."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arcmobile.posttrain.sounds import drums, living, machines, nature, struck, sweeps, tones
from arcmobile.posttrain.sounds.sound_class import SoundClass, Synth
from arcmobile.runtime.errors import InputError

_FAMILIES: Mapping[str, Mapping[str, Synth]] = {
    "tones": tones.SYNTHS,
    "sweeps": sweeps.SYNTHS,
    "struck": struck.SYNTHS,
    "drums": drums.SYNTHS,
    "nature": nature.SYNTHS,
    "machines": machines.SYNTHS,
    "living": living.SYNTHS,
}


def _declared(row: Mapping[str, Any], synths: Mapping[str, Synth]) -> SoundClass:
    words: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row.items()
    }
    return SoundClass(synth=synths[row["name"]], **words)


def _read() -> dict[str, SoundClass]:
    with Path(__file__).with_name("classes.toml").open("rb") as file:
        families = tomllib.load(file)
    classes = [_declared(row, _FAMILIES[name]) for name, rows in families.items() for row in rows]
    return {declared.name: declared for declared in classes}


CLASSES: Mapping[str, SoundClass] = _read()
"""In the order of declaration, which seeds depend on."""


def find_class(name: str) -> SoundClass:
    """Return the class of that name.

    Raises:
        InputError: there is none; lists the known ones.
    """
    if name not in CLASSES:
        raise InputError(f"unknown sound {name!r}; known: {', '.join(CLASSES)}")
    return CLASSES[name]
