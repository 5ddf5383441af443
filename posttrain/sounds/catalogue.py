"""The registry: every class of sounds by its name, family after family."""

from __future__ import annotations

from collections.abc import Mapping

from arcmobile.posttrain.sounds import drums, living, machines, nature, struck, sweeps, tones
from arcmobile.posttrain.sounds.sound_class import SoundClass
from arcmobile.runtime.errors import InputError

FAMILIES: tuple[tuple[SoundClass, ...], ...] = (
    tones.SOUNDS,
    sweeps.SOUNDS,
    struck.SOUNDS,
    drums.SOUNDS,
    nature.SOUNDS,
    machines.SOUNDS,
    living.SOUNDS,
)
CLASSES: Mapping[str, SoundClass] = {sound.name: sound for family in FAMILIES for sound in family}
"""In the order of declaration, which seeds depend on: new classes go to the end of a family only
together with a new training run."""


def find_class(name: str) -> SoundClass:
    """Raises :class:`InputError` that lists the known classes."""
    if name not in CLASSES:
        raise InputError(f"unknown sound {name!r}; known: {', '.join(CLASSES)}")
    return CLASSES[name]
