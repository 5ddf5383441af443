"""Options that several `arcmobile bench` commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from arcmobile.runtime.errors import InputError


def option(panel: str | None, help_text: str, *names: str, **settings: Any) -> Any:
    """Return an option in a panel of the help; the help text says the default where it matters."""
    settings.setdefault("show_default", False)
    return typer.Option(*names, help=help_text, rich_help_panel=panel, **settings)


_SOUND: Final = "Sound"

BundleFolder = Annotated[Path, option(None, "Folder of an exported bundle.", "--bundle", "-b")]
Prompt = Annotated[str | None, option(_SOUND, "Prompt. Default: that of all benchmarks.")]
Seconds = Annotated[
    float | None, option(_SOUND, "Length of the sound. Default: the longest of the bundle.")
]
Steps = Annotated[int | None, option(_SOUND, "Sampler steps, 1 to 64. Default: the bundle's (8).")]
Seed = Annotated[int, option(_SOUND, "Seed of the noise.", show_default=True)]
Threads = Annotated[int | None, option(None, "Threads. Default: all CPUs.", min=1)]
Native = Annotated[
    Path | None, option(None, "Folder with arcmobile-run. Default: where make builds it.")
]
Timeout = Annotated[float, option(None, "Seconds that one run may take.", min=1, show_default=True)]
Preset = Annotated[
    str, option(None, "Size of the random model: sao-small or tiny.", show_default=True)
]
Overwrite = Annotated[bool, option(None, "Replace results that are there.", "--overwrite")]


def parse_counts(option: str, text: str, *, most: int) -> tuple[int, ...]:
    """Parse a list such as ``1,2,4``.

    Raises:
        InputError: something in it is not a whole number from 1 to ``most``, or comes twice.
    """
    words = [word.strip() for word in text.split(",")]
    counts = [int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 6]
    if len(counts) != len(words) or not all(1 <= count <= most for count in counts):
        raise InputError(f"{option} {text}: give whole numbers from 1 to {most}, e.g. 1,2,4")
    if len(set(counts)) < len(counts):
        raise InputError(f"{option} {text}: give each number once")
    return tuple(counts)
