"""Options of a command that are settings of a training: those that were given, and no defaults.

A new training takes the rest from the settings' own defaults, a resumed one from its state.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import typer


def given_settings(context: typer.Context, settings: type) -> dict[str, Any]:
    """The parameters on the command line that are named as fields of a dataclass."""
    known = {field.name for field in fields(settings)}
    given = {}
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if name in known and source is not None and source.name == "COMMANDLINE":
            given[name] = value
    return given
