"""What a bundle computes, in this process or in one with another release of ExecuTorch.

Run as a program with `plain` or `weight-cache` and folders that each hold a bundle (``bundle``) and
inputs (``inputs.npz``, by ``component:entry:tensor``), it writes ``outputs.npz`` into each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.engine import Array, EngineOptions, open_engine
from arcmobile.runtime.generate import GenerationRequest, Pipeline
from older_runtimes.weight_cache import switch_weight_cache

SOUND = "sound"


def outputs(folder: Path) -> dict[str, Array]:
    """Every output of every entry on the given inputs, and a whole sound."""
    bundle = Bundle.open(folder / "bundle")
    given = np.load(folder / "inputs.npz")
    found: dict[str, Array] = {}
    with open_engine(bundle, EngineOptions(threads=1)) as engine:
        for component, record in bundle.manifest.components.items():
            for entry in record.entries:
                prefix = f"{component}:{entry.name}:"
                inputs = {spec.name: given[prefix + spec.name] for spec in entry.inputs}
                for name, values in engine.run(component, entry.name, inputs).items():
                    found[prefix + name] = values.copy()
    with Pipeline.open(bundle, EngineOptions(threads=1)) as pipeline:
        found[SOUND] = pipeline.generate(GenerationRequest(prompt="dog barking", seed=1)).audio
    return found


if __name__ == "__main__":
    switch_weight_cache(sys.argv[1] == "weight-cache")
    for name in sys.argv[2:]:
        np.savez(Path(name) / "outputs.npz", **outputs(Path(name)))
