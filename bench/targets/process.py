"""Running one local program to its end without leaving anything of it behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from arcmobile.runtime.errors import TargetError

MOST_SAID: Final = 16_000_000  # bytes; a runner says a few thousand
_PIECE: Final = 1 << 16

Feed = Callable[[BinaryIO], None]  # writes the standard input of a process


class TooMuchOutput(TargetError):
    """A program printed more than :data:`MOST_SAID`, and was killed for it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name}: printed more than {MOST_SAID // 1_000_000} MB and was stopped; "
            "is it the right program, of this version of arcmobile?"
        )


@dataclass(frozen=True)
class Completed:
    """A process that ended; ``code`` is negative where a signal ended it."""

    code: int
    stdout: str
    stderr: str

    @property
    def last_words(self) -> str:
        """The last line on stderr, else on stdout."""
        said = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return said[-1].strip() if said else "no output"


def run_process(
    words: Sequence[str],
    *,
    feed: Feed | None = None,
    stdout: Path | None = None,
    timeout: float | None = None,
) -> Completed:
    """Run a program in a session of its own and wait for it.

    Its input is what ``feed`` writes, else empty; its output goes to the file ``stdout`` if given.
    When the time is over, or this call is interrupted, it is killed with everything it started.

    Raises:
        subprocess.TimeoutExpired: it did not end within ``timeout`` seconds.
        TooMuchOutput: it printed more than :data:`MOST_SAID` bytes.
        OSError: it cannot be started.
    """
    with ExitStack() as files:
        out = files.enter_context(stdout.open("wb")) if stdout else subprocess.PIPE
        source = files.enter_context(_fed(feed)) if feed else subprocess.DEVNULL
        process = subprocess.Popen(
            words, stdin=source, stdout=out, stderr=subprocess.PIPE, start_new_session=True
        )
    try:
        written, complaints = said_until_end(process, timeout)
    except BaseException:
        kill_session(process)
        raise
    return Completed(process.returncode, _text(written), _text(complaints))


def said_until_end(process: subprocess.Popen[bytes], timeout: float | None) -> tuple[bytes, bytes]:
    """Close a process's input and wait for it, as ``Popen.communicate``, in bounded memory.

    Returns:
        What it wrote to stdout and stderr; nothing for one that is not a pipe.

    Raises:
        subprocess.TimeoutExpired: it did not end within ``timeout`` seconds; it goes on.
        TooMuchOutput: it printed more than :data:`MOST_SAID` bytes; it goes on.
    """
    deadline = None if timeout is None else time.monotonic() + timeout

    def left() -> float | None:
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    stdout, stderr = bytearray(), bytearray()
    pipes = ((process.stdout, stdout), (process.stderr, stderr))
    with selectors.DefaultSelector() as selector:
        for pipe, heard in pipes:
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, heard)
        while selector.get_map():
            ready = selector.select(left())
            if timeout is not None and (not ready or left() == 0):
                raise subprocess.TimeoutExpired(process.args, timeout)
            for key, _ in ready:
                piece = os.read(key.fd, _PIECE)
                if not piece:
                    selector.unregister(key.fileobj)
                    continue
                key.data.extend(piece)
                if len(key.data) > MOST_SAID:
                    raise TooMuchOutput(_program(process))
    process.wait(left())
    for pipe, _ in pipes:
        if pipe is not None:
            pipe.close()
    return bytes(stdout), bytes(stderr)


def _program(process: subprocess.Popen[bytes]) -> str:
    words = process.args
    return Path(words[0]).name if isinstance(words, list) else str(words)


@contextmanager
def _fed(feed: Feed) -> Iterator[BinaryIO]:
    """Yield the reading end of a pipe that a thread fills; it ends when nobody reads any more."""
    reading, writing = os.pipe()

    def fill() -> None:
        with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            feed(pipe)

    threading.Thread(target=fill, daemon=True).start()
    with os.fdopen(reading, "rb") as pipe:
        yield pipe


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a session, and the session; wait for it and close its pipes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _text(output: bytes) -> str:
    return output.decode("utf-8", errors="replace")
