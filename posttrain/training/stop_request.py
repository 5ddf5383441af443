"""Signals that end a training after its running step, so that its state is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")  # the last does not exist on Windows


class StopRequest:
    """Whether a signal asked for an end; see :func:`stop_request`.

    Attributes:
        requested: a signal has arrived.
    """

    def __init__(self) -> None:
        self.requested = False
        self._finishes_step = True

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let the first signal interrupt this block, as there is nothing to finish."""
        self._finishes_step = False
        try:
            yield
        finally:
            self._finishes_step = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested or not self._finishes_step:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Note the first Ctrl-C, SIGTERM or SIGHUP in the block; let the second interrupt it.

    A signal that is ignored stays so (``nohup``). Outside the main thread nothing changes.
    """
    request = StopRequest()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, request._on_signal)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
