"""Exporters: one file per backend of :mod:`arcmobile.runtime.backends`.

Each defines a frozen :class:`~arcmobile.export.backends.base.Backend`. Files are imported on first
use, because each pulls in a toolchain that takes seconds to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arcmobile.runtime.backends import BACKENDS, load_object
from arcmobile.runtime.errors import ExportError, InputError

if TYPE_CHECKING:
    from arcmobile.export.backends.base import Backend


def get_backend(name: str) -> Backend:
    """Return the exporter of a backend.

    Raises:
        InputError: there is no such backend; the message lists the known ones.
        ExportError: its toolchain is not installed.
    """
    if name not in BACKENDS:
        raise InputError(f"unknown backend {name!r}: choose one of {', '.join(BACKENDS)}")
    try:
        backend: Backend = load_object(BACKENDS[name].exporter)
    except ModuleNotFoundError as error:
        raise ExportError(
            f"backend {name!r} needs {error.name}, which is not installed: "
            "pip install 'arcmobile[export]'"
        ) from error
    return backend
