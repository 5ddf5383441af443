"""The bad manifests of ``runtime/contract``: one good manifest and the edits that spoil it.

In ``tests``, ``python -m faults.bad_manifests`` lists what the readers say wrongly.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from contract import CONTRACT, document

from arcmobile.runtime.bundle import MANIFEST_NAME

_MARK: Final = "\ue000"  # stands for a text that is written as it is


@dataclass(frozen=True)
class BadManifest:
    """One file of the folder: its name, the text a message has to hold, the file's bytes."""

    name: str
    field: str
    data: bytes


def bad_manifests() -> list[BadManifest]:
    """All of them, edited."""
    files = sorted((CONTRACT / "bad_manifests").glob("*.json"))
    return [_edited(path.stem, json.loads(path.read_text("utf-8"))) for path in files]


def good_manifest() -> dict[str, Any]:
    """The manifest that the edits are made to."""
    return document("good_manifest.json")


def write_files(folder: Path) -> None:
    """Every file that the good manifest records: its text is its name."""
    folder.mkdir(exist_ok=True)
    manifest = good_manifest()
    for record in (*manifest["tokenizer"]["files"], *manifest["components"].values()):
        (folder / record["file"]).write_text(record["file"], encoding="ascii")


def _edited(name: str, case: dict[str, Any]) -> BadManifest:
    bounds = document("bounds.json")
    manifest = good_manifest()
    texts: list[str] = []
    for edit in case["edits"]:
        if "at" in edit:
            _edit_tree(manifest, edit, bounds, texts)
    text = json.dumps(manifest, ensure_ascii=False)
    for index, written in enumerate(texts):
        text = text.replace(f'"{_MARK}{index}"', written)
    encoding = "utf-8"
    for edit in case["edits"]:
        text = edit.get("document", text)
        text = edit.get("before", "") + text + edit.get("after", "")
        if "pad_above" in edit:
            text = text.ljust(bounds[edit["pad_above"]] + 1)
        encoding = edit.get("encoding", encoding)
    return BadManifest(name, case["field"], text.encode(encoding))


def _edit_tree(
    manifest: Any, edit: dict[str, Any], bounds: dict[str, int], texts: list[str]
) -> None:
    """Applies an edit at a path such as ``components.dit.entries[0].frames``."""
    *parents, last = (
        int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", edit["at"])
    )
    place = manifest
    for key in parents:
        place = place[key]
    if edit.get("remove"):
        del place[last]
        return
    if "text" in edit:
        texts.append(edit["text"])
        value: Any = f"{_MARK}{len(texts) - 1}"
    elif "above" in edit:
        value = bounds[edit["above"]] + 1
    else:
        value = edit["value"]
    if isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value


# --- what the readers say -----------------------------------------------------------------------


def problem_of(line: str | None, bad: BadManifest) -> str | None:
    """What is wrong with a refusal; ``None`` as the line: the manifest was accepted."""
    if line is None:
        return "accepted"
    if len(line.splitlines()) != 1 or not line.isprintable():
        return f"not one line of text: {line!r}"
    if MANIFEST_NAME not in line:
        return f"does not name {MANIFEST_NAME}: {line}"
    return None if bad.field in line else f"does not name {bad.field}: {line}"


def python_says(folder: Path) -> str | None:
    """The refusal of :meth:`Bundle.open`, or ``None``."""
    from arcmobile.runtime.bundle import Bundle
    from arcmobile.runtime.errors import BundleError

    try:
        Bundle.open(folder)
    except BundleError as error:
        return str(error)
    return None


def native_says(folder: Path) -> str | None:
    """The refusal of the native runner; ``None`` where it got as far as the bundle's files."""
    from arcmobile.runtime.errors import ArcMobileError
    from faults.inputs import run_native

    try:
        run_native(folder)
    except ArcMobileError as error:
        line = str(error)
        return line if MANIFEST_NAME in line else None
    return None


def main() -> int:
    problems = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        write_files(folder)
        for bad in bad_manifests():
            (folder / MANIFEST_NAME).write_bytes(bad.data)
            for reader, says in (("python", python_says), ("native", native_says)):
                try:
                    problem = problem_of(says(folder), bad)
                except Exception as error:  # noqa: BLE001 (whatever it is, it is the finding)
                    problem = f"{type(error).__name__}: {error}"
                if problem is not None:
                    problems += 1
                    print(f"{reader} {bad.name}: {problem[:200]}")
    return int(problems > 0)


if __name__ == "__main__":
    sys.exit(main())
