"""Standard streams that no command fails for: closed, of another encoding, a pipe nobody reads."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

_MODES = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)


def prepare_streams() -> None:
    """Make standard input, output and error fit to use; call it before anything is opened.

    A closed one becomes the null device: otherwise the next file that is opened takes its number,
    and what is meant for the terminal goes into it. Characters that the encoding does not have are
    written as escapes. Output to a pipe that its reader has closed is dropped, so that
    ``| head -1`` does not stop a command whose result is a file.
    """
    for number, mode in enumerate(_MODES):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, mode)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    # A program that calls a command in its own process may have put streams of its own there.
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _stream(sys.stdout, 1)
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = _stream(sys.stderr, 2)


def _stream(stream: TextIO | None, number: int) -> TextIO:
    if stream is not None:
        with suppress(OSError, ValueError):
            stream.flush()
    # With PYTHONUNBUFFERED and the like, text goes straight on, as it did.
    through = bool(getattr(stream, "write_through", False))
    return io.TextIOWrapper(
        io.BufferedWriter(_Tolerant(number, "wb", closefd=False)),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=number == 2 or os.isatty(number),
        write_through=through,
    )


class _Tolerant(io.FileIO):
    """Drops what is written to a pipe without a reader, or to a standard error that is full."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            # Standard error only says what happened; that it cannot is no reason to fail.
            if self.fileno() != 2 and not isinstance(error, BrokenPipeError):
                error.filename = "standard output"
                raise
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return len(memoryview(data).cast("B"))
