"""Drawn sounds as latents in files, so that a DiT can be trained without its autoencoder.

A folder of shards, each one safetensors file that is complete or absent::

    shard-00000.safetensors   mean, stdev (sounds, latent_dim, frames) float16, divided by the
                              latent scale; in the header the seeds, captions, seconds, attributes

Shard k holds the sounds of the seeds from ``first_seed + k * sounds per shard`` on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from arcmobile.posttrain.autoencoder_crops import HELD_OUT_SEED, Audio
from arcmobile.posttrain.sound_folder import RecordedSound
from arcmobile.posttrain.sounds import Attributes, CaptionedSound, caption, draw
from arcmobile.posttrain.training_state import read_tensors, write_tensors
from arcmobile.runtime.errors import CheckpointError, InputError, OutputError

Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
"""(B, 2, samples) -> mean and stdev of the posterior, (B, latent_dim, frames), of unit size."""

CACHED_SAMPLES = 163_840
"""Samples per channel of a cached sound, zeros behind its end: 80 latent frames of 2048."""
TRAINING_SEED = 3 * HELD_OUT_SEED
"""First sound of a cache to train from: behind those of the autoencoder."""
STOP = "STOP"
_CAPTIONS = 2


@dataclass(frozen=True)
class CacheSettings:
    """``source`` names the autoencoder: latents of another one are not mixed in."""

    source: str = ""
    samples: int = CACHED_SAMPLES
    shard: int = 256
    batch: int = 2  # more is slower on CPUs: what a layer gives no longer fits into a cache


@dataclass(frozen=True)
class CachedSound:
    """What is known of a cached sound besides its latent."""

    seed: int
    captions: tuple[str, ...]
    seconds: float
    attributes: Attributes | None
    """Of a drawn sound, so that its caption can be worded anew."""


def attributes_from(record: Mapping[str, Any]) -> Attributes:
    """Out of ``dataclasses.asdict`` of :class:`Attributes`; TypeError for anything else."""
    second = record.get("second")
    return Attributes(**{**record, "second": None if second is None else attributes_from(second)})


def cache_latents(
    encode: Encode,
    folder: Path,
    count: int,
    first_seed: int = TRAINING_SEED,
    on_sound: Callable[[int], None] = lambda done: None,
    settings: CacheSettings | None = None,
    draw_sound: Callable[[int], CaptionedSound | RecordedSound] = draw,
) -> bool:
    """Encodes ``count`` sounds, of the seeds from ``first_seed`` on; True when all are there.

    Shards that are there already are kept, so that a broken off run goes on where it was. A file
    ``STOP`` in the folder ends the run behind the running shard. ``on_sound`` hears the number of
    sounds that are cached.

    Raises InputError where the folder holds latents of other settings, or a sound is longer than
    ``settings.samples``; OutputError where it cannot be written.
    """
    settings = settings or CacheSettings()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STOP).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"--out {folder}: cannot be written ({error.strerror})") from error
    shards = [
        range(first_seed + start, first_seed + min(start + settings.shard, count))
        for start in range(0, count, settings.shard)
    ]
    for index, seeds in enumerate(shards):
        path = folder / f"shard-{index:05d}.safetensors"
        header = {"source": settings.source, "samples": settings.samples, "first_seed": seeds.start}
        before = seeds.start - first_seed
        if not _is_cached(path, header, len(seeds)):
            encoded = _Encoded()
            for start in range(0, len(seeds), settings.batch):
                drawn = {seed: draw_sound(seed) for seed in seeds[start : start + settings.batch]}
                encoded.add(encode, drawn, settings)
                on_sound(before + len(encoded.sounds))
            write_tensors(path, *encoded.content(header))
        on_sound(before + len(seeds))
        if (folder / STOP).exists():
            return seeds.stop == shards[-1].stop
    return True


def _is_cached(path: Path, header: Mapping[str, Any], sounds: int) -> bool:
    """Whether a shard has that many sounds; InputError where it is of another run."""
    if not path.exists():
        return False
    _, found = read_tensors(path)
    if {name: found.get(name) for name in header} != dict(header):
        raise InputError(
            f"{path}: caches other sounds, or those of another autoencoder; choose another --out"
        )
    return len(found["sounds"]) >= sounds


@dataclass
class _Encoded:
    """A shard as it grows."""

    sounds: list[CachedSound] = field(default_factory=list)
    means: list[Tensor] = field(default_factory=list)
    stdevs: list[Tensor] = field(default_factory=list)

    def add(
        self,
        encode: Encode,
        drawn: Mapping[int, CaptionedSound | RecordedSound],
        settings: CacheSettings,
    ) -> None:
        """Encodes sounds by seed, at most a batch of them."""
        # Always of full size: a compiled encoder is one graph.
        audio = np.zeros((settings.batch, 2, settings.samples), dtype=np.float32)
        for place, (seed, sound) in enumerate(drawn.items()):
            audio[place] = _padded(sound.audio, settings.samples)
            self.sounds.append(_record(seed, sound))
        with torch.inference_mode():
            mean, stdev = encode(torch.from_numpy(audio))
        self.means.append(mean[: len(drawn)].to("cpu", torch.float16))
        self.stdevs.append(stdev[: len(drawn)].to("cpu", torch.float16))

    def content(self, header: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        records = [asdict(sound) for sound in self.sounds]
        tensors = {"mean": torch.cat(self.means), "stdev": torch.cat(self.stdevs)}
        return tensors, {**header, "sounds": records}


def _padded(sound: Audio, samples: int) -> Audio:
    if sound.shape[1] > samples:
        raise InputError(f"a sound of {sound.shape[1]} samples; latents hold {samples}")
    return np.pad(sound, ((0, 0), (0, samples - sound.shape[1])))


def _record(seed: int, sound: CaptionedSound | RecordedSound) -> CachedSound:
    """Its own caption first, then other wordings of it."""
    if isinstance(sound, RecordedSound):
        return CachedSound(seed, sound.captions, sound.seconds, None)
    rng = np.random.default_rng([seed, _CAPTIONS])
    more = [caption(sound.attributes, rng) for _ in range(_CAPTIONS - 1)]
    return CachedSound(seed, (sound.caption, *more), sound.seconds, sound.attributes)


class LatentBatch(NamedTuple):
    """Latents (B, latent_dim, frames) float32, their captions, and seconds (B,) float32."""

    latents: Tensor
    captions: list[str]
    seconds: Tensor


class LatentCache:
    """All shards of a folder, in memory.

    Attributes: ``mean`` and ``stdev`` (sounds, latent_dim, frames) float16, ``sounds`` in the same
    order, ``source`` of the latents.
    """

    def __init__(self, folder: Path):
        """Raises InputError for a folder without shards or with shards of two autoencoders,
        CheckpointError for a damaged one."""
        means: list[Tensor] = []
        stdevs: list[Tensor] = []
        self.sounds: list[CachedSound] = []
        sources: set[str] = set()
        for path in sorted(folder.glob("shard-*.safetensors")):
            tensors, header = read_tensors(path)
            try:
                means.append(tensors["mean"])
                stdevs.append(tensors["stdev"])
                sources.add(header["source"])
                self.sounds += [_cached_sound(record) for record in header["sounds"]]
            except (KeyError, TypeError) as error:
                raise CheckpointError(f"{path}: no cached latents ({error}); remove it") from None
        if len(sources) != 1:
            found = "no cached latents" if not sources else "latents of several autoencoders"
            raise InputError(f"{folder}: {found}; cache them into an empty folder")
        self.source = sources.pop()
        self.mean, self.stdev = torch.cat(means), torch.cat(stdevs)

    def __len__(self) -> int:
        return len(self.sounds)

    def batch(self, rng: np.random.Generator, size: int, *, reworded: bool = True) -> LatentBatch:
        """``size`` sounds drawn with replacement, each a sample of its posterior.

        Captions of drawn sounds are worded anew; those of recorded ones, and all where not
        ``reworded``, are one of those in the cache.
        """
        return self.rows(rng.integers(len(self), size=size), rng, reworded=reworded)

    def rows(
        self, indices: Sequence[int] | np.ndarray, rng: np.random.Generator, *, reworded: bool
    ) -> LatentBatch:
        """The sounds of ``indices``, in that order."""
        rows = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        mean, stdev = self.mean[rows].float(), self.stdev[rows].float()
        noise = torch.from_numpy(rng.standard_normal(tuple(mean.shape), dtype=np.float32))
        sounds = [self.sounds[int(index)] for index in indices]
        captions = [
            caption(sound.attributes, rng)
            if reworded and sound.attributes is not None
            else sound.captions[int(rng.integers(len(sound.captions)))]
            for sound in sounds
        ]
        seconds = torch.tensor([sound.seconds for sound in sounds], dtype=torch.float32)
        return LatentBatch(mean + stdev * noise, captions, seconds)


def _cached_sound(record: Mapping[str, Any]) -> CachedSound:
    return CachedSound(
        record["seed"],
        tuple(record["captions"]),
        record["seconds"],
        None if record["attributes"] is None else attributes_from(record["attributes"]),
    )
