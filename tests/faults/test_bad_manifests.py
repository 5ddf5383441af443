"""The bad manifests of the contract: Python and the native runner refuse each, for the same field.

The Kotlin reader is given the same files by ``BadManifestsTest``.
"""

from __future__ import annotations

import json
from pathlib import Path

from native_binaries import output

from arcmobile.runtime.bundle import MANIFEST_NAME
from faults.bad_manifests import (
    bad_manifests,
    good_manifest,
    native_says,
    problem_of,
    python_says,
    write_files,
)


def test_python(tmp_path: Path) -> None:
    write_files(tmp_path)
    manifest = tmp_path / MANIFEST_NAME
    manifest.write_text(json.dumps(good_manifest()))
    assert python_says(tmp_path) is None
    problems = {}
    for bad in bad_manifests():
        manifest.write_bytes(bad.data)
        if problem := problem_of(python_says(tmp_path), bad):
            problems[bad.name] = problem
    assert problems == {}


def test_native(tmp_path: Path) -> None:
    write_files(tmp_path)
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(good_manifest()))
    assert native_says(tmp_path) is None
    cases = bad_manifests()
    for bad in cases:
        # The manifest alone: it is refused before any other file is looked at.
        (tmp_path / bad.name).mkdir()
        (tmp_path / bad.name / MANIFEST_NAME).write_bytes(bad.data)
    folders = "".join(f"{tmp_path / bad.name}\n" for bad in cases)
    lines = output("arcmobile-probe", "bundles", stdin=f"{tmp_path}\n{folders}").split("\n")
    assert lines[0] == ""
    problems = [problem_of(line or None, bad) for line, bad in zip(lines[1:-1], cases, strict=True)]
    assert [problem for problem in problems if problem] == []
