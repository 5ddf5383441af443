"""A training that is told to end finishes its step first, so that its state is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")  # the last does not exist on Windows


class StopRequest:
    """Whether a signal asked for an end; see :func:`stop_request`."""

    def __init__(self) -> None:
        self.asked = False
        self._patient = True

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """In this block the first signal interrupts, as there is nothing to finish."""
        self._patient = False
        try:
            yield
        finally:
            self._patient = True

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.asked or not self._patient:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Notes the first Ctrl-C, SIGTERM or SIGHUP in the block; the second interrupts it.

    A signal that is ignored stays so (``nohup``). Outside the main thread nothing changes.
    """
    request = StopRequest()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, request._heard)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
