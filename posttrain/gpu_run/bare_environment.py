"""Makes the environment of a lent GPU machine: its packages and no others.

``bare_environment.py FOLDER [--linked SITE_PACKAGES]``. Without ``--linked`` the pinned versions
are installed, for Python 3.12 where there is one (first time: some minutes, 5 GB). With it those
packages of another environment that the machine has are linked: in seconds, but with that
environment's versions and its Python.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

MACHINE = Path(__file__).with_name("machine.txt")


def machine_packages() -> tuple[set[str], list[str]]:
    """Return the names of all packages, and the requirements to install."""
    names, wanted = set(), []
    for line in MACHINE.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        name = re.split(r"==| ", line)[0]
        names.add(name)
        if line != name:
            wanted.append(line.removesuffix(" +"))
    return names, wanted


def canonical(name: str) -> str:
    """Return a package's name in the form that names are compared in."""
    return re.sub(r"[-_.]+", "-", name).lower()


def fitting_python() -> str:
    """Return a Python 3.12 that runs, or this one."""
    uv = Path(sys.executable).with_name("uv")
    found = ["python3.12"]
    if uv.is_file():
        command = [str(uv), "python", "find", "--no-python-downloads", "3.12"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        found.append(shown.stdout.strip())
    # pyenv keeps versions that are not selected off the search path.
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found += map(str, sorted(versions.glob("3.12.*/bin/python3.12")))
    for name in found:
        path = shutil.which(name) if name else None
        if path and not subprocess.run([path, "-c", ""], capture_output=True).returncode:
            return path
    print(f"no Python 3.12 here: rehearsing with {sys.version.split()[0]}")
    return sys.executable


def install(folder: Path) -> None:
    """Install the pinned versions, by uv where this environment has it."""
    names, wanted = machine_packages()
    uv = Path(sys.executable).with_name("uv")
    done = folder / "installed.txt"
    if done.is_file() and done.read_text(encoding="utf-8") == MACHINE.read_text(encoding="utf-8"):
        return
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([fitting_python(), "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin/python")
    if uv.is_file():
        command = [str(uv), "pip", "install", "-q", "--compile-bytecode", "--python", python]
    else:
        command = [python, "-m", "pip", "install", "-q"]
    facts = [python, "-c", "import sys; print(sys.version_info[:2] == (3, 12))"]
    if subprocess.run(facts, capture_output=True, text=True, check=True).stdout.strip() != "True":
        # Some pinned releases are for Python 3.12 only; the version of torch matters.
        wanted = [pin if pin.startswith("torch==") else pin.partition("==")[0] for pin in wanted]
    subprocess.run([*command, *wanted], check=True)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = [line.partition("==")[0] for line in listed.stdout.splitlines()]
    if extra := [name for name in found if not _is_there(canonical(name), names)]:
        print(f"not on the machine, removed: {', '.join(extra)}")
        subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", *extra], check=True)
    shutil.copyfile(MACHINE, done)


def _is_there(name: str, names: set[str]) -> bool:
    return name in names or name.startswith("nvidia-")


def link(folder: Path, source: Path) -> None:
    """Link the packages of ``source`` that the machine has."""
    names, wanted = machine_packages()
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    linked = set()
    for package in distributions(path=[str(source)]):
        name = canonical(package.metadata["Name"])
        if not _is_there(name, names):
            continue
        linked.add(name)
        for entry in _top_level(package):
            if (source / entry).exists() and not (site / entry).exists():
                _link(site / entry, source / entry)
    if missing := {re.split("==", pin)[0] for pin in wanted} - linked - {"pip"}:
        print(f"not in {source}: {', '.join(sorted(missing))}")


def _link(target: Path, source: Path) -> None:
    # Namespaces are shared by packages of which some may not be there: a level deeper, then.
    if source.is_dir() and not (source / "__init__.py").exists() and "." not in source.name:
        target.mkdir(exist_ok=True)
        for inner in source.iterdir():
            (target / inner.name).symlink_to(inner)
    else:
        target.symlink_to(source)


def _top_level(package: Distribution) -> set[str]:
    """Top-level files and folders of a package in site-packages."""
    first = {Path(str(file)).parts[0] for file in package.files or ()}
    return {part for part in first if part not in ("..", "__pycache__")}


def main() -> None:
    """Make the environment that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--linked", type=Path)
    arguments = parser.parse_args()
    if arguments.linked is None:
        install(arguments.folder)
    else:
        link(arguments.folder, arguments.linked.resolve())


if __name__ == "__main__":
    main()
