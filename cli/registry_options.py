"""Options whose values are names of a registry: backends and recipes."""

from __future__ import annotations

from typing import Annotated

import typer

from arcmobile.quant.recipes import RECIPES
from arcmobile.runtime.backends import BACKENDS, any_of

BACKEND_NAMES = any_of(BACKENDS)
RECIPE_NAMES = any_of(RECIPES)

Backend = Annotated[str, typer.Option("--backend", "-b", help=f"{BACKEND_NAMES}.")]
Recipe = Annotated[str, typer.Option("--recipe", "-r", help=f"{RECIPE_NAMES}.")]
