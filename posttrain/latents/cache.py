"""Sounds as latents in files, so that a DiT can be trained without its autoencoder.

A folder of shards, each one safetensors file that is complete or absent, and an index::

    shard-00000.safetensors   mean, stdev (sounds, latent_dim, frames) float16, divided by the
                              latent scale; in the header seeds, captions, seconds, attributes; of
                              recorded sounds digests, of others the version of the synthesis
    cache.json                number of sounds of the complete cache

Shard k holds the sounds of the seeds from ``first_seed + k * sounds per shard`` on. Latents of
recorded sounds are identified by the digest of their file: when a folder has changed, those of
unchanged sounds are kept, with their present captions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from arcmobile.posttrain.autoencoder.crops import HELD_OUT_SEED, Audio
from arcmobile.posttrain.latents.completeness import (
    require_complete,
    wanted_sounds,
    write_index,
)
from arcmobile.posttrain.latents.sound_folder import RecordedSound, SoundFolder
from arcmobile.posttrain.sounds import (
    CLASSES,
    MODEL_SAMPLE_RATE,
    Attributes,
    CaptionedSound,
    caption,
    synthesize,
)
from arcmobile.posttrain.sounds.version import synthesis_digest
from arcmobile.posttrain.training.folder_lock import is_being_written, only_writer
from arcmobile.posttrain.training.loop import STOP, remove_stop_file
from arcmobile.posttrain.training.state import read_tensors, write_tensors
from arcmobile.runtime.errors import CheckpointError, InputError, one_line

Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps (B, 2, samples) to the posterior's mean and stdev, (B, latent_dim, frames), of unit size."""

CACHED_SAMPLES = 163_840
"""Samples per channel of a cached sound, zeros after its end: 80 latent frames of 2048."""
TRAINING_SEED = 3 * HELD_OUT_SEED
"""First sound of a cache to train on: after those of the autoencoder."""
_CAPTIONS = 2
_ATTRIBUTES = TypeAdapter(Attributes)
_SYNTHESIZED, _RECORDED = "synthesized", "recorded"
_SYNTHESIS = "synthesis"
_REMOVE = "remove it and cache the latents again"


@dataclass(frozen=True)
class CacheSettings:
    """What a cache holds.

    Attributes:
        source: names the autoencoder; latents of two are never mixed.
        samples: length of every sound, per channel.
        sample_rate: in Hz.
        shard: sounds per file.
        batch: sounds encoded at a time.
    """

    source: str = ""
    samples: int = CACHED_SAMPLES
    sample_rate: int = MODEL_SAMPLE_RATE
    shard: int = 256
    batch: int = 2  # more is slower on CPUs: activations no longer fit into the cache


@dataclass(frozen=True)
class CachedSound:
    """What is known of a cached sound besides its latent.

    Attributes:
        seed: of a synthesized sound; index of a recorded one.
        captions: wordings of its caption.
        seconds: its duration.
        attributes: of a synthesized sound, so that its caption can be reworded.
        digest: sha256 of the file of a recorded sound.
    """

    seed: int
    captions: tuple[str, ...]
    seconds: float
    attributes: Attributes | None
    digest: str = ""


def attributes_from(record: Any) -> Attributes:
    """Read what ``dataclasses.asdict`` of :class:`Attributes` gave.

    Raises:
        ValueError: it is anything else.
    """
    try:
        attributes = _ATTRIBUTES.validate_python(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"attributes {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if unknown := {attributes.sound, (attributes.second or attributes).sound} - {*CLASSES}:
        raise ValueError(f"attributes: class {min(unknown)!r}")
    return attributes


def cache_latents(
    encode: Encode,
    folder: Path,
    count: int,
    first_seed: int = TRAINING_SEED,
    on_sound: Callable[[int], None] = lambda done: None,
    settings: CacheSettings | None = None,
    make_sound: Callable[[int], CaptionedSound] = synthesize,
) -> bool:
    """Encode ``count`` synthesized sounds.

    Shards that exist are kept, so that an interrupted run goes on where it was. A file ``STOP`` in
    the folder ends the run after the running shard.

    Args:
        encode: encodes a batch of sounds.
        folder: of the shards.
        count: sounds to have in the end.
        first_seed: seed of the first sound.
        on_sound: called with the number of cached sounds.
        settings: of the cache.
        make_sound: sound of a seed.

    Returns:
        Whether all sounds are cached.

    Raises:
        InputError: the folder holds latents of other settings, or a sound is longer than
            ``settings.samples``.
        CheckpointError: a shard is damaged.
        OutputError: the folder cannot be written.
    """
    settings = settings or CacheSettings()
    origin = {"kind": _SYNTHESIZED, _SYNTHESIS: synthesis_digest()}

    def is_complete(path: Path, header: Mapping[str, Any], seeds: range) -> bool:
        return path.exists() and len(_shard(path, header).sounds) >= len(seeds)

    with only_writer(folder):
        for path in _shard_paths(folder)[:1]:  # an error leaves the index as it is
            _shard(path, _header(settings, origin))
        write_index(folder, max(count, wanted_sounds(folder)))
        return _write_shards(
            encode, folder, range(first_seed, first_seed + count), settings, origin,
            make_sound, is_complete, {}, on_sound,
        )  # fmt: skip


def cache_sound_folder(
    encode: Encode,
    folder: Path,
    sounds: SoundFolder,
    on_sound: Callable[[int], None] = lambda done: None,
    settings: CacheSettings | None = None,
) -> bool:
    """Encode the sounds of a folder, except those that are cached already.

    Shards with sounds or captions that have changed are removed first, so that a run that is killed
    leaves none of them. Arguments, result and errors are those of :func:`cache_latents`.
    """
    settings = settings or CacheSettings()
    origin = {"kind": _RECORDED}
    known: dict[str, tuple[Tensor, Tensor]] = {}

    def is_current(path: Path, seeds: range) -> bool:
        wanted = [(sounds.digests[seed], sounds.captions(seed)) for seed in seeds]
        return path in existing and existing[path] == wanted

    with only_writer(folder):
        existing = {}
        for path in _shard_paths(folder):
            shard = _shard(path, _header(settings, origin))
            existing[path] = [(sound.digest, sound.captions) for sound in shard.sounds]
            for row, sound in enumerate(shard.sounds):
                known[sound.digest] = shard.mean[row], shard.stdev[row]
        every = range(len(sounds))
        current = {path for path, part in _parts(folder, every, settings) if is_current(path, part)}
        write_index(folder, len(sounds))
        for path in existing.keys() - current:
            path.unlink()
        return _write_shards(
            encode, folder, every, settings, origin, sounds.__getitem__,
            lambda path, header, seeds: path in current, known, on_sound,
        )  # fmt: skip


def _parts(folder: Path, seeds: range, settings: CacheSettings) -> Iterator[tuple[Path, range]]:
    """Each shard's file and its part of the seeds."""
    for index, start in enumerate(range(0, len(seeds), settings.shard)):
        yield folder / f"shard-{index:05d}.safetensors", seeds[start : start + settings.shard]


def _header(settings: CacheSettings, origin: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **origin,
        "source": settings.source,
        "samples": settings.samples,
        "sample_rate": settings.sample_rate,
    }


def _shard_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.safetensors"))


def _write_shards(
    encode: Encode,
    folder: Path,
    seeds: range,
    settings: CacheSettings,
    origin: Mapping[str, Any],
    sound_of: Callable[[int], CaptionedSound | RecordedSound],
    is_complete: Callable[[Path, Mapping[str, Any], range], bool],
    known: Mapping[str, tuple[Tensor, Tensor]],
    on_sound: Callable[[int], None],
) -> bool:
    """Write the missing shards; True when all exist.

    Raises:
        OutputError: the folder cannot be written.
    """
    remove_stop_file(folder)
    for path, part in _parts(folder, seeds, settings):
        start = part.start - seeds.start
        header = {**_header(settings, origin), "first_seed": part.start}
        if not is_complete(path, header, part):
            encoded = _Encoded(known)
            for first in range(0, len(part), settings.batch):
                batch = {seed: sound_of(seed) for seed in part[first : first + settings.batch]}
                encoded.add(encode, batch, settings)
                on_sound(start + len(encoded.sounds))
            write_tensors(path, *encoded.content(header))
        on_sound(start + len(part))
        if (folder / STOP).exists():
            return part.stop == seeds.stop
    return True


@dataclass(frozen=True)
class _Shard:
    """A checked shard: ``mean`` and ``stdev`` (sounds, latent_dim, frames) float16."""

    mean: Tensor
    stdev: Tensor
    sounds: list[CachedSound]
    source: str
    synthesis: str  # its version; empty for recorded sounds, and in old caches
    first_seed: int

    def seeds(self) -> range:
        """Seeds of the sounds."""
        return range(self.first_seed, self.first_seed + len(self.sounds))


def _shard(path: Path, wanted: Mapping[str, Any] | None = None) -> _Shard:
    """The content of a shard.

    Raises:
        CheckpointError: it is damaged.
        InputError: its header does not hold what is ``wanted``.
    """
    tensors, header = read_tensors(path, digest=True, way_out=_REMOVE)
    if others := {name for name in wanted or {} if header.get(name) != (wanted or {})[name]}:
        found = "other sounds, or those of another autoencoder"
        if others == {_SYNTHESIS}:
            found = "sounds of another version of the synthesis"
        raise InputError(f"{path}: caches {found}; choose another --out")
    try:
        mean, stdev, source = tensors["mean"], tensors["stdev"], header["source"]
        synthesis, first = str(header.get(_SYNTHESIS, "")), int(header["first_seed"])
        sounds = [_cached_sound(record) for record in header["sounds"]]
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        reason = one_line(error)
        raise CheckpointError(f"{path}: not cached latents ({reason}); {_REMOVE}") from None
    fitting = mean.ndim == 3 and mean.shape == stdev.shape and len(mean) == len(sounds) > 0
    if not (fitting and mean.dtype == stdev.dtype == torch.float16 and isinstance(source, str)):
        raise CheckpointError(f"{path}: latents and sounds do not fit; {_REMOVE}")
    if not bool(torch.isfinite(mean).all() and torch.isfinite(stdev).all() and (stdev >= 0).all()):
        raise CheckpointError(f"{path}: holds latents that are not finite; {_REMOVE}")
    return _Shard(mean, stdev, sounds, source, synthesis, first)


@dataclass
class _Encoded:
    """A shard as it grows.

    Attributes:
        known: latents that need no encoding, by digest.
    """

    known: Mapping[str, tuple[Tensor, Tensor]]
    sounds: list[CachedSound] = field(default_factory=list)
    means: list[Tensor] = field(default_factory=list)
    stdevs: list[Tensor] = field(default_factory=list)

    def add(
        self,
        encode: Encode,
        batch: Mapping[int, CaptionedSound | RecordedSound],
        settings: CacheSettings,
    ) -> None:
        """Encode sounds by seed, at most a batch of them.

        Raises:
            InputError: latents are not finite.
        """
        records = [_record(seed, sound) for seed, sound in batch.items()]
        latents = [self.known.get(record.digest) for record in records]
        if None in latents:
            # Always of full size: a compiled encoder is one graph.
            audio = np.zeros((settings.batch, 2, settings.samples), dtype=np.float32)
            for place, sound in enumerate(batch.values()):
                audio[place] = _padded(sound.audio, settings.samples)
            with torch.inference_mode():
                mean, stdev = (
                    part.to("cpu", torch.float16) for part in encode(torch.from_numpy(audio))
                )
            latents = [(mean[place], stdev[place]) for place in range(len(batch))]
        for record, pair in zip(records, latents, strict=True):
            assert pair is not None
            if not all(bool(torch.isfinite(part).all()) for part in pair):
                raise InputError(
                    f"sound {record.seed} ({record.captions[0]!r}): the autoencoder gives latents "
                    "that are not finite; check the sound and the autoencoder"
                )
            self.sounds.append(record)
            self.means.append(pair[0])
            self.stdevs.append(pair[1])

    def content(self, header: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and the header to write."""
        records = [asdict(sound) for sound in self.sounds]
        tensors = {"mean": torch.stack(self.means), "stdev": torch.stack(self.stdevs)}
        return tensors, {**header, "sounds": records}


def _padded(sound: Audio, samples: int) -> Audio:
    if sound.shape[1] > samples:
        raise InputError(f"a sound of {sound.shape[1]} samples is too long; latents hold {samples}")
    return np.pad(sound, ((0, 0), (0, samples - sound.shape[1])))


def _record(seed: int, sound: CaptionedSound | RecordedSound) -> CachedSound:
    """What is kept of a sound: its own caption first, then rewordings."""
    if isinstance(sound, RecordedSound):
        return CachedSound(seed, sound.captions, sound.seconds, None, sound.digest)
    rng = np.random.default_rng([seed, _CAPTIONS])
    more = [caption(sound.attributes, rng) for _ in range(_CAPTIONS - 1)]
    return CachedSound(seed, (sound.caption, *more), sound.seconds, sound.attributes)


class LatentBatch(NamedTuple):
    """Latents with their captions.

    Attributes:
        latents: (B, latent_dim, frames) float32.
        captions: one of each.
        seconds: (B,) float32.
    """

    latents: Tensor
    captions: list[str]
    seconds: Tensor


class LatentCache:
    """All shards of a folder, in memory.

    Attributes:
        folder: of the shards.
        mean: (sounds, latent_dim, frames) float16.
        stdev: likewise.
        sounds: in the same order.
        source: names the autoencoder.

    Raises:
        InputError: the folder has no shards, shards of two autoencoders or versions of the
            synthesis, or missing shards, or is being written.
        CheckpointError: a shard is damaged.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        if is_being_written(folder):
            raise InputError(f"{folder}: its latents are being cached; wait until that is done")
        paths = _shard_paths(folder)
        shards = [_shard(path) for path in paths]
        sources = {(shard.source, shard.synthesis) for shard in shards}
        if len(sources) != 1 or len({shard.mean.shape[1:] for shard in shards}) != 1:
            found = "latents of several autoencoders or versions of the synthesis"
            raise InputError(
                f"{folder}: {found if shards else 'no cached latents'}; "
                "cache them into an empty folder"
            )
        require_complete(folder, paths, [shard.seeds() for shard in shards])
        self.source, _ = sources.pop()
        self.sounds = [sound for shard in shards for sound in shard.sounds]
        self.mean = torch.cat([shard.mean for shard in shards])
        self.stdev = torch.cat([shard.stdev for shard in shards])

    def __len__(self) -> int:
        return len(self.sounds)

    def batch(self, rng: np.random.Generator, size: int, *, reworded: bool = True) -> LatentBatch:
        """Draw ``size`` sounds with replacement, each a sample of its posterior.

        Captions of synthesized sounds are reworded; those of recorded ones, and all unless
        ``reworded``, are taken from the cache.
        """
        return self.rows(rng.integers(len(self), size=size), rng, reworded=reworded)

    def rows(
        self, indices: Sequence[int] | np.ndarray, rng: np.random.Generator, *, reworded: bool
    ) -> LatentBatch:
        """Return the sounds of ``indices``, in that order."""
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
    """The sound of a record.

    Raises:
        KeyError: an entry is missing.
        TypeError: an entry is of another type.
        ValueError: an entry is out of range.
    """
    captions, seconds = tuple(record["captions"]), float(record["seconds"])
    if not (captions and all(isinstance(text, str) for text in captions) and 0 < seconds < 1e6):
        raise ValueError(f"captions or seconds of sound {record['seed']}")
    attributes = None
    if record["attributes"] is not None:
        attributes = attributes_from(record["attributes"])
    return CachedSound(int(record["seed"]), captions, seconds, attributes, str(record["digest"]))
