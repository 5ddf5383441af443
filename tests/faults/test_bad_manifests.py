"""The bad manifests of the contract: Python and the native runner refuse each, for the same field.

The Kotlin reader is given the same files by ``BadManifestsTest``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from arcmobile.runtime.bundle import MANIFEST_NAME
from faults.bad_manifests import (
    bad_manifests,
    good_manifest,
    native_says,
    problem_of,
    python_says,
    write_files,
)

READERS = {"python": python_says, "native": native_says}


@pytest.mark.parametrize("reader", READERS)
def test_bad_manifests(reader: str, tmp_path: Path) -> None:
    says: Callable[[Path], str | None] = READERS[reader]
    write_files(tmp_path)
    manifest = tmp_path / MANIFEST_NAME
    manifest.write_text(json.dumps(good_manifest()))
    assert says(tmp_path) is None
    problems = {}
    for bad in bad_manifests():
        manifest.write_bytes(bad.data)
        if problem := problem_of(says(tmp_path), bad):
            problems[bad.name] = problem
    assert problems == {}
