"""Consoles for tables and progress that show text from outside as it is.

Names of models, files and prompts can hold ``[red]`` or ``:smile:``, which rich would take for its
own language; styles are given as :class:`rich.text.Text` or ``style=`` instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress


def plain_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that reads no markup, emoji codes or numbers out of text."""
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def bold(text: str) -> Text:
    """Text in bold, otherwise as it is."""
    return Text(text, style="bold")


def byte_bars() -> Progress:
    """A progress display of bytes on standard error; none where that is not a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = plain_console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
