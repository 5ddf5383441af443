"""What the code of this folder is known by: sounds of one seed change when it does."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Final

_DIGITS: Final = 16
_WITH_DOCSTRING: Final = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def synthesis_digest() -> str:
    """Digest of the statements that make sounds and captions, without comments and docstrings."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.name != Path(__file__).name:
            digest.update(f"{path.name}\n{statements(path.read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()[:_DIGITS]


def statements(source: str) -> str:
    """A module's code in one form, whatever its comments, docstrings and line breaks."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
