"""The one exception family of ARC Mobile.

Every error a user can cause derives from :class:`ArcMobileError`; its text is one line that names
the file or option and says how to mend it. The CLI prints that line and exits with code 2.
"""

from __future__ import annotations


class ArcMobileError(Exception):
    """Base of all errors a user can cause; ``str(error)`` is the line to show."""


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


class TargetError(ArcMobileError):
    """A machine to run on is missing, unreachable, full, of another kind, or went away."""


class OutputError(ArcMobileError):
    """A result could not be written: folder not writable, disk full."""
