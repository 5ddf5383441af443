"""What a backend is: a frozen declaration and one function that lowers a component.

Adding a backend is one file with a :class:`Backend` and one line in ``backends/__init__.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from arcmobile.export.model.primitives import NetworkForm

if TYPE_CHECKING:
    from arcmobile.quant.precision import LayerKind, Precision


@dataclass(frozen=True)
class LoweringEntry:
    """One static-shape entry point of a program.

    Attributes:
        name: ``main`` for the conditioner, else ``frames_<n>``.
        frames: latent frames it works on; None for the conditioner.
        inputs: example inputs by tensor name, in call order; their shapes are the entry's shapes.
        outputs: output tensor names, in order.
    """

    name: str
    frames: int | None
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class LoweringResult:
    """What lowering reports besides the file.

    ``delegation`` counts, for runtimes that delegate, ``delegate_calls`` and each operator left
    outside by name.
    """

    delegation: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Backend:
    """A runtime that networks can be lowered to.

    Attributes:
        name: as in the manifest and on the command line; the engine has the same name.
        suffix: of its program files, with the dot.
        form: how networks must be spelled for it.
        lower: ``(network, entries, plan, destination) -> LoweringResult``. The network is float32,
            in ``form``, and may be consumed (quantized in place, weights freed). ``plan`` maps
            layer names to precisions; layers it does not name stay float32.
        effective: the precision a layer of that kind really gets when another is asked for; the
            plan is resolved through it, so manifests say what was done.
        tools: distributions whose versions go into the manifest.
    """

    name: str
    suffix: str
    form: NetworkForm
    lower: Callable[
        [nn.Module, Sequence[LoweringEntry], Mapping[str, Precision], Path], LoweringResult
    ]
    effective: Callable[[LayerKind, Precision], Precision]
    tools: tuple[str, ...]
