"""Types and limits that the sections of ``model_config.json`` share."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from torch.nn import ModuleDict

from arcmobile.runtime import bounds, tensors

# Far above every model there is, and far below what would take minutes or gigabytes to refuse.
MOST_LAYERS: Final = 256
_STAGES: Final = 16
LONGEST_PROMPT: Final = 2048  # tokens; the position bias grows with its square
LONGEST_LATENT: Final = 65536  # frames

Width = Annotated[int, Field(ge=1, le=65536)]
Width0 = Annotated[int, Field(ge=0, le=65536)]
Layers = Annotated[int, Field(ge=1, le=MOST_LAYERS)]
Multiples = Annotated[tuple[Width, ...], Field(min_length=1, max_length=_STAGES)]
Strides = Annotated[
    tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=_STAGES)
]
Channels = Annotated[int, Field(ge=1, le=bounds.CHANNELS)]
LatentChannels = Annotated[int, Field(ge=1, le=bounds.LATENT_CHANNELS)]
Number = Annotated[float, Field(ge=-1e9, le=1e9)]
Epsilon = Annotated[float, Field(gt=0, le=1)]
# Part of its tensors' names, and a name that a module may have.
Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]
TAKEN_IDS: Final = frozenset({*dir(ModuleDict()), tensors.INPUT_IDS, tensors.ATTENTION_MASK})


class Strict(BaseModel):
    """Arguments upstream passes as keywords: an unknown one is an error there too."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Open(BaseModel):
    """Sections upstream reads with ``.get``: it ignores other keys, and so do we."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
