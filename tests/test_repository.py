"""What holds for the tree as a whole: packages, imports, a clone's line ends, what pages name."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from typer.core import TyperGroup

from arcmobile.cli.main import COMMANDS, load_command

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


# --- pages: links lead somewhere, commands exist ------------------------------------------------

PAGES = sorted(
    path
    for pattern in ("*.md", "*/*.md", "*/*/*.md")
    for path in ROOT.glob(pattern)
    if path.relative_to(ROOT).parts[0] not in {"tests", "build", "out", ".venv"}
)
_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")


def _commands(text: str, program: str) -> Iterator[str]:
    """Yield the lines of code, in blocks and in sentences, that run a program."""
    blocks = "\n".join(_FENCE.findall(text)).replace("\\\n", " ")
    for line in (*blocks.splitlines(), *_SPAN.findall(_FENCE.sub("", text))):
        for part in re.split(r"&&|;", re.sub(r"(^|\s)#.*", "", line)):
            words = part.removeprefix(".venv/bin/").strip()
            if words.startswith(f"{program} "):
                yield words


def _headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles)
    return set(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in (one or other for one, other in _LINK.findall(page.read_text("utf-8"))):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), target
        assert not anchor or file.suffix != ".md" or anchor in _headings(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page_exist(page: Path) -> None:
    for words in _commands(page.read_text("utf-8"), "arcmobile"):
        _, name, *rest = [*shlex.split(words), ""]
        if not re.fullmatch("[a-z]+", name):  # arcmobile --help
            continue
        assert name in COMMANDS, words
        command = load_command(name)
        while isinstance(command, TyperGroup) and re.fullmatch("[a-z]+", rest[0]):
            assert rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        given = {word.partition("=")[0] for word in rest if re.match("--?[a-z]", word)}
        assert given <= options | {"--help"}, f"{words}: no {', '.join(given - options)}"


def test_make_targets_of_the_pages_exist() -> None:
    files = (ROOT / "Makefile", *ROOT.glob("*/*.mk"), *ROOT.glob("*/*/*.mk"))
    makefiles = "\n".join(file.read_text("utf-8") for file in files)
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefiles, re.MULTILINE))
    for page in PAGES:
        for words in _commands(page.read_text("utf-8"), "make"):
            named = [w for w in shlex.split(words)[1:] if re.fullmatch("[a-z0-9-]+", w)]
            assert set(named) <= targets, f"{page.name}: {words}"


def test_everything_that_is_released_has_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    found = {}
    for pom in sorted((ROOT / "android_demo").glob("**/pom.xml")):
        space = "{http://maven.apache.org/POM/4.0.0}"
        root = ElementTree.parse(pom).getroot()
        found[pom] = root.findtext(f"{space}version") or root.findtext(
            f"{space}parent/{space}version"
        )
    assert len(found) > 3
    assert set(found.values()) == {version}
    for name in ("app/build.gradle.kts",):
        assert f'versionName = "{version}"' in (ROOT / "android_demo" / name).read_text()


def test_workflows_call_what_exists() -> None:
    targets = set()
    for makefile in (ROOT / "Makefile", *ROOT.glob("*/*.mk"), *ROOT.glob("*/*/*.mk")):
        targets |= set(re.findall(r"^([a-z0-9-]+):", makefile.read_text(), re.MULTILINE))
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        jobs = yaml.safe_load(workflow.read_text())["jobs"]
        commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
        assert commands
        for command in commands:
            program, *words = command.split()
            assert (ROOT / program).is_file() or (program == "make" and set(words) <= targets)
