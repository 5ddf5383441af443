"""Looking at a machine through its shell: one script that prints files, and what it printed.

The same text comes from this machine, through ssh and through adb, so it is parsed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

Sections = Mapping[str, str]  # path of a file, or a command -> what it holds or says

_MARK: Final = "@@ "


def probe_script(patterns: Sequence[str], commands: Sequence[str] = ()) -> str:
    """Return a POSIX shell script that prints the readable files and the commands' output, marked.

    ``patterns`` are globs without blanks; what does not exist or cannot be read is left out.
    """
    files = (
        f'for f in {" ".join(patterns)}; do [ -r "$f" ] && '
        f'{{ echo "{_MARK}$f"; cat "$f"; echo; }}; done'
    )
    said = [f'echo "{_MARK}{command}"; {command}; echo' for command in commands]
    return "{ " + "; ".join([files, *said]) + "; } 2>/dev/null"


def parse_sections(text: str) -> dict[str, str]:
    """Parse the output of :func:`probe_script`; drop blank lines and zero bytes at the edges."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(_MARK):
            lines = sections.setdefault(line.removeprefix(_MARK), [])
        else:
            lines.append(line)
    return {name: "\n".join(lines).strip("\0 \r\n") for name, lines in sections.items()}
