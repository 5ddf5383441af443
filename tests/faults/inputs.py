"""Good inputs for the readers to break: small bundles, and copies of them with files replaced."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from arcmobile.runtime.bundle import MANIFEST_NAME
from arcmobile.runtime.errors import ArcMobileError

# Where bundles that take seconds to export are kept for all processes of a run.
SHARED: Final = "ARCMOBILE_FAULTS_INPUTS"
RUNNER: Final = Path(__file__).parents[2] / "build/native/host/dist/arcmobile-run"
# As attempts.py bounds its own process; the runner's libraries take 0.3 GB of address space.
_RUNNER_MEMORY: Final = (1 << 30) + (512 << 20)
_RUNNER_SECONDS: Final = 10


def bundle_of(backend: str) -> Path:
    """A tiny bundle for ``backend``; not to be changed, see :class:`BundleCopy`."""
    folder = Path(os.environ[SHARED]) / backend
    if not folder.exists():
        make_bundle(backend, folder)
    return folder


def make_bundle(backend: str, folder: Path) -> None:
    """Exports a random checkpoint of one layer per network, or makes ONNX graphs by hand."""
    if backend == "onnx":
        import onnx_bundle

        onnx_bundle.make_bundle(folder)
        return
    from conftest import init_micro_checkpoint

    from arcmobile.export.pipeline import ExportRequest, export_bundle

    checkpoint = folder.parent / "checkpoint"
    if not checkpoint.exists():
        init_micro_checkpoint(checkpoint)
    export_bundle(
        ExportRequest(
            checkpoint=checkpoint,
            backend=backend,
            recipe="mobile" if backend == "executorch" else "fp32",
            destination=folder,
        )
    )


class BundleCopy:
    """A copy of a bundle; replaced files keep their records in the manifest right."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.source = source
        self.folder = Path(shutil.copytree(source, folder))
        self.manifest: dict[str, Any] = json.loads(self.read(MANIFEST_NAME))

    def read(self, name: str) -> bytes:
        """The bytes of a file as they were in the source."""
        return (self.source / name).read_bytes()

    def put(self, name: str, data: bytes, *, recorded: bool = True) -> None:
        """Replaces a file; with ``recorded`` the manifest says so."""
        (self.folder / name).write_bytes(data)
        if not recorded:
            return
        digest = hashlib.sha256(data).hexdigest()
        for record in self._records():
            if record["file"] == name:
                record.update(bytes=len(data), sha256=digest)
        (self.folder / MANIFEST_NAME).write_text(json.dumps(self.manifest), encoding="utf-8")

    def restore(self) -> None:
        """The bundle as it was."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.source, self.folder)
        self.manifest = json.loads(self.read(MANIFEST_NAME))

    @property
    def programs(self) -> list[str]:
        """Names of the program files."""
        return [record["file"] for record in self.manifest["components"].values()]

    def _records(self) -> list[dict[str, Any]]:
        files: list[dict[str, Any]] = self.manifest["tokenizer"]["files"]
        return [*files, *self.manifest["components"].values()]


class RunnerFault(Exception):
    """The native runner ended in another way than 0, or 2 with one line."""


def run_native(bundle: Path, *options: object, prompt: str = "rain") -> None:
    """Makes a short sound with the native runner, bounded in time and memory.

    Raises:
        ArcMobileError: it refused, with the line it said.
        RunnerFault: anything else.
    """
    _run_bounded(
        [RUNNER, bundle, prompt, *options, "--seed", 1, "--steps", 1, "--threads", 1, "-q"]
    )


def _run_bounded(command: Sequence[object]) -> None:
    def bound() -> None:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (_RUNNER_MEMORY, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=_RUNNER_SECONDS,
        preexec_fn=bound,
        start_new_session=True,
    )
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    if done.returncode == 0:
        return
    if done.returncode == 2 and len(lines) == 1:
        if "not enough memory" in lines[0]:
            raise MemoryError(lines[0])
        raise ArcMobileError(lines[0])
    raise RunnerFault(f"exit code {done.returncode}: {' | '.join(lines)[-300:]}")
