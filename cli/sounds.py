"""From the options of `arcmobile generate` to a list of sounds: prompts, variations, file names."""

from __future__ import annotations

import os
import re
import secrets
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from arcmobile.runtime.audio import Encoding, check_sound_name
from arcmobile.runtime.errors import InputError
from arcmobile.runtime.noise import MAX_SEED
from arcmobile.runtime.request import GenerationRequest
from arcmobile.runtime.strict_json import parse_json
from arcmobile.runtime.whole_output import check_file

_MOST_PROMPTS_BYTES: Final = 64 << 20
_MOST_LEVELS: Final = 32
_MOST_SOUNDS: Final = 10_000
_LINE_END: Final = re.compile(r"\r\n|\n|\r")


class SoundFormat(StrEnum):
    """What to write: 16-bit WAV, 32-bit float WAV (never clipped), or FLAC."""

    wav = "wav"
    wav_float = "wav-float"
    flac = "flac"

    @property
    def suffix(self) -> str:
        """What such a file ends in."""
        return ".flac" if self is SoundFormat.flac else ".wav"

    @property
    def encoding(self) -> Encoding:
        """How its samples are stored."""
        return "float32" if self is SoundFormat.wav_float else "pcm16"


class PromptLine(BaseModel):
    """A JSON line of a prompts file; what it leaves out comes from the command line."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    prompt: str
    seconds: float | None = None
    steps: int | None = None
    seed: int | None = None
    init_audio: str | None = None
    noise_level: float | None = None
    numbers: dict[str, float] | None = None


@dataclass(frozen=True)
class Sound:
    """One sound to make and the file it goes to."""

    request: GenerationRequest
    path: Path


def parse_numbers(assignments: Sequence[str]) -> dict[str, float]:
    """Read ``NAME=VALUE`` options.

    Raises:
        InputError: one has another form, or a name stands twice.
    """
    numbers = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        try:
            if not name or name in numbers:
                raise ValueError
            numbers[name] = float(value)
        except ValueError:
            raise InputError(
                f"--number {assignment}: write NAME=VALUE once for each, e.g. seconds_start=0"
            ) from None
    return numbers


@dataclass(frozen=True)
class Destination:
    """What ``--out`` names: a file, or a folder for files named by prompt and seed."""

    path: Path
    is_folder: bool

    @classmethod
    def of(cls, out: str | None) -> Destination:
        """A folder exists, ends in a slash, or has no ending; no ``--out`` is the working one.

        Raises:
            InputError: the name is empty or holds a NUL character.
        """
        if out is None:
            return cls(Path(), is_folder=True)
        if not out.strip() or "\0" in out:
            raise InputError(f"--out {out!r}: name a file or folder; leave it out to write here")
        path = Path(out)
        ends_in_slash = out.endswith(tuple(filter(None, (os.sep, os.altsep))))
        return cls(path, is_folder=ends_in_slash or path.suffix == "" or path.is_dir())


def written_format(out: Destination, chosen: SoundFormat | None) -> SoundFormat:
    """The format asked for, by option or by the end of the file name; they must not disagree."""
    ending = "" if out.is_folder else out.path.suffix.lower()
    if chosen is None:
        return SoundFormat.flac if ending == SoundFormat.flac.suffix else SoundFormat.wav
    if not out.is_folder and ending != chosen.suffix:
        raise InputError(
            f"--out {out.path}: --format {chosen.value} needs a name in {chosen.suffix}, or a "
            f"folder's in {os.sep}"
        )
    return chosen


def read_requests(
    base: GenerationRequest, prompt: str | None, prompts: Path | None
) -> list[GenerationRequest]:
    """The requests of a prompt or of a file of prompts.

    Lines end with a line feed, a carriage return or both; other separators belong to a prompt.

    Raises:
        InputError: neither or both are given; the file cannot be read, is not UTF-8 text, or a
            line of it is wrong.
    """
    if (prompt is None) == (prompts is None):
        raise InputError('give either a prompt (it may be empty: "") or --prompts FILE')
    if prompt is not None:
        return [replace(base, prompt=prompt)]
    assert prompts is not None
    requests = [
        _request_of_line(base, line.strip(), f"--prompts {prompts}, line {number}")
        for number, line in enumerate(_LINE_END.split(_text_of(prompts)), 1)
        if line.strip()
    ]
    if not requests:
        raise InputError(f"--prompts {prompts}: holds no prompt; write one per line")
    return requests


def _text_of(prompts: Path) -> str:
    try:
        with prompts.open("rb") as file:
            data = file.read(_MOST_PROMPTS_BYTES + 1)
    except OSError as error:
        raise InputError(f"--prompts {prompts}: cannot be read ({error.strerror})") from error
    if len(data) > _MOST_PROMPTS_BYTES:
        raise InputError(
            f"--prompts {prompts}: is larger than {_MOST_PROMPTS_BYTES >> 20} MiB; split it"
        )
    try:
        text = data.decode("utf-8-sig")  # editors put a byte order mark first; it means nothing
    except UnicodeDecodeError as error:
        raise InputError(f"--prompts {prompts}: is not UTF-8 text ({error.reason})") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(
            f"--prompts {prompts}, line {line}: holds a NUL character, so it is not UTF-8 text "
            "(UTF-16?); save it as UTF-8"
        )
    return text


def _request_of_line(base: GenerationRequest, line: str, where: str) -> GenerationRequest:
    if not line.startswith("{"):
        return replace(base, prompt=line)
    try:
        # Strictly first: pydantic takes the last of two equal keys.
        parse_json(line, most_bytes=_MOST_PROMPTS_BYTES, most_levels=_MOST_LEVELS)
        fields = PromptLine.model_validate_json(line).model_dump(exclude_none=True)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(map(str, problem["loc"]))
        known = ", ".join(PromptLine.model_fields)
        raise InputError(f"{where}: {field}: {problem['msg']} (fields: {known})") from error
    except ValueError as error:
        raise InputError(f"{where}: {error}; write one JSON object on the line") from error
    return replace(base, **fields)


def variations(requests: list[GenerationRequest], batch: int) -> Iterator[GenerationRequest]:
    """Each request ``batch`` times with seeds that count up, from a random one if none is given.

    Raises:
        InputError: those are too many sounds for one command.
    """
    if len(requests) * batch > _MOST_SOUNDS:
        raise InputError(
            f"--batch {batch}: {len(requests)} prompts make {len(requests) * batch} sounds; "
            f"give at most {_MOST_SOUNDS} at a time"
        )
    for request in requests:
        # 32 bits: a seed that fits in a file name and can be typed again.
        first = secrets.randbits(32) if request.seed is None else request.seed
        for index in range(batch):
            yield replace(request, seed=(first + index) % (MAX_SEED + 1) if index else first)


def name_files(
    requests: list[GenerationRequest], out: Destination, written: SoundFormat, *, overwrite: bool
) -> list[Sound]:
    """A file for every sound, checked before anything runs."""
    if not out.is_folder:
        if len(requests) > 1:
            raise InputError(
                f"--out {out.path}: is one file for {len(requests)} sounds; give a folder"
            )
        check_sound_name(out.path, written.encoding)
        check_file(out.path, overwrite=overwrite, option="--out")
        return [Sound(requests[0], out.path)]
    folder = out.path
    taken: set[Path] = set()
    sounds = []
    for request in requests:
        stem = f"{_slug(request.prompt)}-{request.seed}"
        path = folder / f"{stem}{written.suffix}"
        copy = 1
        while path in taken or (path.exists() and not overwrite):
            copy += 1
            path = folder / f"{stem}-{copy}{written.suffix}"
        check_sound_name(path, written.encoding)
        check_file(path, overwrite=overwrite, option="--out")
        taken.add(path)
        sounds.append(Sound(request, path))
    return sounds


def _slug(prompt: str, longest: int = 48) -> str:
    plain = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain)
    return "-".join(words)[:longest].rstrip("-") or "sound"
