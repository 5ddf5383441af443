"""Sound files: whole or absent, clipped with a count, read in the model's format."""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from arcmobile.runtime.audio import Audio, AudioWriter, read_init_audio, write_audio
from arcmobile.runtime.errors import InputError, OutputError

RATE = 44100


def read_audio(path: str | Path, **form: int) -> Audio:
    return read_init_audio(path, **form).audio


def tone(seconds: float, rate: int = RATE, channels: int = 2) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * 440 * (c + 1) * t) for c in range(channels)]).astype(
        np.float32
    )


@pytest.mark.parametrize(
    ("name", "encoding", "subtype", "error"),
    [
        ("a.wav", "pcm16", "PCM_16", 2**-15),
        ("a.wav", "float32", "FLOAT", 0.0),
        ("a.FLAC", "pcm16", "PCM_16", 2**-15),
    ],
)
def test_round_trip(tmp_path: Path, name: str, encoding, subtype: str, error: float) -> None:
    audio = tone(0.1)
    assert write_audio(tmp_path / "new" / name, audio, RATE, encoding=encoding, comment="hum") == 0
    with soundfile.SoundFile(tmp_path / "new" / name) as file:
        assert (file.samplerate, file.channels, file.subtype) == (RATE, 2, subtype)
        # The header of a WAV stays the plain one.
        assert file.comment == ("hum" if name == "a.FLAC" else "")
        np.testing.assert_allclose(file.read(dtype="float32").T, audio, rtol=0, atol=error)


@pytest.mark.parametrize(("encoding", "code", "width"), [("pcm16", 1, 2), ("float32", 3, 4)])
def test_a_wav_header_is_the_plain_one(tmp_path: Path, encoding, code: int, width: int) -> None:
    write_audio(tmp_path / "a.wav", tone(0.1), RATE, encoding=encoding, comment="hum")
    file = (tmp_path / "a.wav").read_bytes()
    sound = 4410 * 2 * width
    assert len(file) == 44 + sound
    assert struct.unpack("<4sI4s4sIHHIIHH4sI", file[:44]) == (
        *(b"RIFF", 36 + sound, b"WAVE", b"fmt ", 16, code, 2, RATE, RATE * 2 * width, 2 * width),
        *(8 * width, b"data", sound),
    )
    with pytest.raises(OutputError, match="4 GB"):
        AudioWriter(tmp_path / "b.wav", sample_rate=RATE, channels=2, samples=1 << 31)


def test_16_bit_samples_are_the_nearest(tmp_path: Path) -> None:
    steps = np.array([[-32768, -1.5, -0.75, -0.25, 0.25, 0.5, 0.75, 1.5, 2.5, 100.7, 32767.6]])
    nearest = [-32768, -2, -1, 0, 0, 0, 1, 2, 2, 101, 32767]
    for name in ("a.wav", "a.flac"):
        write_audio(tmp_path / name, (steps / 32768).astype(np.float32), RATE)
        written, _ = soundfile.read(tmp_path / name, dtype="int16")
        np.testing.assert_array_equal(written, nearest)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
@pytest.mark.parametrize("through", ["file", "fifo"])
def test_sounds_of_unknown_length_are_read(tmp_path: Path, size: int, through: str) -> None:
    """As pipes write them: the header of a WAV says 0 or all ones, that of a FLAC says 0."""
    sound = tone(0.1)
    soundfile.write(tmp_path / "a.wav", sound.T, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "a.flac", sound.T, RATE, subtype="PCM_24")
    wav = bytearray((tmp_path / "a.wav").read_bytes())
    start = wav.index(b"data") + 4
    wav[4:8] = wav[start : start + 4] = size.to_bytes(4, "little")
    flac = bytearray((tmp_path / "a.flac").read_bytes())
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    for name, data in (("a.wav", wav), ("a.flac", flac)):
        path = tmp_path / f"open-{name}"
        if through == "fifo":
            os.mkfifo(path)
            threading.Thread(target=path.write_bytes, args=(data,), daemon=True).start()
        else:
            path.write_bytes(data)
        read = read_init_audio(path, sample_rate=RATE, channels=2, samples=5000)
        assert read.found == 4410
        np.testing.assert_allclose(read.audio[:, :4410], sound, atol=1e-6)


def test_absurd_headers_cost_no_memory(tmp_path: Path) -> None:
    """A thousand channels and a size in gigabytes over a few samples, and rates of no sound."""
    path = tmp_path / "a.wav"
    for channels, rate in ((1024, RATE), (2, 3), (2, 2_000_000_000)):
        soundfile.write(path, np.zeros((4, 2)), RATE, subtype="PCM_16")
        header = bytearray(path.read_bytes())
        header[22:24] = channels.to_bytes(2, "little")
        header[24:28] = rate.to_bytes(4, "little")
        header[32:34] = (2 * channels).to_bytes(2, "little")
        header[4:8] = header[40:44] = (0xFFFFFFF0).to_bytes(4, "little")
        path.write_bytes(header)
        with pytest.raises(InputError):
            read_audio(path, sample_rate=RATE, channels=2, samples=1 << 30)


def test_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="NaN"):
        write_audio(tmp_path / "a.wav", np.full((2, 10), np.nan, np.float32), RATE)
    assert list(tmp_path.iterdir()) == []


def test_chunks_add_up(tmp_path: Path) -> None:
    audio = tone(0.1)
    with AudioWriter(tmp_path / "a.wav", sample_rate=RATE, channels=2) as writer:
        for start in range(0, audio.shape[1], 1000):
            writer.write(audio[:, start : start + 1000])
        assert not (tmp_path / "a.wav").exists()
    write_audio(tmp_path / "b.wav", audio, RATE)
    assert writer.samples == audio.shape[1]
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_integers_are_clipped_and_counted_and_floats_are_not(tmp_path: Path) -> None:
    audio = np.array([[0.5, 1.0, 1.5], [-0.5, -1.0, -3.0]], np.float32)
    assert write_audio(tmp_path / "a.wav", audio, RATE) == 2
    written, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_allclose(written.T, np.clip(audio, -1, 1), atol=2**-14)
    assert write_audio(tmp_path / "b.wav", audio, RATE, encoding="float32") == 0
    written, _ = soundfile.read(tmp_path / "b.wav", dtype="float32")
    np.testing.assert_array_equal(written.T, audio)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_no_file(tmp_path: Path, error: type[BaseException]) -> None:
    def half() -> None:
        with AudioWriter(tmp_path / "a.wav", sample_rate=RATE, channels=2) as writer:
            writer.write(tone(0.1))
            raise error

    with pytest.raises(error):
        half()
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="overwrite"):
        write_audio(path, tone(0.1), RATE)
    assert path.read_bytes() == b"mine"
    write_audio(path, tone(0.1), RATE, overwrite=True)
    assert soundfile.info(str(path)).frames == 4410
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("name", ["a.mp3", "a", "a.wav.txt"])
def test_unknown_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.wav or \.flac"):
        write_audio(tmp_path / name, tone(0.1), RATE)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "a.wav").mkdir()
    for path in (tmp_path / "file" / "a.wav", tmp_path / "a.wav", Path("/proc/none/a.wav")):
        with pytest.raises(OutputError, match=r"a\.wav"):
            write_audio(path, tone(0.1), RATE)
    with pytest.raises(InputError, match="FLAC"):
        write_audio(tmp_path / "a.flac", tone(0.1), RATE, encoding="float32")


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_full_disk(tmp_path: Path, name: str) -> None:
    """A limit on the file size makes the system refuse the write, as a full disk does."""
    code = f"""
        import numpy as np
        from arcmobile.runtime.audio import write_audio
        from arcmobile.runtime.errors import OutputError
        noise = np.random.default_rng(0).uniform(-1, 1, (2, 40000)).astype(np.float32)
        try:
            write_audio({str(tmp_path / name)!r}, noise, {RATE})
        except OutputError as error:
            assert "disk may be full" in str(error) or "too large" in str(error), error
            raise SystemExit(7)
    """

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(code)], preexec_fn=limit, check=False
    )
    assert done.returncode == 7
    assert list(tmp_path.iterdir()) == []


def test_reading_resamples_and_matches_channels(tmp_path: Path) -> None:
    path = tmp_path / "mono.flac"
    soundfile.write(path, tone(1.0, 22050, 1).T, 22050)
    audio = read_audio(path, sample_rate=RATE, channels=2, samples=30_000)
    assert audio.shape == (2, 30_000)
    assert audio.dtype == np.float32
    np.testing.assert_array_equal(audio[0], audio[1])
    # Away from the file's beginning, the resampled tone is the tone.
    np.testing.assert_allclose(audio[0, 2000:28_000], tone(1.0)[0, 2000:28_000], atol=2e-3)


def test_reading_pads_and_cuts(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    write_audio(path, tone(0.1), RATE, encoding="float32")
    longer = read_audio(path, sample_rate=RATE, channels=2, samples=5000)
    np.testing.assert_array_equal(longer[:, :4410], tone(0.1))
    assert not longer[:, 4410:].any()
    shorter = read_audio(path, sample_rate=RATE, channels=1, samples=100)
    np.testing.assert_allclose(shorter[0], tone(0.1)[:, :100].mean(axis=0), atol=1e-7)


def test_init_audio_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not a sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), RATE)
    nan = np.full((10, 2), np.nan, np.float32)
    soundfile.write(tmp_path / "nan.wav", nan, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "stereo.wav", np.zeros((9, 2)), RATE)
    for name, word in [
        ("text.wav", "not a readable"),
        ("empty.wav", "no samples"),
        ("nan.wav", "NaN"),
        ("missing.wav", "no such file"),
        ("stereo.wav", "2 channels"),
    ]:
        channels = 3 if name == "stereo.wav" else 2
        with pytest.raises(InputError, match=word):
            read_audio(tmp_path / name, sample_rate=RATE, channels=channels, samples=10)


def test_a_name_too_long_for_any_file_is_refused() -> None:
    with pytest.raises(InputError, match="no such file"):
        read_audio("x" * 300 + ".wav", sample_rate=100, channels=2, samples=10)
