"""Exporters: one file per backend of :mod:`arcmobile.runtime.backends`.

Each defines a frozen :class:`~arcmobile.export.backends.base.Backend`. Files are imported on first
use, because each pulls in a toolchain that takes seconds to load.
"""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING

from arcmobile.runtime.backends import BACKENDS, load_object
from arcmobile.runtime.errors import ExportError, InputError
from arcmobile.runtime.installation import install_advice

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
        package = (error.name or "").partition(".")[0]
        way_out = install_advice("export")
        if _left_out(package):
            others = ", ".join(other for other in BACKENDS if other != name)
            way_out = (
                f"there is none for Python {platform.python_version()} on {platform.system()} "
                f"{platform.machine()}; choose another backend ({others}) or another machine"
            )
        raise ExportError(
            f"backend {name!r} needs {package}, which is not installed: {way_out}"
        ) from error
    return backend


def _left_out(package: str) -> bool:
    """Tell whether `arcmobile[export]` leaves a package out on this platform."""
    from packaging.requirements import Requirement

    distribution = package.replace("_", "-")
    for line in metadata.requires("arcmobile") or ():
        requirement = Requirement(line)
        if requirement.name == distribution and requirement.marker is not None:
            return not requirement.marker.evaluate({"extra": "export"})
    return False
