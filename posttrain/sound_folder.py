"""A folder of one's own sounds with captions, to train from besides drawn ones or instead.

Next to each sound file (``door.wav``, also FLAC or OGG) lies a text file of the same name
(``door.txt``) with a caption per line: several wordings of one sound make a model that listens
better. Sub-folders are read too. Sounds longer than the model's are cut at its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import soundfile

from arcmobile.posttrain.autoencoder_crops import Audio
from arcmobile.posttrain.sounds import MODEL_SAMPLE_RATE
from arcmobile.runtime.audio import read_audio
from arcmobile.runtime.errors import InputError

SUFFIXES = (".wav", ".flac", ".ogg")
_LONGEST_CAPTIONS = 1 << 16  # bytes


@dataclass(frozen=True)
class RecordedSound:
    """``audio`` float32 (2, samples), every wording of its caption, and its seconds."""

    audio: Audio
    captions: tuple[str, ...]
    seconds: float


class SoundFolder:
    """Captioned sound files in the order of their names; ``folder[k]`` reads the k-th.

    Raises InputError for a folder without sounds, and for a sound without captions.
    """

    def __init__(self, folder: Path, samples: int):
        self.samples = samples
        self.paths = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
        )
        if not self.paths:
            raise InputError(f"--sounds {folder}: no {', '.join(SUFFIXES)} files in there")
        self._captions = [_captions_of(path) for path in self.paths]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> RecordedSound:
        path = self.paths[index]
        audio = read_audio(path, sample_rate=MODEL_SAMPLE_RATE, channels=2, samples=self.samples)
        info = soundfile.info(path)
        seconds = min(info.frames / info.samplerate, self.samples / MODEL_SAMPLE_RATE)
        return RecordedSound(audio, self._captions[index], round(seconds, 3))


def _captions_of(path: Path) -> tuple[str, ...]:
    captions = path.with_suffix(".txt")
    try:
        if captions.stat().st_size > _LONGEST_CAPTIONS:
            raise InputError(f"{captions}: too long for captions; one per line")
        lines = captions.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        mend = f"write the captions of {path.name}, one per line"
        raise InputError(f"{captions}: cannot be read ({error}); {mend}") from error
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise InputError(f"{captions}: is empty; write a caption of {path.name} per line")
    return found
