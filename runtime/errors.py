"""The one exception family of ARC Mobile.

Every error a user can cause derives from :class:`ArcMobileError`; its text is one line that names
the file or option and says what to do. The CLI prints that line and exits with code 2.
"""

from __future__ import annotations

import re
from typing import Final

_LONGEST: Final = 1200  # characters; names and values from outside can have megabytes
_HEAD: Final = 800
_LINE_BREAKS: Final = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\ud800-\udfff]")


def one_line(text: object) -> str:
    """Return a text on one line, with control characters escaped and the middle of it cut."""
    line = _LINE_BREAKS.sub(" ", str(text)[: 1 << 20].strip())
    line = _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), line)
    if len(line) > _LONGEST:
        line = f"{line[:_HEAD]} … {line[_HEAD - _LONGEST :]}"
    return line


class ArcMobileError(Exception):
    """Base of all errors a user can cause; ``str(error)`` is the line to show."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(message))


class CheckpointError(ArcMobileError):
    """A checkpoint folder is missing, truncated, of another family, or holds bad tensors."""


class BundleError(ArcMobileError):
    """A bundle is missing, tampered with, of an unknown schema, or points outside itself."""


class InputError(ArcMobileError):
    """A request is out of range: prompt, seconds, steps, an unknown recipe, backend or target."""


class EngineError(ArcMobileError):
    """An inference engine is not installed, or refused a program."""


class ExportError(ArcMobileError):
    """Lowering failed, or a lowered program missed its parity gate or its size."""


class TrainingError(ArcMobileError):
    """A training diverged: a loss, a gradient or a weight is no longer finite."""


class TargetError(ArcMobileError):
    """A machine to run on is missing, unreachable, full, of another kind, or went away."""


class HubError(ArcMobileError):
    """The Hugging Face Hub is unreachable, refuses, or answers what it should not."""


class OutputError(ArcMobileError):
    """A result could not be written: folder not writable, disk full."""
