"""Sound in and out: WAV and FLAC files that appear whole, and init audio in the model's format.

Upstream returns what the decoder gives: not normalised, not clipped, not trimmed. Here the samples
are not normalised either (loudness is the model's), but they are trimmed to the seconds asked for,
and clipped to full scale where the file holds integers; the number of clipped samples is reported.
Float files keep the samples as they are.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from arcmobile.runtime.errors import InputError, OutputError

Audio = NDArray[np.float32]  # (channels, samples), full scale 1.0
Encoding = Literal["pcm16", "float32"]

# soundfile's container and sample format by file suffix and encoding.
_FORMATS: Final[Mapping[tuple[str, Encoding], tuple[str, str]]] = {
    (".wav", "pcm16"): ("WAV", "PCM_16"),
    (".wav", "float32"): ("WAV", "FLOAT"),
    (".flac", "pcm16"): ("FLAC", "PCM_16"),
}
_MEND: Final = "choose another --out or free some space"


class AudioWriter:
    """Writes a WAV or FLAC file as chunks arrive; the file appears when the block ends well.

    The suffix of ``path`` chooses the container. Use as a context manager: chunks go to a hidden
    file beside ``path`` that is renamed at the end, or removed after an error or Ctrl-C.

    Attributes: ``clipped``, the number of samples that were beyond full scale and had to be cut
    (integer formats only); ``samples``, the number written per channel.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        sample_rate: int,
        channels: int,
        encoding: Encoding = "pcm16",
        overwrite: bool = False,
        comment: str = "",
    ) -> None:
        """``sample_rate`` in Hz. ``comment`` is stored in the file, for provenance.

        Raises :class:`OutputError` if the file cannot be written or is there already and not to
        be overwritten, :class:`InputError` for a suffix or encoding that is not offered.
        """
        self.path = Path(path)
        self.clipped = 0
        self.samples = 0
        container, self._subtype = audio_format(self.path, encoding)
        check_output(self.path, overwrite=overwrite)
        self._partial = self.path.with_name(f".{self.path.name}.partial-{secrets.token_hex(4)}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = soundfile.SoundFile(
                self._partial,
                "w",
                samplerate=sample_rate,
                channels=channels,
                format=container,
                subtype=self._subtype,
            )
            if comment:
                self._file.comment = comment
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror}); {_MEND}"
            ) from error
        except soundfile.LibsndfileError as error:
            self._partial.unlink(missing_ok=True)
            raise OutputError(
                f"{self.path}: cannot be written ({error.error_string}); {_MEND}"
            ) from error

    def write(self, chunk: Audio) -> None:
        """Appends float32 ``(channels, samples)``; OutputError when the disk is full."""
        if self._subtype != "FLOAT":
            self.clipped += int(np.count_nonzero(np.abs(chunk) > 1.0))
            chunk = np.clip(chunk, -1.0, 1.0)
        try:
            self._file.write(np.ascontiguousarray(chunk.T))
        except (soundfile.LibsndfileError, AssertionError) as error:
            # soundfile asserts that as many samples were written as were given.
            raise self._not_written() from error
        self.samples += chunk.shape[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
            if kind is None:
                self._check_complete()
                self._partial.replace(self.path)
        except (soundfile.LibsndfileError, OSError) as failure:
            if kind is None:
                raise self._not_written() from failure
        finally:
            self._partial.unlink(missing_ok=True)

    def _check_complete(self) -> None:
        """Closing flushes the encoder and swallows its errors, so the file is looked at again."""
        if soundfile.info(str(self._partial)).frames != self.samples:
            raise self._not_written()

    def _not_written(self) -> OutputError:
        return OutputError(
            f"{self.path}: only a part could be written, the disk may be full; {_MEND}"
        )


def audio_format(path: Path, encoding: Encoding) -> tuple[str, str]:
    """soundfile's container and sample format of an output file; InputError if not offered."""
    suffix = path.suffix.lower()
    try:
        return _FORMATS[suffix, encoding]
    except KeyError:
        if suffix == ".flac":
            raise InputError(f"{path}: FLAC holds no float samples; use .wav or pcm16") from None
        raise InputError(f"{path}: the file name must end in .wav or .flac") from None


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raises :class:`OutputError` where ``path`` is taken or its folder cannot be written.

    Worth calling before minutes of computing; folders that do not exist yet are no obstacle.
    """
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; choose another --out or add --overwrite")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise OutputError(f"{path}: {folder} is a file, not a folder; choose another --out")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: {folder} is not writable; choose another --out")


def write_audio(
    path: str | os.PathLike[str],
    audio: Audio,
    sample_rate: int,
    *,
    encoding: Encoding = "pcm16",
    overwrite: bool = False,
    comment: str = "",
) -> int:
    """Writes float32 ``(channels, samples)`` at once; returns the number of clipped samples."""
    with AudioWriter(
        path,
        sample_rate=sample_rate,
        channels=audio.shape[0],
        encoding=encoding,
        overwrite=overwrite,
        comment=comment,
    ) as writer:
        writer.write(audio)
    return writer.clipped


def read_audio(
    path: str | os.PathLike[str], *, sample_rate: int, channels: int, samples: int
) -> Audio:
    """Reads a sound file as the model wants it: float32 ``(channels, samples)``.

    Any format libsndfile reads; resampled to ``sample_rate`` where it differs, channels matched as
    by :func:`match_channels`, zero-padded or cut at the end. Only as much of the file as is needed
    is read. Raises :class:`InputError` for a file that cannot be used.
    """
    name = os.fspath(path)
    try:
        with soundfile.SoundFile(name) as file:
            rate = file.samplerate
            # A little more than needed, so that the resampler's tail lies behind the cut.
            wanted = (
                samples if rate == sample_rate else math.ceil(samples * rate / sample_rate) + rate
            )
            audio = file.read(wanted, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        if not Path(name).is_file():
            raise InputError(f"{name}: no such file; give a sound file") from error
        raise InputError(
            f"{name}: not a readable sound file ({error}); give WAV or FLAC"
        ) from error
    if audio.shape[0] == 0:
        raise InputError(f"{name}: holds no samples; give another sound file")
    if not np.isfinite(audio).all():
        raise InputError(f"{name}: holds NaN or infinite samples; give another sound file")
    if rate != sample_rate:
        audio = soxr.resample(audio, rate, sample_rate)
    return fit_length(match_channels(audio.T, channels), samples)


def match_channels(audio: Audio, channels: int) -> Audio:
    """``(any, samples)`` -> ``(channels, samples)`` as upstream does it.

    Mono is copied to every channel; to mono is the mean; otherwise the first channels are taken.
    """
    if audio.shape[0] == channels:
        return audio
    if channels == 1:
        return audio.mean(axis=0, keepdims=True, dtype=np.float32)
    if audio.shape[0] == 1:
        return np.repeat(audio, channels, axis=0)
    if audio.shape[0] < channels:
        raise InputError(f"init audio has {audio.shape[0]} channels, the model wants {channels}")
    return audio[:channels]


def fit_length(audio: Audio, samples: int) -> Audio:
    """Zero-pads or cuts ``(channels, n)`` at the end to ``(channels, samples)``, contiguous."""
    fitted = np.zeros((audio.shape[0], samples), np.float32)
    kept = min(samples, audio.shape[1])
    fitted[:, :kept] = audio[:, :kept]
    return fitted
