"""Runs a piece of Python in a process that ends itself by SIGKILL at the n-th change of a disk.

Changes are what Python audits: files opened for writing, renames (an exchange of two names counts
as one), links, removals, folders made, permissions. So a caller can go through all of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_HOOK = """
import os, signal, sys
left = int(sys.argv.pop(1))
def hook(event, arguments):
    global left
    changes = event in ("os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.chmod")
    if event == "open" and isinstance(arguments[2], int):
        changes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
    if changes and armed:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
armed = False
sys.addaudithook(hook)
def arm():
    global armed
    armed = True
"""


def run(code: str, *arguments: str, kill_at: int = 0, cwd: Path) -> int:
    """The exit code of ``code``, which counts changes once it has called ``arm()``."""
    command = [sys.executable, "-c", _HOOK + code, str(kill_at), *arguments]
    return subprocess.run(command, cwd=cwd, env=dict(os.environ), check=False).returncode


def kill_points(code: str, *arguments: str, cwd: Path, most: int = 100) -> Iterator[int]:
    """Runs ``code`` once per change, killed there, until it runs to its end; gives the number."""
    for point in range(1, most):
        ended = run(code, *arguments, kill_at=point, cwd=cwd)
        assert ended in (0, -signal.SIGKILL), f"exit code {ended} at change {point}"
        if ended == 0:
            assert point > 2, "nothing was killed"
            return
        yield point
    raise AssertionError(f"more than {most} changes")
