"""The contract of the three readers: nothing in it is stale, and Python keeps to it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract import CONTRACT, document, generated

from arcmobile.runtime import bounds, request, tensors
from arcmobile.runtime.backends import BACKENDS
from arcmobile.runtime.bundle import MANIFEST_NAME, TOKENIZER_NAME, Manifest, TensorSpec
from arcmobile.runtime.noise import NOISE_ID

ROOT = CONTRACT.parent.parent
NAMES = document("names.json")


def constants(module: Any, kind: type) -> dict[str, Any]:
    return {key: value for key, value in vars(module).items() if type(value) is kind}


def test_generated_files_are_current() -> None:
    stale = [path.name for path, text in generated().items() if path.read_text("ascii") != text]
    assert not stale, "run: make contract"


def test_bounds_of_python_are_those_of_the_file() -> None:
    python = {key.lower(): value for key, value in constants(bounds, int).items()}
    assert python == document("bounds.json")


def test_names_of_python_are_those_of_the_file() -> None:
    python = constants(tensors, str)
    found = {value for key, value in python.items() if key.isupper()}
    assert found == {*NAMES["stages"], *NAMES["tensors"]}
    assert {key: value for key, value in python.items() if key.isupper()} == {
        name.upper(): name for name in found
    }
    assert tuple(NAMES["stages"]) == tensors.STAGES
    assert NAMES["values"] == NAMES["values"] | {
        "manifest_file": MANIFEST_NAME,
        "tokenizer_file": TOKENIZER_NAME,
        "noise_id": NOISE_ID,
        "seconds_input": request.SECONDS_INPUT,
    }
    native = [name for name, backend in BACKENDS.items() if backend.native]
    assert native == [NAMES["values"]["native_backend"]]
    properties = document("manifest.schema.json")["properties"]
    assert properties["noise"]["const"] == NAMES["values"]["noise_id"]


def test_tensors_of_the_good_manifest_have_the_named_types_and_ranks() -> None:
    manifest = Manifest.model_validate(document("good_manifest.json"))
    numbers = {number.name for number in manifest.numbers}
    seen = set()
    for name, component in manifest.components.items():
        stage = NAMES["stages"][tensors.stage_of(name)]
        for entry in component.entries:
            for specs, kind in ((entry.inputs, "inputs"), (entry.outputs, "outputs")):
                free = {spec.name for spec in specs} - set(stage[kind])
                assert free <= (numbers if kind == "inputs" else set())
                for spec in specs:
                    check_tensor(spec)
                    seen.add(spec.name)
    assert seen == {*NAMES["tensors"], *numbers}


def check_tensor(spec: TensorSpec) -> None:
    named = NAMES["tensors"].get(spec.name, {"dtype": "float32", "shape": [1]})
    assert spec.dtype == named["dtype"]
    assert len(spec.shape) == len(named["shape"])
    for length, axis in zip(spec.shape, named["shape"], strict=True):
        assert length == axis or isinstance(axis, str)


def test_schema_describes_every_field_and_allows_no_other() -> None:
    schema = document("manifest.schema.json")
    records = [schema, *schema["$defs"].values()]
    for record in records:
        assert record["additionalProperties"] is False
        assert all(field["description"].endswith(".") for field in record["properties"].values())
    limits = {value for key, value in numbers_of(schema) if key == "maximum"}
    table = document("bounds.json")
    spoken = {"manifest_bytes", "manifest_depth", "samples", "prompt_bytes", "threads"}
    assert {value for name, value in table.items() if name not in spoken} <= limits


def numbers_of(node: object) -> Iterator[tuple[str, int]]:
    """Yield every key with an integer, however deep."""
    items = node.items() if isinstance(node, dict) else enumerate(node)  # type: ignore[arg-type]
    for key, value in items:
        if isinstance(value, int):
            yield str(key), value
        elif isinstance(value, dict | list):
            yield from numbers_of(value)


@pytest.mark.parametrize("page", ["docs/bundle.md", "runtime/contract/README.md"])
def test_links_of_the_pages_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", path.read_text("utf-8")):
        place = path.parent / target if target else path
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """Return the anchors that a forge makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_a_wheel_has_what_the_runtime_reads_and_no_vectors(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    folders = project["tool"]["setuptools"]["package-dir"].values()
    for name in ("pyproject.toml", "README.md", "LICENSE", *folders):
        (tmp_path / name).symlink_to(ROOT / name)
    build = "from setuptools import build_meta; build_meta.build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    files = [name for name in zipfile.ZipFile(wheel).namelist() if "/contract/" in name]
    assert files == ["arcmobile/runtime/contract/bounds.json"]
