"""The shell scripts that run on a device: plain POSIX sh, as dash, busybox and Android have it.

Words from outside are quoted by :func:`quoted`; everything else is written here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final

PIDS_FILE: Final = "pids"
_WATCH_FILE: Final = "watch"
SCRATCH_REPLY: Final = "scratch "
REMOVED_REPLY: Final = "removed"
# The folder is moved first: whoever starts afterwards finds no place to write its number and stops.
_REMOVE: Final = (
    'mv "$d" "$d.gone" && d="$d.gone"; '
    f'for p in $(cat "$d/{PIDS_FILE}"); do kill -9 -$p || kill -9 $p; done 2>/dev/null; '
    'rm -rf "$d"'
)


def quoted(words: Sequence[str]) -> str:
    """Quote words as one piece of shell text, which the shell splits into the same words."""
    return " ".join(map(shlex.quote, words))


def with_status(script: str, token: str) -> str:
    """Return a script whose output is between two lines with ``token``; the last has its status.

    So the status is known even where the connection swallows it, and the output of login files is
    separate from that of the script.
    """
    return f"echo {token}\n(\n{script}\n) </dev/null\nc=$?\necho; echo {token} $c\nexit $c\n"


def split_status(output: str, token: str) -> tuple[str, int] | None:
    """Return output and status of a :func:`with_status` script; ``None`` if it was cut off."""
    _, found, rest = output.partition(f"{token}\n")
    text, ended, status = rest.rpartition(f"\n{token} ")
    if not (found and ended and re.fullmatch(r"[0-9]{1,3}\s*", status)):
        return None
    return text, int(status)


def guard_command(folders: Sequence[str]) -> str:
    """Return a command line that makes a scratch folder and removes it when its input ends.

    It prints :data:`SCRATCH_REPLY` and the folder, then waits. The input ends when the connection
    does, for whatever reason, so a device that is unplugged cleans up by itself: what runs is
    killed, the folder removed, and :data:`REMOVED_REPLY` said to whoever still listens. One line
    without single quotes, so that every login shell passes it on unchanged.
    """
    return (
        'trap "" HUP; umask 077; '
        f"for b in {quoted(folders)}; do "
        "d=$(mktemp -d $b/arcmobile-XXXXXXXXXX) && break; done; "
        '[ -d "$d" ] || exit 1; '
        f'echo "{SCRATCH_REPLY}$d"; '
        f'cat >/dev/null; {_REMOVE}; [ -e "$d" ] || echo {REMOVED_REPLY}'
    )


def cleanup_script(scratch: str) -> str:
    """Return a script that does what the guard does, for when the guard is gone."""
    return f'd={shlex.quote(scratch)}; [ ! -e "$d" ] || {{ {_REMOVE}; }}; [ ! -e "$d" ]'


def run_script(
    words: Sequence[str], scratch: str, token: str, *, watched: Sequence[str], own_session: bool
) -> str:
    """Return a script that runs a program and, each second, records the files ``watched``.

    Prints the program's output, ``token`` on a line, and the notes (:func:`split_notes`); ends
    with the program's status. The program's process number lies in :data:`PIDS_FILE` meanwhile,
    written before the program starts. ``own_session`` lets it be killed with its children.
    """
    folder = shlex.quote(scratch)
    start = quoted(["sh", "-c", f'echo $$ >"$0/{PIDS_FILE}" && exec "$@"', scratch, *words])
    session = "$(command -v setsid) " if own_session else ""
    watch = (
        "watch() { trap 'kill $n; exit' TERM; while kill -0 $p; do "
        f'for f in {quoted(watched)}; do read -r v <$f && echo "$f $v"; done; echo; '
        "sleep 1 & n=$!; wait $n; done; }"
    )
    return "\n".join(
        [
            f"d={folder}; ulimit -c 0",
            f"{session}{start} </dev/null &",
            "p=$!",
            f'{watch}; watch >"$d/{_WATCH_FILE}" 2>/dev/null </dev/null &' if watched else "",
            "w=$!",
            "wait $p; c=$?",
            "kill $w 2>/dev/null; wait $w 2>/dev/null" if watched else "",
            f'rm -f "$d/{PIDS_FILE}"',
            f'echo; echo {token}; cat "$d/{_WATCH_FILE}" 2>/dev/null',
            "exit $c",
        ]
    )


def split_notes(output: str, token: str) -> tuple[str, list[dict[str, str]]]:
    """Return the program's own output, and the values of each second: path -> value."""
    said, _, noted = output.rpartition(f"\n{token}\n")
    looks = []
    for paragraph in noted.split("\n\n"):
        pairs = (line.partition(" ") for line in paragraph.splitlines() if " " in line)
        if look := {path: value.strip() for path, _, value in pairs}:
            looks.append(look)
    return said, looks
