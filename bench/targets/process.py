"""Running one local program to its end, and leaving nothing of it behind, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

Feed = Callable[[BinaryIO], None]  # writes the standard input of a process


@dataclass(frozen=True)
class Completed:
    """A process that ended; ``code`` is negative where a signal ended it."""

    code: int
    stdout: str
    stderr: str

    @property
    def last_words(self) -> str:
        """The last line it said on stderr, else on stdout."""
        said = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return said[-1].strip() if said else "it said nothing"


def run_process(
    words: Sequence[str],
    *,
    feed: Feed | None = None,
    stdout: Path | None = None,
    timeout: float | None = None,
) -> Completed:
    """Runs a program in a session of its own and waits for it.

    Its input is what ``feed`` writes, else empty; its output goes to the file ``stdout`` if one
    is given. When the time is over, or this call is interrupted, it is killed with all it
    started. Raises :class:`subprocess.TimeoutExpired`, or ``OSError`` where it cannot be started.
    """
    with ExitStack() as files:
        out = files.enter_context(stdout.open("wb")) if stdout else subprocess.PIPE
        source = files.enter_context(_fed(feed)) if feed else subprocess.DEVNULL
        process = subprocess.Popen(
            words, stdin=source, stdout=out, stderr=subprocess.PIPE, start_new_session=True
        )
    try:
        written, complaints = process.communicate(timeout=timeout)
    except BaseException:
        kill_session(process)
        raise
    return Completed(process.returncode, _text(written), _text(complaints))


@contextmanager
def _fed(feed: Feed) -> Iterator[BinaryIO]:
    """The reading end of a pipe that a thread fills; the thread ends when nobody reads on."""
    reading, writing = os.pipe()

    def fill() -> None:
        with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            feed(pipe)

    threading.Thread(target=fill, daemon=True).start()
    with os.fdopen(reading, "rb") as pipe:
        yield pipe


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kills a process that leads a session, and the session; waits for it and closes its pipes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _text(output: bytes | None) -> str:
    return (output or b"").decode("utf-8", errors="replace")
