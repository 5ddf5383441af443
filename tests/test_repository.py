"""What holds for the tree as a whole: packages, imports, module sizes, and a clone's line ends."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def git(*words: str, folder: Path = ROOT) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_clone_that_converts_line_ends_has_those_of_the_repository(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git("clone", "-q", "-c", "core.autocrlf=true", str(ROOT), str(clone))
    lines = git("ls-files", "--eol", folder=clone).splitlines()
    kinds = {line.split("\t")[1]: line.split()[:2] for line in lines}
    # Files that are never converted may hold any line ends: they are inputs of tests.
    kept = {line.split("\t")[1] for line in lines if line.split()[2] == "attr/-text"}
    assert not [name for name in kept if kinds[name][0][2:] != kinds[name][1][2:]]
    kinds = {name: kind for name, kind in kinds.items() if name not in kept}
    assert not [name for name, kind in kinds.items() if "crlf" in "".join(kind)]
    assert not [name for name, kind in kinds.items() if kind[0] == "i/mixed"]
    for name in (".ci/run", "Makefile", "android_demo/apk.sh", "cli/main.py"):
        assert kinds[name] == ["i/lf", "w/lf"], name
    subprocess.run(["bash", "-n", str(clone / ".ci" / "run")], check=True)
    assert git("status", "--porcelain", folder=clone) == ""


# Data flows one way, so imports do: each top-level package with those it may import.
_BELOW = {
    "runtime": set[str](),
    "bench": {"runtime"},
    "quant": {"runtime"},
    "export": {"runtime", "quant"},
    "quality": {"runtime", "quant", "export"},
    "posttrain": {"runtime", "quant", "export"},
    "cli": {"runtime", "bench", "quant", "export", "quality", "posttrain"},
}


def _imported(source: Path) -> set[str]:
    """Top-level packages of this project that a module imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("arcmobile.")}


@pytest.mark.parametrize("package", _BELOW)
def test_imports_point_one_way(package: str) -> None:
    allowed = _BELOW[package] | {package}
    wrong = {
        str(source.relative_to(ROOT)): imported
        for source in sorted((ROOT / package).rglob("*.py"))
        if (imported := _imported(source) - allowed)
    }
    assert not wrong


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        "arcmobile." + str(init.parent.relative_to(ROOT)).replace("/", ".")
        for package in _BELOW
        for init in (ROOT / package).rglob("__init__.py")
    }
    assert set(listed) == folders


def test_no_module_is_longer_than_500_lines() -> None:
    lengths = {
        str(source.relative_to(ROOT)): len(source.read_text().splitlines())
        for package in _BELOW
        for source in (ROOT / package).rglob("*.py")
    }
    assert not {name: length for name, length in lengths.items() if length > 500}
