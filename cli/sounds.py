"""From the options of `arcmobile generate` to a list of sounds: prompts, variations, file names."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from arcmobile.runtime.audio import Encoding
from arcmobile.runtime.errors import InputError
from arcmobile.runtime.noise import MAX_SEED
from arcmobile.runtime.request import GenerationRequest
from arcmobile.runtime.whole_output import check_file


class SoundFormat(StrEnum):
    """What to write: 16-bit WAV, 32-bit float WAV (never clipped), or FLAC."""

    wav = "wav"
    wav_float = "wav-float"
    flac = "flac"

    @property
    def suffix(self) -> str:
        return ".flac" if self is SoundFormat.flac else ".wav"

    @property
    def encoding(self) -> Encoding:
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
    numbers = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        try:
            numbers[name] = float(value)
        except ValueError:
            raise InputError(
                f"--number {assignment}: write NAME=VALUE, e.g. seconds_start=0"
            ) from None
    return numbers


def written_format(out: Path | None, chosen: SoundFormat | None) -> SoundFormat:
    """The format asked for, by option or by the end of the file name; they must not disagree."""
    ending = out.suffix.lower() if out is not None else ""
    if chosen is None:
        return SoundFormat.flac if ending == SoundFormat.flac.suffix else SoundFormat.wav
    if out is not None and _names_file(out) and ending != chosen.suffix:
        raise InputError(f"--out {out}: --format {chosen.value} needs a name in {chosen.suffix}")
    return chosen


def _names_file(out: Path) -> bool:
    """Whether --out is a file rather than a folder: a folder exists, or has no ending."""
    return not out.is_dir() and out.suffix != ""


def read_requests(
    base: GenerationRequest, prompt: str | None, prompts: Path | None
) -> list[GenerationRequest]:
    if (prompt is None) == (prompts is None):
        raise InputError('give either a prompt (it may be empty: "") or --prompts FILE')
    if prompt is not None:
        return [replace(base, prompt=prompt)]
    assert prompts is not None
    try:
        lines = prompts.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"--prompts {prompts}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--prompts {prompts}: is not UTF-8 text ({error.reason})") from error
    requests = [
        _request_of_line(base, line.strip(), f"--prompts {prompts}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not requests:
        raise InputError(f"--prompts {prompts}: holds no prompt; write one per line")
    return requests


def _request_of_line(base: GenerationRequest, line: str, where: str) -> GenerationRequest:
    if not line.startswith("{"):
        return replace(base, prompt=line)
    try:
        fields = PromptLine.model_validate_json(line).model_dump(exclude_none=True)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(map(str, problem["loc"]))
        known = ", ".join(PromptLine.model_fields)
        raise InputError(f"{where}: {field}: {problem['msg']} (fields: {known})") from error
    return replace(base, **fields)


def variations(requests: list[GenerationRequest], batch: int) -> Iterator[GenerationRequest]:
    """Each request ``batch`` times with seeds that count up, from a drawn one if none is given."""
    for request in requests:
        # 32 bits: a seed that fits in a file name and can be typed again.
        first = secrets.randbits(32) if request.seed is None else request.seed
        for index in range(batch):
            yield replace(request, seed=(first + index) % (MAX_SEED + 1) if index else first)


def name_files(
    requests: list[GenerationRequest], out: Path | None, written: SoundFormat, *, overwrite: bool
) -> list[Sound]:
    """A file for every sound, checked before anything runs."""
    if out is not None and _names_file(out):
        if len(requests) > 1:
            raise InputError(f"--out {out}: is one file for {len(requests)} sounds; give a folder")
        check_file(out, overwrite=overwrite)
        return [Sound(requests[0], out)]
    folder = out or Path()
    taken: set[Path] = set()
    sounds = []
    for request in requests:
        stem = f"{_slug(request.prompt)}-{request.seed}"
        path = folder / f"{stem}{written.suffix}"
        copy = 1
        while path in taken or (path.exists() and not overwrite):
            copy += 1
            path = folder / f"{stem}-{copy}{written.suffix}"
        check_file(path, overwrite=overwrite)
        taken.add(path)
        sounds.append(Sound(request, path))
    return sounds


def _slug(prompt: str, longest: int = 48) -> str:
    plain = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain)
    return "-".join(words)[:longest].rstrip("-") or "sound"
