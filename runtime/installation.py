"""How this package is installed, so that advice fits: from a clone, or from a wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_ABOVE: Final = Path(__file__).resolve().parents[1]


def in_clone(folder: Path = _ABOVE) -> bool:
    """Return whether the package runs from a clone of the repository, where ``make`` works."""
    return (folder / "Makefile").is_file() and (folder / "constraints.txt").is_file()


def install_command(extra: str = "", folder: Path = _ABOVE) -> str:
    """Return the command that installs an extra of ``arcmobile``, with pins where they are."""
    brackets = f"[{extra}]" if extra else ""
    if in_clone(folder):
        return f"pip install -e '.{brackets}' -c constraints.txt"
    return f"pip install 'arcmobile{brackets}'"


def install_advice(extra: str, folder: Path = _ABOVE) -> str:
    """Return the same as the end of an error message."""
    where = " in your clone of arcmobile" if in_clone(folder) else ""
    return f"run {install_command(extra, folder)}{where}"


def build_command(target: str, folder: Path = _ABOVE) -> str:
    """Return the command that builds a part of the native runner, and where to run it."""
    if in_clone(folder):
        return f"make {target}"
    return f"make {target} in a clone of arcmobile, for the wheel holds no native sources"
