"""The version of the synthesis: sounds of one seed change when it does."""

from __future__ import annotations

import ast
import hashlib
import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Final

_DIGITS: Final = 16
_WITH_DOCSTRING: Final = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def synthesis_digest() -> str:
    """Return a digest of the code and tables of this folder, without comments and docstrings."""
    digest = hashlib.sha256()
    folder, own = Path(__file__).parent, Path(__file__).name
    for path in sorted(folder.glob("*.py")):
        if path.name != own:
            digest.update(f"{path.name}\n{statements(path.read_text(encoding='utf-8'))}\n".encode())
    for path in sorted(folder.glob("*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        digest.update(f"{path.name}\n{json.dumps(table)}\n".encode())
    return digest.hexdigest()[:_DIGITS]


def statements(source: str) -> str:
    """Return a module's code without comments, docstrings and formatting."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
