"""Recipes: which precision each part of the model gets. Adding one is one declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from arcmobile.quant.precision import Precision
from arcmobile.runtime.errors import InputError


class Part(StrEnum):
    """What recipes tell apart; the conditioner program holds the first three."""

    TEXT_EMBEDDING = "text_embedding"
    TEXT_ENCODER = "text_encoder"
    CONDITIONING = "conditioning"  # number embedders, projections, cross-attention keys and values
    DIT = "dit"
    DECODER = "decoder"
    ENCODER = "encoder"


@dataclass(frozen=True)
class Recipe:
    """A table part -> precision, and the layers that deviate from it.

    Attributes:
        name: as on the command line and in the manifest.
        description: one line for ``--help`` and the docs.
        precisions: one entry for every part.
        keep_float: ``fnmatch`` patterns on ``part:layer.name``; matching layers are not quantized.
        float_precision: what those layers get instead.
    """

    name: str
    description: str
    precisions: Mapping[Part, Precision]
    keep_float: tuple[str, ...] = ()
    float_precision: Precision = Precision.FP32

    def __post_init__(self) -> None:
        missing = set(Part) - set(self.precisions)
        if missing:
            raise ValueError(f"recipe {self.name}: no precision for {', '.join(sorted(missing))}")


def _everywhere(precision: Precision) -> dict[Part, Precision]:
    return dict.fromkeys(Part, precision)


_DECLARED = (
    Recipe("fp32", "every weight in float32: the reference", _everywhere(Precision.FP32)),
    Recipe(
        "fp16",
        "weights in float16, arithmetic in float32: half the size, no audible difference",
        _everywhere(Precision.FP16),
    ),
    Recipe(
        "int8-dynamic",
        "int8 weights per channel, int8 activations scaled while running: smallest and fastest",
        _everywhere(Precision.INT8_DYNAMIC),
    ),
    Recipe(
        "int8-weight-only",
        "int8 weights per channel, float32 arithmetic: small, close to fp32, not faster",
        _everywhere(Precision.INT8_WEIGHT_ONLY),
    ),
    Recipe(
        "mobile",
        "int8-dynamic where the time goes; float where it is cheap and errors would spread",
        {
            Part.TEXT_EMBEDDING: Precision.INT8_WEIGHT_ONLY,
            # Runs once per prompt, so exact activations cost nothing that is noticed; and its
            # errors reach every step: with int8 activations they would be the largest of all.
            Part.TEXT_ENCODER: Precision.INT8_WEIGHT_ONLY,
            Part.CONDITIONING: Precision.FP16,
            Part.DIT: Precision.INT8_DYNAMIC,
            Part.DECODER: Precision.INT8_DYNAMIC,
            Part.ENCODER: Precision.INT8_DYNAMIC,
        },
        # Layers on the way in and out of the networks: few weights, and every later layer (or the
        # ear) sees their error undamped.
        keep_float=(
            "dit:timestep.*",
            "dit:preprocess",
            "dit:project_in",
            "dit:project_out",
            "dit:postprocess",
            "dit:modulation.*",
            "*coder:conv_in",
            "*coder:conv_out",
        ),
        float_precision=Precision.FP16,
    ),
    Recipe(
        "published",
        "what is published for this model on phones: int8 DiT, float32 elsewhere; to compare with",
        {**_everywhere(Precision.FP32), Part.DIT: Precision.INT8_DYNAMIC},
    ),
)

RECIPES: Final[Mapping[str, Recipe]] = {recipe.name: recipe for recipe in _DECLARED}
DEFAULT_RECIPE: Final = "mobile"
REFERENCE_RECIPE: Final = "fp32"


def get_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        InputError: there is none; the message lists the known ones.
    """
    try:
        return RECIPES[name]
    except KeyError:
        raise InputError(f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}") from None
