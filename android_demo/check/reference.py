"""Writes what Python gives, to measure Kotlin by: ``reference.py BUNDLE OUT_DIR``.

=================  ===============================================================================
``tokens.jsonl``   per line a ``prompt``, all its ``ids``, their ``count``; and as the conditioner
                   takes them: ``input_ids``, and the ``warning`` where they were cut
``noise.json``     ``cases``: ``seed`` (text: 64 bits), sampler ``step`` (0: initial noise), the
                   first values as ``bits`` (float32 in hex), and the ``sha256`` of ``count``
                   values as little-endian float32
``unicode.json``   tables of Unicode classes, see :mod:`unicode_tables`
``audio.json``     ``cases``: ``prompt``, ``seconds``, ``steps``, ``seed`` (text), ``file``,
                   ``samples`` per channel, ``channels``, ``sample_rate``
``audio-N.f32``    the sound of a case: interleaved, little-endian float32
=================  ===============================================================================
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from prompts import make_prompts
from unicode_tables import grapheme_table, word_table

from arcmobile.runtime.bundle import TOKENIZER_NAME, Bundle
from arcmobile.runtime.engine import EngineOptions
from arcmobile.runtime.errors import ArcMobileError
from arcmobile.runtime.generate import GenerationRequest, Pipeline
from arcmobile.runtime.noise import MAX_SEED, PhiloxNoise
from arcmobile.runtime.request import longest_seconds
from arcmobile.runtime.tokenizer import PromptTokenizer

PROMPTS: Final = 5000
_PROMPT_SEED: Final = 5
_MOST_TOKENS: Final = 1 << 14
_NOISE_SEEDS: Final = (0, 1, 42, 2**32 - 1, 2**32, 0x0123456789ABCDEF, MAX_SEED)
_NOISE_STEPS: Final = (0, 1, 8)
_NOISE_COUNTS: Final = (1, 6, 65_537)
_BITS_SHOWN: Final = 16
# Prompt, share of the longest sound, steps, seed.
_SOUNDS: Final = (
    ("warm rain on a tin roof", 1.0, 8, 0),
    ("slow drums, 120 BPM 🎸", 0.4, 1, MAX_SEED),
    ("", 0.1, 3, 42),
)


def write_reference(folder: Path, out: Path) -> None:
    """Writes all of it into ``out``, made from the bundle in ``folder``."""
    bundle = Bundle.open(folder)
    out.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(line) for line in _tokens(bundle)]
    (out / "tokens.jsonl").write_text("\n".join(lines) + "\n", encoding="ascii")
    _write(out / "noise.json", {"cases": _noise()})
    _write(out / "unicode.json", {"graphemes": grapheme_table(), "words": word_table()})
    _write(out / "audio.json", {"cases": _sounds(bundle, out)})


def _tokens(bundle: Bundle) -> list[dict[str, Any]]:
    spec = bundle.manifest.tokenizer
    text = (bundle.folder / TOKENIZER_NAME).read_text(encoding="utf-8")
    tokenizer = PromptTokenizer.from_bundle(bundle)
    uncut = PromptTokenizer(text, max_length=_MOST_TOKENS, pad_id=spec.pad_id, eos_id=spec.eos_id)
    lines = []
    for prompt in make_prompts(PROMPTS, _PROMPT_SEED):
        whole, cut = uncut(prompt), tokenizer(prompt)
        lines.append(
            {
                "prompt": prompt,
                "ids": whole.input_ids[0, : whole.count].tolist(),
                "count": whole.count,
                "input_ids": cut.input_ids[0].tolist(),
                "warning": cut.warning,
            }
        )
    return lines


def _noise() -> list[dict[str, Any]]:
    cases = []
    for seed in _NOISE_SEEDS:
        source = PhiloxNoise(seed)
        for step in _NOISE_STEPS:
            for count in _NOISE_COUNTS:
                shape = (count,)
                noise = source.step(step, shape) if step else source.initial(shape)
                bits = noise[:_BITS_SHOWN].view(np.uint32)
                cases.append(
                    {
                        "seed": str(seed),
                        "step": step,
                        "count": count,
                        "bits": [f"{value:08x}" for value in bits],
                        "sha256": hashlib.sha256(_little_endian(noise)).hexdigest(),
                    }
                )
    return cases


def _sounds(bundle: Bundle, out: Path) -> list[dict[str, Any]]:
    cases = []
    longest = longest_seconds(bundle.manifest)
    with Pipeline.open(bundle, EngineOptions(threads=1)) as pipeline:
        for number, (prompt, share, steps, seed) in enumerate(_SOUNDS):
            seconds = share * longest
            request = GenerationRequest(prompt, seconds=seconds, steps=steps, seed=seed)
            result = pipeline.generate(request)
            file = out / f"audio-{number}.f32"
            file.write_bytes(_little_endian(result.audio.T))
            channels, samples = result.audio.shape
            cases.append(
                {
                    "prompt": prompt,
                    "seconds": seconds,
                    "steps": steps,
                    "seed": str(seed),
                    "file": file.name,
                    "samples": samples,
                    "channels": channels,
                    "sample_rate": result.sample_rate,
                }
            )
    return cases


def _little_endian(values: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")


def main(arguments: list[str]) -> int:
    """Exit code 2, and one line, for a wrong call or a bundle that cannot be used."""
    if len(arguments) != 2:
        print("usage: reference.py BUNDLE OUT_DIR", file=sys.stderr)
        return 2
    try:
        write_reference(*map(Path, arguments))
    except ArcMobileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
