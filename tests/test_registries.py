"""Backends and recipes are declared once: what is added there is everywhere.

The backend of this file is the third thing a new one needs besides its exporter and its engine: a
declaration. Programs are exported graphs of PyTorch in a zip file, one for each entry.
"""

from __future__ import annotations

import importlib
import io
import re
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from arcmobile.export.backends.base import (
    Backend,
    Delegation,
    LayerPlan,
    LoweringEntry,
    Report,
)
from arcmobile.export.model.forms import REFERENCE
from arcmobile.quant.layers import quantize_layers
from arcmobile.quant.precision import Precision
from arcmobile.quant.recipes import RECIPES, Part, Recipe
from arcmobile.runtime.backends import BACKENDS, BackendSpec
from arcmobile.runtime.bundle import Bundle, Entry
from arcmobile.runtime.engine import Array, Engine, EngineOptions

ROOT = Path(__file__).parents[1]


# --- a backend: an exporter, an engine, a declaration -------------------------------------------


def write_program(
    module: nn.Module,
    plan: LayerPlan,
    entries: tuple[LoweringEntry, ...],
    destination: Path,
    report: Report,
) -> Mapping[str, Delegation]:
    module = quantize_layers(module, plan)
    with zipfile.ZipFile(destination, "w") as file:
        for entry in entries:
            stored = io.BytesIO()
            torch.export.save(
                torch.export.export(module, tuple(entry.inputs.values()), strict=False), stored
            )
            file.writestr(entry.name, stored.getvalue())
    return {}


class GraphEngine(Engine):
    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        super().__init__(bundle.manifest)
        self._bundle = bundle
        self._graphs: dict[str, dict[str, Any]] = {}

    def _load(self, component: str) -> None:
        with zipfile.ZipFile(self._bundle.file(self.manifest.components[component])) as file:
            self._graphs[component] = {
                name: torch.export.load(io.BytesIO(file.read(name))).module()
                for name in file.namelist()
            }

    def _unload(self, component: str) -> None:
        del self._graphs[component]

    def _run(self, component: str, entry: Entry, inputs: Sequence[Array]) -> Sequence[Array]:
        outputs = self._graphs[component][entry.name](*map(torch.from_numpy, inputs))
        tensors = outputs if isinstance(outputs, tuple) else (outputs,)
        return [tensor.detach().numpy() for tensor in tensors]


DECLARED = BackendSpec(
    name="graphs",
    title="PyTorch graphs",
    kernels="PyTorch",
    suffix=".graphs",
    engine=f"{__name__}:GraphEngine",
    exporter=f"{__name__}:BACKEND",
    distribution="torch",
    package="torch",
    extra="export",
    tools=("torch",),
)
BACKEND = Backend(DECLARED, form=REFERENCE, write=write_program)

# --- a recipe: a declaration --------------------------------------------------------------------

HALF_DIT = Recipe(
    "half-dit",
    "DiT in float16, float32 elsewhere",
    {**dict.fromkeys(Part, Precision.FP32), Part.DIT: Precision.FP16},
)


@pytest.fixture
def arcmobile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The command line, with both declared before its modules are imported."""
    monkeypatch.setitem(cast(dict[str, BackendSpec], BACKENDS), DECLARED.name, DECLARED)
    monkeypatch.setitem(cast(dict[str, Recipe], RECIPES), HALF_DIT.name, HALF_DIT)
    for name in [name for name in sys.modules if name.startswith("arcmobile.cli")]:
        monkeypatch.delitem(sys.modules, name)
    app = importlib.import_module("arcmobile.cli.main").app
    yield lambda *words: CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    for name in [name for name in sys.modules if name.startswith("arcmobile.cli")]:
        del sys.modules[name]


def test_a_backend_and_a_recipe_take_one_declaration_each(
    arcmobile: Any, micro_checkpoint: Path, tmp_path: Path
) -> None:
    bundle, sound = str(tmp_path / "bundle"), str(tmp_path / "sound.wav")
    words = ("--backend", "graphs", "--recipe", "half-dit", "--out", bundle)
    done = arcmobile("export", str(micro_checkpoint), *words)
    assert done.exit_code == 0, done.output
    shown = arcmobile("inspect", bundle).output
    assert "half-dit on graphs" in shown
    assert "dit: fp16" in shown
    done = arcmobile("generate", "rain", "--bundle", bundle, "--out", sound, "--steps", "2")
    assert done.exit_code == 0, done.output
    assert Path(sound).stat().st_size > 44


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (("export",), (*BACKENDS, "graphs", *RECIPES, "half-dit")),
        (("quant", "report"), (*BACKENDS, "graphs")),
        (("evaluate",), (*BACKENDS, "graphs")),
        (("bench", "fullsize"), (*BACKENDS, "graphs", *RECIPES, "half-dit")),
    ],
)
def test_help_lists_what_is_declared(
    arcmobile: Any, command: tuple[str, ...], names: tuple[str, ...]
) -> None:
    text = re.sub(r"[│\s]+", " ", arcmobile(*command, "--help").output)
    assert not [name for name in names if name not in text]


def test_other_texts_name_what_is_declared(
    arcmobile: Any, micro_checkpoint: Path, tmp_path: Path
) -> None:
    assert "half-dit: DiT in float16" in arcmobile("quant", "recipes").output
    assert "torch " in arcmobile("version").output
    wrong = ("export", str(micro_checkpoint), "--out", str(tmp_path / "none"))
    for option, known in (("--backend", "litert, graphs"), ("--recipe", "published, half-dit")):
        done = arcmobile(*wrong, option, "absent")
        assert done.exit_code == 2
        assert known in done.output


# --- what cannot import the registry agrees with it ---------------------------------------------


def test_every_backend_has_an_extra_that_installs_its_engine() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for spec in BACKENDS.values():
        assert any(re.match(rf"{spec.distribution}\b", need) for need in extras[spec.extra])
        assert spec.extra in extras["export"][0]


def test_the_platforms_resolved_for_a_release_have_every_engine() -> None:
    source = (ROOT / "release/platforms.py").read_text()
    (extras,) = re.findall(r"^ENGINES: Final = \((.*)\)", source, re.MULTILINE)
    assert set(re.findall(r'"(\w+)"', extras)) == {spec.extra for spec in BACKENDS.values()}


def test_kotlin_knows_the_same_modules() -> None:
    source = ROOT / "android_demo/core/src/main/kotlin/org/arcmobile/EngineLookup.kt"
    (pairs,) = re.findall(r"val MODULES = mapOf\((.*)\)", source.read_text())
    modules = {n: s.android_module for n, s in BACKENDS.items() if s.android_module}
    assert dict(re.findall(r'"(\w+)" to "(\w+)"', pairs)) == modules


def test_the_page_on_recipes_has_a_line_for_every_recipe_and_backend() -> None:
    page = (ROOT / "docs/recipes.md").read_text()
    assert not [name for name in RECIPES if f"`{name}`" not in page]
    assert not [spec.title for spec in BACKENDS.values() if f"| {spec.title} |" not in page]
