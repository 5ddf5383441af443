"""What a clone of the repository is like, whatever git is set up to do with line ends."""

from __future__ import annotations

import subprocess
from pathlib import Path

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
