"""Options that several `arcmobile bench` commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from arcmobile.runtime.errors import InputError

SOUND_PANEL: Final = "Sound"

BundleFolder = Annotated[Path, typer.Option("--bundle", "-b", help="Folder of an exported bundle.")]
Prompt = Annotated[
    str | None,
    typer.Option(
        help="Prompt. Default: that of all benchmarks.",
        rich_help_panel=SOUND_PANEL,
        show_default=False,
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        help="Length of the sound. Default: the longest of the bundle.",
        rich_help_panel=SOUND_PANEL,
        show_default=False,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        help="Sampler steps, 1 to 64. Default: the bundle's (8).",
        rich_help_panel=SOUND_PANEL,
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of the noise.", rich_help_panel=SOUND_PANEL)]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads. Default: all CPUs.", show_default=False)
]
Native = Annotated[
    Path | None,
    typer.Option(
        help="Folder with arcmobile-run. Default: where make builds it for the target.",
        show_default=False,
    ),
]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds that one run may take.")]
Preset = Annotated[str, typer.Option(help="Size of the random model: sao-small or tiny.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")]


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
