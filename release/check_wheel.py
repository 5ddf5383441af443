"""Install the released wheel into empty environments, one per engine, and make a sound in each.

Takes the folder of ``make dist``. Each environment gets the wheel with one engine's extra and
nothing else, so what the wheel lacks, or what an engine needs and does not say, shows here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from arcmobile.runtime.backends import BACKENDS, EXECUTORCH, BackendSpec

CONSTRAINTS: Final = Path(__file__).resolve().parents[1] / "constraints.txt"

# Commands that run without any extra, and one that has to say which extra it needs.
_WORKS: Final = (
    ["--help"],
    ["version"],
    ["export", "--help"],
    ["posttrain", "--help"],
    ["bench", "--help"],
)
_NEEDS_EXPORT: Final = ["checkpoint", "init", "--preset", "tiny", "--out", "checkpoint"]


def run(*command: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; its output is kept."""
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def check(spec: BackendSpec, wheel: Path, bundle: Path, uv: str, folder: Path) -> list[str]:
    """Try the wheel with one engine.

    Returns:
        What went wrong, a line each.
    """
    environment = folder / spec.name
    python = environment / "bin" / "python"
    made = run(uv, "venv", "-q", environment, folder=folder)
    if made.returncode == 0:
        wanted = f"{wheel}[{spec.extra}]"
        install = (uv, "pip", "install", "-q", "--python", python, "-c", CONSTRAINTS, wanted)
        made = run(*install, folder=folder)
    if made.returncode:
        return [f"{spec.name}: not installed: {made.stderr.strip()}"]
    arcmobile = environment / "bin" / "arcmobile"
    wrong = []
    for words in _WORKS:
        ended = run(arcmobile, *words, folder=folder)
        if ended.returncode:
            wrong.append(f"{spec.name}: arcmobile {' '.join(words)}: {ended.stderr.strip()}")
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    sound = folder / f"{spec.name}.wav"
    words = ["generate", "rain", "--seed", "1", "--bundle", folder / bundle.stem, "--out", sound]
    ended = run(arcmobile, *words, folder=folder)
    if ended.returncode or not sound.is_file():
        wrong.append(f"{spec.name}: arcmobile generate: {ended.stderr.strip()}")
    if spec is not EXECUTORCH:  # whose Python package brings PyTorch
        ended = run(python, "-c", "import torch", folder=folder)
        if ended.returncode == 0:
            wrong.append(f"{spec.name}: PyTorch was installed, which this engine does not need")
        ended = run(arcmobile, *_NEEDS_EXPORT, folder=folder)
        if ended.returncode != 2 or "pip install 'arcmobile[export]'" not in ended.stderr:
            wrong.append(f"{spec.name}: {' '.join(_NEEDS_EXPORT[:2])} said: {ended.stderr.strip()}")
    return wrong


def main() -> int:
    """Check every engine of the release in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path, help="the folder of make dist")
    parser.add_argument("--uv", default="uv", help="the uv to install with")
    parser.add_argument("--engines", nargs="*", default=list(BACKENDS), metavar="NAME")
    options = parser.parse_args()
    release = options.release.resolve()
    files = json.loads((release / "index.json").read_text())["files"]
    wheel = next(release / file["file"] for file in files if file["kind"] == "wheel")
    bundles = {
        file["runs_on"]: release / file["file"] for file in files if file["kind"] == "bundle"
    }
    failed = False
    for name in options.engines:
        with tempfile.TemporaryDirectory(prefix="arcmobile-wheel-") as folder:
            wrong = check(BACKENDS[name], wheel, bundles[name], options.uv, Path(folder))
        failed = failed or bool(wrong)
        print(
            "\n".join(wrong) if wrong else f"{name}: installs alone and makes a sound", flush=True
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
