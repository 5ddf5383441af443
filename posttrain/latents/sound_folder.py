"""Reads a folder of recorded sounds with captions, to train on in place of synthesized ones.

Next to each sound file (``door.wav``, or any other format that libsndfile reads) is a text file of
the same name (``door.txt``) with a caption per line: several wordings of one sound make a model
that follows prompts better. Subfolders are read too, also through links. Files that are cut,
resampled or left out are counted and named in :attr:`SoundFolder.notes`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import soundfile

from arcmobile.posttrain.autoencoder.crops import Audio
from arcmobile.posttrain.latents.captions_file import read_captions
from arcmobile.runtime.audio import read_init_audio
from arcmobile.runtime.errors import InputError, one_line
from arcmobile.runtime.verified_files import file_digest

# From soundfile.available_formats(), without headerless formats.
SUFFIXES: Final = frozenset(
    {".wav", ".wave", ".wavex", ".rf64", ".bwf", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3"}
    | {".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".voc", ".ircam", ".sf", ".nist", ".sph"}
    | {".avr", ".iff", ".svx", ".paf", ".pvf", ".htk", ".sds", ".mat", ".wve", ".mpc"}
)
_CAPTIONS: Final = ".txt"
_CHANNELS: Final = 2
_NAMED: Final = 5
_UNKNOWN_FRAMES: Final = 1 << 50


@dataclass(frozen=True)
class RecordedSound:
    """A recorded sound.

    Attributes:
        audio: float32 (2, samples).
        captions: every wording of its caption.
        seconds: duration, at most that of the model.
        digest: sha256 of the sound file.
    """

    audio: Audio
    captions: tuple[str, ...]
    seconds: float
    digest: str


@dataclass(frozen=True)
class _Header:
    """What the header of a sound file states."""

    rate: int
    channels: int
    frames: int
    """As stated; streams may state the largest possible number."""


class SoundFolder:
    """Captioned sound files in the order of their names; ``folder[k]`` reads the k-th.

    Args:
        folder: to read.
        samples: length of the longest sound at ``sample_rate``.
        sample_rate: in Hz.

    Attributes:
        notes: a line about each kind of file that is cut, resampled or left out.

    Raises:
        InputError: there are no sounds, a sound has no captions, or its header cannot be read.
    """

    def __init__(self, folder: Path, samples: int, sample_rate: int):
        self.samples, self.sample_rate = samples, sample_rate
        if not folder.is_dir():
            raise InputError(f"--sounds {folder}: no such folder")
        found = sorted(_walk(folder))
        self.paths = [path for path in found if path.suffix.lower() in SUFFIXES and path.is_file()]
        if not self.paths:
            raise InputError(f"--sounds {folder}: holds no sound files (WAV, FLAC, MP3, ...)")
        self._captions = [read_captions(path.with_suffix(_CAPTIONS), path) for path in self.paths]
        self._headers = [_header(path) for path in self.paths]
        self.notes = tuple(self._notes(found, folder))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> RecordedSound:
        path, samples = self.paths[index], self.samples
        read = read_init_audio(
            path, sample_rate=self.sample_rate, channels=_CHANNELS, samples=samples
        )
        seconds = max(0.001, round(min(read.found, samples) / self.sample_rate, 3))
        return RecordedSound(read.audio, self._captions[index], seconds, self.digests[index])

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """The sha256 of each sound file; InputError for one that cannot be read."""
        return tuple(_digest(path) for path in self.paths)

    def captions(self, index: int) -> tuple[str, ...]:
        """Return every wording of the caption of the sound ``index``."""
        return self._captions[index]

    def _notes(self, found: Sequence[Path], folder: Path) -> Iterator[str]:
        def named(paths: Sequence[Path]) -> str:
            names = [path.relative_to(folder).as_posix() for path in paths[:_NAMED]]
            more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
            return f"{', '.join(names)}{more}"

        known = set(self.paths)
        stems = {path.with_suffix("") for path in self.paths}
        others = [path for path in found if path not in known]
        unpaired = [path for path in others if path.suffix.lower() == _CAPTIONS]
        unpaired = [path for path in unpaired if path.with_suffix("") not in stems]
        unread = [path for path in others if path.suffix.lower() != _CAPTIONS]
        pairs = list(zip(self.paths, self._headers, strict=True))
        longest = self.samples / self.sample_rate
        kinds = {
            "left out, not readable as sound": unread,
            "without a sound file of that name": unpaired,
            f"resampled to {self.sample_rate} Hz": [
                path for path, header in pairs if header.rate != self.sample_rate
            ],
            f"cut to {longest:.1f} s": [
                path
                for path, header in pairs
                if longest * header.rate + 0.5 < header.frames < _UNKNOWN_FRAMES
            ],
            "with more than two channels, of which the first two are used": [
                path for path, header in pairs if header.channels > _CHANNELS
            ],
        }
        for kind, paths in kinds.items():
            if paths:
                yield f"{len(paths)} file{'s' * (len(paths) > 1)} {kind}: {named(paths)}"


def _walk(folder: Path) -> Iterator[Path]:
    """All files below a folder except hidden ones; each folder once, also behind links.

    Raises:
        InputError: a folder cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"{here}: cannot be read ({error.strerror}); check it") from error
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if path.is_dir():
                waiting.append(path)
            else:
                yield path


def _header(path: Path) -> _Header:
    try:
        info = soundfile.info(str(path))
    except (OSError, soundfile.LibsndfileError) as error:
        reason = one_line(error)
        raise InputError(f"{path}: not a readable sound file ({reason}); remove it") from error
    return _Header(info.samplerate, info.channels, info.frames)


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check it") from error
