"""Captures what C++ engines write to the terminal: hidden from the user, at hand for errors."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

_LOG = logging.getLogger(__name__)
# ExecuTorch: "[program.cpp:168] text"; LiteRT: "INFO: text", "W0000 00:00:17 1 file.cc:3] text".
_PREFIX: Final = re.compile(r"^(\[[\w.]+:\d+\]|[A-Z]+:|[IWEF]\d{4} [\d:. ]+\S+:\d+\]) ?")
_ONE_AT_A_TIME: Final = threading.RLock()  # the descriptor belongs to the whole process


@contextmanager
def native_log() -> Iterator[Callable[[], str]]:
    """Capture what is written to file descriptor 2 in the block, by any language.

    Give a function that returns the last line so far, without its prefix: ExecuTorch raises error
    numbers and only prints the reason. Afterwards the engines' lines go to ``logging`` at level
    INFO, and lines that other threads wrote meanwhile to standard error. One block at a time runs
    in a process, so keep it short. Without a standard error, nothing is captured.
    """
    with _ONE_AT_A_TIME:
        capture = stderr = -1
        try:
            if sys.stderr is not None:
                with suppress(ValueError):  # it is closed
                    sys.stderr.flush()
            stderr = os.dup(2)
            capture = _memory_file()
            os.dup2(capture, 2)
        except OSError:
            _close(capture, stderr)
            capture = -1
        if capture < 0:
            yield lambda: ""
            return

        def lines() -> list[str]:
            text = os.pread(capture, os.fstat(capture).st_size, 0).decode("utf-8", "replace")
            return [line for line in text.splitlines() if line.strip()]

        failed = True
        try:
            yield lambda: _PREFIX.sub("", (lines() or [""])[-1])
            failed = False
        finally:
            os.dup2(stderr, 2)
            for line in lines():
                if failed or _PREFIX.match(line):
                    _LOG.info("%s", _PREFIX.sub("", line))
                else:
                    with suppress(OSError):
                        os.write(stderr, f"{line}\n".encode())
            _close(capture, stderr)


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("arcmobile-log")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)
