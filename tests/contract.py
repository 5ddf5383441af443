"""Where the contract is, and its test vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

CONTRACT: Final = Path(__file__).parent.parent / "runtime" / "contract"


def document(name: str) -> dict[str, Any]:
    """Return a JSON file of the contract."""
    loaded: dict[str, Any] = json.loads((CONTRACT / name).read_text("utf-8"))
    return loaded


def vectors(name: str) -> dict[str, Any]:
    """Return a file of test vectors."""
    return document(f"vectors/{name}.json")
