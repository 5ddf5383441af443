"""The sound of a bundle in this process: `python -m older_runtimes.sound BUNDLE WAY OUT CONTROL`.

``WAY`` is `plain` or `weight-cache`. Writes the samples to ``OUT`` (npz), and beside them what the
control program gives (:mod:`older_runtimes.control`). A refusal is one line and exit code 2.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import numpy as np

from arcmobile.runtime.engine import EngineOptions
from arcmobile.runtime.errors import ArcMobileError
from arcmobile.runtime.generate import GenerationRequest, Pipeline
from older_runtimes.control import run
from older_runtimes.weight_cache import switch_weight_cache

REQUEST: Final = GenerationRequest(
    prompt="telephone ringing on the right", seed=1, steps=8, seconds=3.0
)


def main(bundle: str, way: str, out: str, control: str) -> int:
    """Generate with all programs loaded at once, as they share one cache."""
    switch_weight_cache(way == "weight-cache")
    try:
        with Pipeline.open(Path(bundle), EngineOptions(threads=2)) as pipeline:
            audio = pipeline.generate(REQUEST).audio
            np.savez(out, audio=audio, control=run(Path(control)).numpy())
    except ArcMobileError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
