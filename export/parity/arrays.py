"""The arrays of a parity folder: what upstream computed, and on which inputs.

A parity folder is a checkpoint folder with ``expected.npz`` and, where prompts do not survive as
numpy text (trailing NULs are dropped there), ``prompts.json``. Both are untrusted: nothing is
unpickled, and an input whose shape does not fit the checkpoint's config is an error that names it.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arcmobile.export.model.config import ModelConfig
from arcmobile.export.model.config_file import read_json
from arcmobile.runtime.errors import CheckpointError

EXPECTED_FILE = "expected.npz"
PROMPTS_FILE = "prompts.json"

_TRAJECTORIES = {
    "pp8": ("noise_steps", "denoised"),
    "pp4": ("noise_steps", "denoised"),
    "pp1": ("noise_steps", "denoised"),
    "euler4": (),
    "pp4_cfg": ("noise_steps", "denoised", "negative_cond_rows", "cfg_scale"),
    "a2a": ("noise_steps", "denoised", "init_audio", "init_noise_level", "cond_row",
            "encoder_noise"),
}  # fmt: skip


def catalogue(config: ModelConfig) -> Iterator[str]:
    """Yield the names of the arrays that a folder of this config can hold and that are read here.

    ``schedule.*``, ``unit.*`` and ``folded.*`` are not listed: which of them there are is free.
    """
    yield from ("prompts", "prompts_token_count_untruncated", "input_ids", "attention_mask")
    yield from ("tok_extra.prompts", "tok_extra.input_ids", "prompt_embeds")
    yield from ("prompt_embeds_t5fp32", "t5_last_hidden_state_t5fp32")
    for number in config.conditioning.numbers:
        yield from (number.id, f"{number.id}_embeds")
        if number.id not in config.conditioning.default_keys:
            yield f"cond.{number.id}"
    yield from ("cond.cross_attn_cond", "cond.cross_attn_mask")
    if config.model.diffusion.global_cond_ids:
        yield "cond.global_cond"
    yield from (f"dit.{name}" for name in ("x", "t", "cond_rows", "v", "v_cfg3"))
    yield from ("dit.negative_cond_rows", "dit.v_cfg3_negative")
    yield from ("dit.row0.hidden_states", "dit.row0.cond_tokens", "dit.timestep_embed")
    if config.dit.has_global_token:
        yield "dit.global_token"
    yield from (f"dit_odd.{name}" for name in ("x", "t", "v"))
    yield "pp.cond_rows"
    for trajectory, special in _TRAJECTORIES.items():
        names = ("noise_init", "t", "v", "x", "latents", *special)
        yield from (f"{trajectory}.{name}" for name in names)
    yield from (f"{name}.{kind}" for name in ("dec", "dec_one") for kind in ("latents", "audio"))
    encoder = ("audio", "raw", "mean", "stdev", "noise", "pretransform_scale", "latents")
    yield from (f"enc.{name}" for name in encoder)
    yield from ("e2e_short.audio", "e2e_short_t5fp32.audio")
    yield from (f"e2e_full.{name}" for name in ("cond_row", "audio", "noise_init", "noise_steps"))


@dataclass(frozen=True)
class RecordedNoise:
    """Recorded draws as the sampler's noise source: ``(B, C, T)`` and ``(steps, B, C, T)``."""

    first: NDArray[np.float32]
    steps: NDArray[np.float32]

    def initial(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the recorded start."""
        return self.first

    def step(self, index: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the recorded noise of a step, counted from 1."""
        return cast(NDArray[np.float32], self.steps[index - 1])

    def encoder(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Refuse: the encoder's noise is an array of its own.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("the encoder's noise is an array of its own")


class ParityArrays:
    """The arrays of a folder by name; remembers which were read.

    Raises:
        CheckpointError: there is no ``expected.npz``, it is damaged, or it holds objects.
    """

    def __init__(self, folder: Path):
        self.path = folder / EXPECTED_FILE
        self._prompts_path = folder / PROMPTS_FILE
        self._read: set[str] = set()
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                self._arrays: dict[str, NDArray[Any]] = {n: archive[n] for n in archive.files}
        except FileNotFoundError:
            raise CheckpointError(
                f"{self.path}: missing; a parity folder holds the arrays of the upstream model"
            ) from None
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise CheckpointError(
                f"{self.path}: not a readable array archive ({error}); copy it again"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def has(self, *names: str) -> bool:
        """Tell whether all of the named arrays are there."""
        return all(name in self._arrays for name in names)

    def unread(self) -> list[str]:
        """Return the arrays that nothing has asked for, but for seeds: their draws are arrays."""
        return [n for n in self._arrays if n not in self._read and not n.endswith(".seed")]

    def array(self, name: str, *shape: int | None) -> NDArray[Any]:
        """Return an array; with ``shape`` it must have it, None standing for any size.

        Raises:
            CheckpointError: it has another shape.
        """
        self._read.add(name)
        found = self._arrays[name]
        fits = len(found.shape) == len(shape) and all(
            wanted in (None, size) for size, wanted in zip(found.shape, shape, strict=True)
        )
        if shape and not fits:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise CheckpointError(
                f"{self.path}: {name} has shape {list(found.shape)}, the config takes [{wanted}]"
            )
        return found

    def numbers(self, name: str, *shape: int | None) -> NDArray[np.float32]:
        """Return a numeric array as float32.

        Raises:
            CheckpointError: it does not hold numbers, or has another shape.
        """
        found = self.array(name, *shape)
        if found.dtype.kind not in "fiub":
            raise CheckpointError(f"{self.path}: {name} does not hold numbers")
        return found.astype(np.float32)

    def tensor(self, name: str, *shape: int | None) -> Tensor:
        """Return :meth:`numbers` as a tensor."""
        return torch.from_numpy(self.numbers(name, *shape))

    def rows(self, name: str, count: int) -> NDArray[np.int64]:
        """Return row numbers below ``count``, from a scalar or 1-D array.

        Raises:
            CheckpointError: one is out of range.
        """
        found = np.atleast_1d(self.numbers(name)).astype(np.int64)
        if found.ndim != 1 or found.size == 0 or found.min() < 0 or found.max() >= count:
            raise CheckpointError(f"{self.path}: {name} names rows outside of 0 to {count - 1}")
        return found

    def noise(self, name: str, batch: int, channels: int) -> RecordedNoise:
        """Return ``NAME.noise_init`` and ``NAME.noise_steps``."""
        first = self.numbers(f"{name}.noise_init", batch, channels, None)
        steps = f"{name}.noise_steps"
        if steps not in self._arrays:  # Euler's method draws none
            return RecordedNoise(first, np.empty((0, *first.shape), np.float32))
        return RecordedNoise(first, self.numbers(steps, None, *first.shape))

    def longest_latent(self) -> int:
        """Return the frames of the longest latent any array starts from; 0 without one."""
        starts = [n for n in self._arrays if n.endswith((".noise_init", "dit.x", "dit_odd.x"))]
        return max(
            (a.shape[-1] for a in map(self._arrays.__getitem__, starts) if a.ndim), default=0
        )

    @cached_property
    def texts(self) -> dict[str, list[str]]:
        """``prompts`` and ``tok_extra.prompts``, as far as they are there.

        Raises:
            CheckpointError: they are not lists of strings.
        """
        stored = read_json(self._prompts_path) if self._prompts_path.is_file() else {}
        if not isinstance(stored, dict):
            raise CheckpointError(f"{self._prompts_path}: not a JSON object; copy it again")
        texts = {}
        for name in ("prompts", "tok_extra.prompts"):
            found = stored.get(name.replace(".", "_"))
            if name in self._arrays:
                found = found or self._arrays[name].tolist()
                self._read.add(name)
            if found:
                if not isinstance(found, list) or not all(isinstance(t, str) for t in found):
                    raise CheckpointError(f"{self._prompts_path}: {name} is not a list of strings")
                texts[name] = found
        return texts
