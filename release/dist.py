"""Make what a release consists of: packages, the runner for Arm boards, and bundles, with an index.

Everything is made from what git tracks and dated by the commit, so two runs of one commit give the
same digests.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from arcmobile.runtime.backends import BACKENDS
from arcmobile.runtime.verified_files import file_digest
from arcmobile.runtime.whole_output import whole_folder

ROOT: Final = Path(__file__).resolve().parents[1]
CHECKPOINT: Final = ROOT / "checkpoints" / "embedded"
RUNNER: Final = ROOT / "build" / "native" / "linux-arm64" / "dist"
RECIPE: Final = "mobile"
INDEX: Final = "index.json"
SUMS: Final = "SHA256SUMS"

_BUILD_PACKAGES: Final = """
from setuptools import build_meta
build_meta.build_wheel("packages")
build_meta.build_sdist("packages")
"""


@dataclass(frozen=True)
class Artefact:
    """A file of the release.

    Attributes:
        file: its name.
        kind: ``wheel``, ``sdist``, ``runner`` or ``bundle``.
        runs_on: the platform, or the engine of a bundle.
        bytes: its size.
        sha256: its digest.
    """

    file: str
    kind: str
    runs_on: str
    bytes: int
    sha256: str


def git(*words: str) -> bytes:
    """What a git command prints."""
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True).stdout


def write_tar(path: Path, folder: Path, epoch: int) -> None:
    """Write a folder as a ``.tar.gz`` whose members lie in one folder of the archive's name.

    It depends on nothing but names, contents, who may execute what, and the date.
    """

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        return member.replace(mode=mode, mtime=epoch, uid=0, gid=0, uname="", gname="", deep=False)

    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", dereference=True) as archive,
    ):
        archive.add(folder, path.name.removesuffix(".tar.gz"), filter=plain)


def write_zip(path: Path, folder: Path, epoch: int) -> None:
    """Write a folder as a zip whose members lie in one folder of the zip's name."""
    date = datetime.fromtimestamp(epoch, UTC).timetuple()[:6]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sorted(folder.iterdir()):
            member = zipfile.ZipInfo(f"{path.stem}/{source.name}", date)
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(member, source.read_bytes())


def build_packages(out: Path, epoch: int) -> tuple[Path, Path]:
    """Build wheel and sdist from the files that git tracks.

    Returns:
        Their paths in ``out``.
    """
    with tempfile.TemporaryDirectory(prefix="arcmobile-dist-") as scratch:
        tree = Path(scratch)
        with tarfile.open(fileobj=io.BytesIO(git("archive", "HEAD"))) as archive:
            archive.extractall(tree, filter="data")
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
        command = [sys.executable, "-c", _BUILD_PACKAGES]
        subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True)
        wheel = next((tree / "packages").glob("*.whl"))
        sdist = next((tree / "packages").glob("*.tar.gz"))
        shutil.copyfile(wheel, out / wheel.name)
        shutil.unpack_archive(sdist, tree / "unpacked", filter="data")
        (unpacked,) = (tree / "unpacked").iterdir()
        write_tar(out / sdist.name, unpacked, epoch)  # setuptools gives it dates of today
    return out / wheel.name, out / sdist.name


def export_bundle(out: Path, backend: str, version: str, epoch: int) -> Path:
    """Export the embedded checkpoint for an engine and pack the bundle as a zip."""
    with tempfile.TemporaryDirectory(prefix="arcmobile-dist-") as scratch:
        bundle = Path(scratch) / "bundle"
        command = [sys.executable, "-m", "arcmobile.cli", "export", str(CHECKPOINT)]
        command += ["--backend", backend, "--recipe", RECIPE, "--encoder", "--out", str(bundle)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
        subprocess.run(command, env=environment, check=True)
        path = out / f"embedded-{backend}-{RECIPE}-{version}.zip"
        write_zip(path, bundle, epoch)
    return path


def make_release(out: Path) -> list[Artefact]:
    """Fill a folder with all artefacts, their checksums and the index."""
    epoch = int(git("log", "-1", "--format=%ct"))
    commit = git("rev-parse", "HEAD").decode().strip()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    artefacts: list[Artefact] = []

    def add(path: Path, kind: str, runs_on: str) -> None:
        size = path.stat().st_size
        artefacts.append(Artefact(path.name, kind, runs_on, size, file_digest(path)))
        print(f"{path.name}  {size / 1e6:.1f} MB", flush=True)

    wheel, sdist = build_packages(out, epoch)
    add(wheel, "wheel", "Python 3.11 to 3.14")
    add(sdist, "sdist", "Python 3.11 to 3.14")
    runner = out / f"arcmobile-run-{version}-linux-arm64.tar.gz"
    write_tar(runner, RUNNER, epoch)
    add(runner, "runner", "Linux, arm64")
    for backend in BACKENDS:
        add(export_bundle(out, backend, version, epoch), "bundle", backend)
    sums = "".join(f"{artefact.sha256}  {artefact.file}\n" for artefact in artefacts)
    (out / SUMS).write_text(sums)
    index = {
        "version": version,
        "commit": commit,
        "files": [asdict(artefact) for artefact in artefacts],
    }
    (out / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    return artefacts


def main() -> int:
    """Make the release in the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    if git("status", "--porcelain", "--untracked-files=no"):
        print("error: commit first: a release is what git tracks", file=sys.stderr)
        return 2
    with whole_folder(out, replaceable=INDEX, overwrite=True, option="OUT") as folder:
        make_release(folder)
    print(f"{out}: {INDEX} and {SUMS} say what is in it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
