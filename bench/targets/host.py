"""This machine: the native runner, or `arcmobile generate` with any engine that is installed."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import ClassVar, Final

from arcmobile.bench.result import Environment
from arcmobile.bench.runner_stats import NativeStats, PythonStats, parse_python
from arcmobile.bench.targets.base import (
    NATIVE_BACKENDS,
    RunnerKind,
    RunRecord,
    RunRequest,
    TargetOptions,
    check_native_backend,
    generation_words,
)
from arcmobile.bench.targets.process import Completed, run_process
from arcmobile.bench.targets.runner_dist import RunnerDist, is_built, open_dist
from arcmobile.bench.targets.shell import ShellTarget
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.engine import available_cpus
from arcmobile.runtime.errors import InputError, TargetError
from arcmobile.runtime.installation import build_command

_RUNNERS: Final = ("auto", "native", "python")
_STATS_FILE: Final = "stats.json"


class LocalTarget(ShellTarget):
    """Processes of this machine; runner and bundle stay where they are."""

    own_session = False  # the shell that runs it is in one, which is killed as a whole
    preset: ClassVar[str] = "host"

    def __init__(self, options: TargetOptions) -> None:
        super().__init__(options)
        self._folder: Path | None = None
        self._bundle: Bundle | None = None
        self._dist: RunnerDist | None = None

    @property
    def name(self) -> str:
        """In messages: this machine."""
        return "this machine"

    @property
    def scratch(self) -> str:
        """A temporary folder."""
        assert self._folder is not None  # open() has run
        return str(self._folder)

    def open(self) -> None:
        """Make the temporary folder."""
        self._folder = Path(tempfile.mkdtemp(prefix="arcmobile-"))

    def close(self) -> None:
        """Remove the temporary folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def prepare(self, bundle: Bundle) -> None:
        """Find the native runner and check that it fits this machine and the bundle."""
        check_native_backend(bundle)
        dist = open_dist(self.options.native, self.preset)
        dist.expect(self.emulates or self.facts.machine, android=False, device=self.name)
        self._dist, self._bundle = dist, bundle

    def environment(self) -> Environment:
        """Describe this machine, with the cores that this process may use."""
        return super().environment().model_copy(update={"cores": available_cpus()})

    def _execute(self, script: str, timeout: float) -> Completed:
        return run_process(["sh", "-c", script], timeout=timeout)

    def _bundle_folder(self) -> str:
        assert self._bundle is not None  # prepare() has run
        return str(self._bundle.folder.resolve())

    def _program(self) -> str:
        assert self._dist is not None  # prepare() has run
        return str(self._dist.program.resolve())


class HostTarget(LocalTarget):
    """This machine, with either runner."""

    kind = "host"
    takes = frozenset({"native", "runner", "exec_prefix", "timeout"})
    can_drop_cache = hasattr(os, "posix_fadvise")

    def __init__(self, options: TargetOptions) -> None:
        super().__init__(options)
        if options.runner not in (None, *_RUNNERS):
            raise InputError(f"--runner {options.runner}: give one of {', '.join(_RUNNERS)}")
        self._runner: RunnerKind = "python" if options.runner == "python" else "native"

    @property
    def runner(self) -> RunnerKind:
        """Native, or Python where that was chosen or nothing else runs the bundle."""
        return self._runner

    def prepare(self, bundle: Bundle) -> None:
        """Choose the runner.

        Raises:
            InputError: ``--native`` does not apply to the Python runner.
        """
        if self.options.runner in (None, "auto"):
            self._runner = self._choose(bundle)
        if self._runner == "native":
            super().prepare(bundle)
        elif self.options.native:
            raise InputError("--native: is for --runner native; leave it out")
        self._bundle = bundle

    def _choose(self, bundle: Bundle) -> RunnerKind:
        if bundle.manifest.backend not in NATIVE_BACKENDS:
            return "python"
        if self.options.native or is_built(self.preset):
            return "native"
        self.options.warn(
            f"no native runner here (build it: {build_command('native')}); measuring the Python one"
        )
        return "python"

    def run(self, request: RunRequest, *, cold: bool = False) -> RunRecord:
        """Run once; for a cold run, first drop the programs from the page cache."""
        if cold and self._runner == "python":
            self._drop_cache()
        return super().run(request, cold=cold)

    def _words(self, request: RunRequest, *, cold: bool) -> list[str]:
        if self._runner == "native":
            return super()._words(request, cold=cold)
        if request.arguments:
            raise InputError(f"{' '.join(request.arguments)}: needs the native runner")
        # One program in memory at a time, as the native runner has it.
        return [
            *self._prefix,
            *(sys.executable, "-m", "arcmobile.cli", "generate"),
            *("--bundle", self._bundle_folder(), "--low-memory", *generation_words(request)),
            *("--stats-json", f"{self.scratch}/{_STATS_FILE}"),
            *("--out", f"{self.scratch}/sound.wav", "--overwrite"),
            *("--", request.prompt),
        ]

    def _stats(self, said: str) -> NativeStats | PythonStats:
        if self._runner == "native":
            return super()._stats(said)
        file = Path(self.scratch) / _STATS_FILE
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
            file.unlink()
        except OSError as error:
            raise TargetError(
                f"{self.name}: arcmobile generate wrote no figures ({error.strerror}); run it again"
            ) from error
        return parse_python(text)

    def _drop_cache(self) -> None:
        assert self._bundle is not None
        for component in self._bundle.manifest.components.values():
            with self._bundle.file(component).open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
