"""Keeps what C++ engines write to the terminal out of the user's sight, and at hand for errors."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOG = logging.getLogger(__name__)
# ExecuTorch: "[program.cpp:168] text"; LiteRT: "INFO: text".
_PREFIX = re.compile(r"^(\[[\w.]+:\d+\]|[A-Z]+:) ")


@contextmanager
def native_log() -> Iterator[Callable[[], str]]:
    """Catches what is written to file descriptor 2 in the block, by whatever language.

    Gives a function that returns the last line so far, without its prefix: ExecuTorch raises error
    numbers and only prints the reason. Afterwards the lines go to ``logging`` at level INFO. Keep
    the block short: it is the whole process's stderr that is caught.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as capture:
        stderr = os.dup(2)
        os.dup2(capture.fileno(), 2)

        def lines() -> list[str]:
            capture.seek(0)
            text = capture.read().decode("utf-8", "replace")
            return [_PREFIX.sub("", line) for line in text.splitlines() if line.strip()]

        try:
            yield lambda: (lines() or [""])[-1]
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            for line in lines():
                _LOG.info("%s", line)
