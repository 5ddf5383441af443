"""Sound in and out: WAV and FLAC files that appear whole, and init audio in the model's format.

Upstream returns what the decoder gives: not normalised, not clipped, not trimmed. Here samples are
not normalised either (loudness is the model's), but they are trimmed to the requested seconds, and
clipped to full scale where the file holds integers; the number of clipped samples is reported.
16-bit samples are the nearest to the float ones, see ``docs/bundle.md``. Float files keep the
samples as they are.
"""

from __future__ import annotations

import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import ModuleType, TracebackType
from typing import IO, Any, Final, Literal, Self

import numpy as np
import soxr
from numpy.typing import NDArray

from arcmobile.runtime.errors import ArcMobileError, InputError, OutputError
from arcmobile.runtime.whole_output import whole_file

Audio = NDArray[np.float32]  # (channels, samples), full scale 1.0
Encoding = Literal["pcm16", "float32"]

_WAV, _FLAC = ".wav", ".flac"
_WAY_OUT: Final = "choose another --out or free some space"
_PCM16_SCALE: Final = 32768.0
_MOST_WAV_BYTES: Final = 2**32 - 37  # of samples: the size of all but 8 bytes has 32 bits
_LOWEST_RATE, _HIGHEST_RATE = 10, 768_000  # Hz; a header with another is broken
_BLOCK_SAMPLES: Final = 1 << 20  # of all channels, so that a header with 1024 costs no memory
_MOST_READ_BYTES: Final = 256 << 20  # of a pipe
_HEADER_BYTES: Final = 1 << 16
_UNKNOWN_LENGTH: Final = bytes([0xFF] * 4)


def _libsndfile() -> ModuleType:
    # Wheels for most Arm boards come without the library that soundfile needs.
    try:
        import soundfile
    except OSError as error:
        raise ArcMobileError(
            f"sound files need libsndfile ({error}): apt-get install libsndfile1, or the package "
            "of that name of your system"
        ) from error
    return soundfile


def to_pcm16(audio: Audio) -> NDArray[np.int16]:
    """Return the nearest 16-bit samples, ties to even, of samples within full scale, -1 to 1."""
    scaled = np.rint(audio * np.float32(_PCM16_SCALE))
    return np.clip(scaled, -_PCM16_SCALE, _PCM16_SCALE - 1).astype(np.int16)


class AudioWriter:
    """Writes a WAV or FLAC file as chunks arrive; the file appears when the block ends well.

    Use it as a context manager, see :func:`~arcmobile.runtime.whole_output.whole_file`.

    Attributes:
        path: the file; its suffix chooses the format.
        clipped: samples that were beyond full scale and were clipped; integer formats only.
        samples: samples written per channel.
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
        samples: int = 0,
    ) -> None:
        """Open the unfinished file.

        Args:
            path: ends in ``.wav`` or ``.flac``.
            sample_rate: Hz.
            channels: of the sound.
            encoding: of the samples.
            overwrite: whether a file that is there may be replaced.
            comment: provenance, stored in a FLAC file; a WAV file holds the sound alone.
            samples: per channel that will come, if known, to refuse too many at once.

        Raises:
            OutputError: the file cannot be written, is there already, or would be too large.
            InputError: the suffix or encoding is not offered.
        """
        self.path = Path(path)
        self.clipped = 0
        self.samples = 0
        self._channels = channels
        self._encoding = encoding
        check_sound_name(self.path, encoding)
        self._sound = _libsndfile()
        self._open = ExitStack()
        self._check_size(samples)
        try:
            self._partial = self._open.enter_context(whole_file(self.path, overwrite=overwrite))
            if self.path.suffix.lower() == _WAV:
                self._file: Any = _WavFile(self._partial, sample_rate, channels, encoding)
                self._open.callback(self._file.close)
            else:
                self._file = self._sound.SoundFile(
                    self._partial,
                    "w",
                    samplerate=sample_rate,
                    channels=channels,
                    format="FLAC",
                    subtype="PCM_16",
                )
                if comment:
                    self._file.comment = comment
            self._open.push(self._close)
        except self._sound.LibsndfileError as error:
            self._open.__exit__(type(error), error, None)
            raise OutputError(
                f"{self.path}: cannot be written ({error.error_string}); {_WAY_OUT}"
            ) from error

    def write(self, chunk: Audio) -> None:
        """Append float32 ``(channels, samples)``.

        Raises:
            OutputError: the disk is full, or a WAV file would be larger than 4 GB.
            InputError: a sample is NaN or infinite.
        """
        if not np.isfinite(chunk).all():
            raise InputError(f"{self.path}: the sound holds NaN or infinite samples")
        samples: NDArray[Any] = chunk
        if self._encoding == "pcm16":
            self.clipped += int(np.count_nonzero(np.abs(chunk) > 1.0))
            samples = to_pcm16(np.clip(chunk, -1.0, 1.0))
        self.samples += chunk.shape[1]
        self._check_size(self.samples)
        try:
            self._file.write(np.ascontiguousarray(samples.T))
        except (self._sound.LibsndfileError, AssertionError) as error:
            # soundfile asserts that as many samples were written as were given.
            raise self._not_written() from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, traceback)

    def _close(self, kind: type[BaseException] | None, *_: object) -> None:
        complete = kind is None
        try:
            self._file.close()
            if complete:
                self._check_complete()
        except self._sound.LibsndfileError as error:
            if complete:
                raise self._not_written() from error
        except OSError:
            if complete:
                raise

    def _check_size(self, samples: int) -> None:
        size = samples * self._channels * (2 if self._encoding == "pcm16" else 4)
        if self.path.suffix.lower() == _WAV and size > _MOST_WAV_BYTES:
            raise OutputError(f"{self.path}: WAV files end at 4 GB; write .flac or fewer seconds")

    def _check_complete(self) -> None:
        # Closing flushes the encoder and hides its errors.
        if self._sound.info(str(self._partial)).frames != self.samples:
            raise self._not_written()

    def _not_written(self) -> OutputError:
        return OutputError(
            f"{self.path}: only a part could be written, the disk may be full; {_WAY_OUT}"
        )


class _WavFile:
    """A WAV file of a plain header of 44 bytes and samples; libsndfile would add chunks."""

    def __init__(self, path: Path, sample_rate: int, channels: int, encoding: Encoding) -> None:
        self._file = path.open("wb")
        self._rate = sample_rate
        self._channels = channels
        self._code, self._width = (1, 2) if encoding == "pcm16" else (3, 4)
        self._bytes = 0
        self._write_header()

    def write(self, samples: NDArray[Any]) -> None:
        """Append ``(samples, channels)``, contiguous, of the encoding's type."""
        data = samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes()
        self._file.write(data)
        self._bytes += len(data)

    def close(self) -> None:
        if not self._file.closed:
            with self._file:
                self._file.seek(0)
                self._write_header()

    def _write_header(self) -> None:
        frame = self._channels * self._width
        per_second = self._rate * frame & 0xFFFFFFFF  # nobody uses it, so it may wrap around
        form = struct.pack(
            "<IHHIIHH",
            *(16, self._code, self._channels, self._rate, per_second, frame, 8 * self._width),
        )
        riff, data = struct.pack("<I", 36 + self._bytes), struct.pack("<I", self._bytes)
        self._file.write(b"RIFF" + riff + b"WAVEfmt " + form + b"data" + data)


def check_sound_name(path: Path, encoding: Encoding) -> None:
    """Check the suffix of an output file.

    Raises:
        InputError: the format is not offered, or does not hold such samples.
        ArcMobileError: there is no library for sound files.
    """
    _libsndfile()
    suffix = path.suffix.lower()
    if suffix not in (_WAV, _FLAC):
        raise InputError(
            f"{path}: the file name must end in .wav or .flac (a folder's in {os.sep})"
        )
    if suffix == _FLAC and encoding == "float32":
        raise InputError(f"{path}: FLAC holds no float samples; use .wav or pcm16")


def write_audio(
    path: str | os.PathLike[str],
    audio: Audio,
    sample_rate: int,
    *,
    encoding: Encoding = "pcm16",
    overwrite: bool = False,
    comment: str = "",
) -> int:
    """Write float32 ``(channels, samples)`` at once; return the number of clipped samples."""
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


@dataclass(frozen=True, eq=False)
class InitAudio:
    """A sound to start from, in the model's format.

    Attributes:
        audio: float32 ``(channels, samples)``, cut or padded with silence.
        found: samples at the model's rate that the file holds, at least those needed are counted.
    """

    audio: Audio
    found: int


def read_init_audio(
    path: str | os.PathLike[str], *, sample_rate: int, channels: int, samples: int
) -> InitAudio:
    """Read a sound file in the model's format: float32 ``(channels, samples)``.

    Takes any format libsndfile reads, also from a pipe, and headers that leave the length open.
    The sound is resampled to ``sample_rate`` (Hz) where it differs, its channels are matched as by
    :func:`match_channels`, and it is zero-padded or cut at the end. No more of the file is read
    than needed.

    Raises:
        InputError: the file cannot be used.
    """
    name = os.fspath(path)
    sound = _libsndfile()
    try:
        with ExitStack() as opened:
            # By descriptor: a name would choose the format, and `.raw` none.
            file = opened.enter_context(_sequential(sound)(_source(name), closefd=True))
            rate = file.samplerate
            if rate != sample_rate and not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
                raise InputError(
                    f"{name}: a sample rate of {rate} Hz is outside {_LOWEST_RATE} to "
                    f"{_HIGHEST_RATE}; convert the file first"
                )
            # More than needed, so that the resampler's tail lies behind the cut.
            wanted = samples + 1 if rate == sample_rate else _scaled(samples, rate, sample_rate)
            blocks = list(_read_blocks(file, wanted, channels, name))
    except (OSError, sound.SoundFileError, RuntimeError, TypeError, ValueError) as error:
        # Unlike Path.exists, this is False for a name that is too long.
        if not os.path.exists(name):  # noqa: PTH110
            raise InputError(f"{name}: no such file; give a sound file") from error
        raise InputError(
            f"{name}: not a readable sound file ({error}); give WAV or FLAC"
        ) from error
    if not blocks:
        raise InputError(f"{name}: holds no samples; give another sound file")
    audio = np.concatenate(blocks, axis=1)
    if rate != sample_rate:
        audio = soxr.resample(audio.T, rate, sample_rate).T
    return InitAudio(fit_length(audio, samples), audio.shape[1])


def _scaled(samples: int, rate: int, sample_rate: int) -> int:
    return math.ceil(samples * rate / sample_rate) + rate


def _source(name: str) -> int | BytesIO:
    """Open a file as a descriptor; read a pipe, or a WAV without its length, into memory."""
    with Path(name).open("rb") as file:
        is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        start = file.read(_HEADER_BYTES)
        opened = _without_length(start, file if is_file else None)
        if is_file and not opened:
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            return os.dup(file.fileno())
        data = bytearray(start + file.read(_MOST_READ_BYTES - len(start)))
    if opened:
        data[4:8] = data[opened : opened + 4] = _UNKNOWN_LENGTH
    return BytesIO(data)


def _without_length(start: bytes, file: IO[bytes] | None) -> int:
    """Return where a WAV states a size of 0 because its writer could not go back; else 0.

    libsndfile reads to the end where all bits of that size are set, as other writers do.
    """
    if start[:4] != b"RIFF" or start[8:12] != b"WAVE":
        return 0
    stated = int.from_bytes(start[4:8], "little") + 8
    if file is not None and stated == os.fstat(file.fileno()).st_size:
        return 0
    place = 12
    while place + 8 <= len(start):
        size = int.from_bytes(start[place + 4 : place + 8], "little")
        if start[place : place + 4] == b"data":
            return 0 if size else place + 4
        place += 8 + size + size % 2
    return 0


def _sequential(sound: ModuleType) -> Any:
    """Return a reader that never seeks: libsndfile cannot in a file of unknown length."""

    class Sequential(sound.SoundFile):  # type: ignore[name-defined]
        def seekable(self) -> bool:
            return False

    return Sequential


def _read_blocks(file: Any, wanted: int, channels: int, name: str) -> Iterator[Audio]:
    """Yield at most ``wanted`` samples as blocks of float32 ``(channels, any)``.

    Raises:
        InputError: a sample is NaN or infinite.
    """
    left = wanted
    most = max(1, _BLOCK_SAMPLES // file.channels)
    while left > 0:
        block = file.read(min(left, most), dtype="float32", always_2d=True)
        if not len(block):
            return
        if not np.isfinite(block).all():
            raise InputError(f"{name}: holds NaN or infinite samples; give another sound file")
        left -= len(block)
        yield np.ascontiguousarray(match_channels(block.T, channels))


def match_channels(audio: Audio, channels: int) -> Audio:
    """Convert ``(any, samples)`` to ``(channels, samples)`` as upstream does.

    Mono is copied to every channel, a mono result is the mean, otherwise the first channels are
    taken.

    Raises:
        InputError: there are fewer channels, but more than one.
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
    """Zero-pad or cut ``(channels, n)`` at the end to ``(channels, samples)``, contiguous."""
    fitted = np.zeros((audio.shape[0], samples), np.float32)
    kept = min(samples, audio.shape[1])
    fitted[:, :kept] = audio[:, :kept]
    return fitted
