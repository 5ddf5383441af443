"""Judges candidates while training goes on: sounds on the GPU, measures in other processes.

The measures are those of :mod:`arcmobile.posttrain.judgement`, on held-out captions of prompt sets
1 and 2; set 0 is for the evaluation afterwards. Sounds come from the samplers in PyTorch, with
noise that all candidates share.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from arcmobile.export.checkpoint.folder import CheckpointFolder
from arcmobile.export.manifest import folder_tokenizer
from arcmobile.posttrain.flow.batches import tokenized
from arcmobile.posttrain.flow.generator import base_generator
from arcmobile.posttrain.flow.sampling import euler_sample, pingpong_sample
from arcmobile.posttrain.judgement.adherence import judge
from arcmobile.posttrain.judgement.frechet import Reference, sound_features
from arcmobile.posttrain.judgement.held_out_prompts import Prompt, held_out_prompts, reference_sound
from arcmobile.posttrain.judgement.rows import check_rate
from arcmobile.posttrain.judgement.sound_classifier import SoundClassifier, load_classifier
from arcmobile.posttrain.sounds import MODEL_SAMPLE_RATE
from arcmobile.runtime.tensors import DECODER

PROMPT_SETS = (1, 2)
_SOUNDS = 8  # of one task of a process
_DECODED = 46  # latents at a time
_NOISE_SEED = 20_261
_FRECHET_WEIGHT = 0.02

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Judgement:
    """What was measured of a candidate.

    Attributes:
        name: of the candidate.
        shares: of held-out captions that came out right, by measure.
        frechet: Fréchet distance to synthesized sounds.
    """

    name: str
    shares: Mapping[str, float]
    frechet: float

    @property
    def score(self) -> float:
        """What the best candidate has most of: right sounds, everything right, similarity."""
        right = 0.5 * (self.shares["class"] + self.shares["all"])
        return right - _FRECHET_WEIGHT * self.frechet

    def record(self) -> dict[str, object]:
        """Return the judgement as JSON."""
        shares = {name: round(share, 4) for name, share in self.shares.items()}
        return {
            "name": self.name,
            "score": round(self.score, 4),
            "frechet": round(self.frechet, 4),
            "right": shares,
        }


@cache
def _classifier() -> SoundClassifier:
    torch.set_num_threads(1)
    return load_classifier()


def _measured(
    sounds: Sequence[npt.NDArray[np.float16]], prompts: Sequence[Prompt]
) -> tuple[list[dict[str, bool]], npt.NDArray[np.float64]]:
    """Which measures are right, of each sound, and the features of all."""
    clips = [sound.astype(np.float32) for sound in sounds]
    verdicts = judge(clips, prompts, _classifier())
    return [verdict.measures for verdict in verdicts], sound_features(clips)


def _reference_features(prompts: Sequence[Prompt]) -> npt.NDArray[np.float64]:
    torch.set_num_threads(1)
    return sound_features([reference_sound(prompt) for prompt in prompts])


_Measured = Future[tuple[list[dict[str, bool]], npt.NDArray[np.float64]]]


class Judge:
    """Judges generators of one checkpoint's sizes.

    Args:
        base: checkpoint whose tokenizer and decoder are used.
        device: where sounds are made.
        held_out: captions of each prompt set.
        workers: processes that measure the sounds.
    """

    def __init__(self, base: CheckpointFolder, device: torch.device, held_out: int, workers: int):
        longest = check_rate(base)
        self.prompts = [
            prompt
            for number in PROMPT_SETS
            for prompt in held_out_prompts(held_out, number, longest)
        ]
        self._device = device
        self._generator = base_generator(base).to(device).requires_grad_(False)
        self._decoder = base.build(DECODER).to(device)
        captions = [prompt.caption for prompt in self.prompts]
        ids, mask = tokenized(folder_tokenizer(base), captions)
        self._ids, self._mask = ids.to(device), mask.to(device)
        self._seconds = torch.tensor([p.seconds for p in self.prompts], device=device)
        random = torch.Generator(device).manual_seed(_NOISE_SEED)
        shape = (len(self.prompts), base.config.dit.io_channels, base.config.max_frames)
        self._noise = torch.randn(shape, generator=random, device=device)
        self._pool = ProcessPoolExecutor(workers, get_context("spawn"))
        self._reference = [
            self._pool.submit(_reference_features, chunk) for chunk in _chunks(self.prompts)
        ]
        self._pending: dict[str, list[_Measured]] = {}

    @torch.no_grad()
    def submit(
        self,
        name: str,
        values: Mapping[str, Tensor],
        *,
        steps: int = 8,
        guidance: float | None = None,
    ) -> None:
        """Make the sounds of a generator and submit them to the other processes.

        Args:
            name: of the candidate.
            values: of its trained parameters, by name.
            steps: of the sampler.
            guidance: of Euler sampling (1: none); None for ping-pong sampling.
        """
        for key, parameter in self._generator.named_parameters():
            if key in values:
                parameter.copy_(values[key])
        conditioning = self._generator.condition(self._ids, self._mask, self._seconds)
        if guidance is None:
            latents = pingpong_sample(
                self._generator, conditioning, self._noise, steps, fresh=self._fresh(steps)
            )
        else:
            latents = euler_sample(
                self._generator, conditioning, self._noise, steps, guidance=guidance
            )
        sounds: list[npt.NDArray[np.float16]] = []
        for first in range(0, len(latents), _DECODED):
            decoded = self._decoder(latents[first : first + _DECODED]).half().cpu().numpy()
            sounds += [
                sound[:, : round(prompt.seconds * MODEL_SAMPLE_RATE)]
                for sound, prompt in zip(decoded, self.prompts[first:], strict=False)
            ]
        self._pending[name] = [
            self._pool.submit(_measured, chunk, prompts)
            for chunk, prompts in zip(_chunks(sounds), _chunks(self.prompts), strict=True)
        ]

    def _fresh(self, steps: int) -> list[Tensor]:
        random = torch.Generator(self._device).manual_seed(_NOISE_SEED + 1)
        shape = self._noise.shape
        return [torch.randn(shape, generator=random, device=self._device) for _ in range(steps - 1)]

    def finished(self) -> list[Judgement]:
        """Return the judgements that are newly done, in the order of submission."""
        if not all(future.done() for future in self._reference):
            return []
        names = [
            name for name, parts in self._pending.items() if all(part.done() for part in parts)
        ]
        return [self._judgement(name) for name in names]

    def wait(self, seconds: float) -> list[Judgement]:
        """Wait for that long, or until all are done; return them as :meth:`finished` does."""
        end = time.monotonic() + seconds
        found = self.finished()
        while self._pending and time.monotonic() < end:
            time.sleep(0.1)
            found += self.finished()
        return found

    def _judgement(self, name: str) -> Judgement:
        parts = [part.result() for part in self._pending.pop(name)]
        measures = [sound for part, _ in parts for sound in part]
        reference = Reference.of(np.concatenate([f.result() for f in self._reference]))
        shares = {}
        for measure in sorted({key for sound in measures for key in sound}):
            right = [sound[measure] for sound in measures if measure in sound]
            shares[measure] = sum(right) / len(right)
        frechet = reference.distance(np.concatenate([features for _, features in parts]))
        return Judgement(name, shares, frechet)

    def close(self) -> None:
        """End the processes; what is still pending is lost."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _chunks(items: Sequence[_Item]) -> list[Sequence[_Item]]:
    return [items[start : start + _SOUNDS] for start in range(0, len(items), _SOUNDS)]
