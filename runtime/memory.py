"""Peak resident memory of this process, and of a part of its run where the system allows it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_STATUS: Final = Path("/proc/self/status")
_CLEAR_REFS: Final = Path("/proc/self/clear_refs")
_HIGH_WATER: Final = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_RESET_HIGH_WATER: Final = "5"  # see proc(5), clear_refs


def reset_peak() -> bool:
    """Start a new peak at the present size; return False where the system cannot (not Linux)."""
    try:
        _CLEAR_REFS.write_text(_RESET_HIGH_WATER)
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """Return the largest resident set, in bytes, since :func:`reset_peak` or the process began.

    Pages of memory-mapped program files count while they are resident. 0 where it is unknown
    (Windows).
    """
    try:
        if match := _HIGH_WATER.search(_STATUS.read_text()):
            return int(match[1]) * 1024
    except OSError:
        pass  # no /proc here; the system call below knows the peak of the process
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
