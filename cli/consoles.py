"""Consoles for tables and progress that show text from outside as it is.

Names of models, files and prompts can hold ``[red]`` or ``:smile:``, which rich would take for its
own language; styles are given as :class:`rich.text.Text` or ``style=`` instead.
"""

from __future__ import annotations

from rich.console import Console
from rich.text import Text


def plain_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that reads no markup, emoji codes or numbers out of text."""
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def bold(text: str) -> Text:
    """Text in bold, otherwise as it is."""
    return Text(text, style="bold")
