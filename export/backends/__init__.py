"""Backends: one file per runtime a network can be lowered to.

A backend file defines ``BACKEND``, a frozen :class:`~arcmobile.export.backends.base.Backend`;
naming the file here registers it. Files are imported on first use, because each pulls in a
toolchain that takes seconds to load.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from arcmobile.runtime.errors import ExportError, InputError

if TYPE_CHECKING:
    from arcmobile.export.backends.base import Backend

BACKENDS = ("executorch", "onnx", "litert")


def get_backend(name: str) -> Backend:
    """The backend of that name.

    Raises:
        InputError: there is none; the message lists the known ones.
        ExportError: its toolchain is not installed.
    """
    if name not in BACKENDS:
        raise InputError(f"unknown backend {name!r}: choose one of {', '.join(BACKENDS)}")
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise ExportError(
            f"backend {name!r} needs {error.name}, which is not installed: "
            "pip install 'arcmobile[export]'"
        ) from error
    backend: Backend = module.BACKEND
    return backend
