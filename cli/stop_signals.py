"""A command that is signalled to end (Ctrl-C, SIGTERM, SIGHUP) cleans up and ends, once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

EXIT_STOPPED: Final = 130
_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")
_GRACE_SECONDS: Final = 5.0  # for cleaning up; a signal after that ends the process at once


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise :class:`KeyboardInterrupt` in the block when the first such signal arrives.

    Later ones do not disturb the clean-up, but end the process if it takes too long. A signal that
    is ignored stays ignored (``nohup``). Outside the main thread nothing changes.
    """
    first: float | None = None

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        if first is None:
            first = now
            raise KeyboardInterrupt
        if now - first > _GRACE_SECONDS:
            os._exit(EXIT_STOPPED)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
