"""An emulated Arm core: the Arm runner under QEMU's user-mode emulation.

It computes what the core would compute, except for outer products of int8 (SMOPA), which QEMU
before 9.0 gets wrong (its issue 2083): ``max,sme=off`` avoids them. Times are the emulator's.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from arcmobile.bench.emulated_cpu import (
    DEFAULT_CPU,
    base_sysroot,
    has_wrong_smopa,
    sysroot_for,
)
from arcmobile.bench.probe import Sections
from arcmobile.bench.result import Environment
from arcmobile.bench.targets.base import TargetOptions
from arcmobile.bench.targets.host import LocalTarget
from arcmobile.bench.targets.process import run_process
from arcmobile.runtime.engine import available_cpus
from arcmobile.runtime.errors import InputError, TargetError

EMULATOR: Final = "qemu-aarch64"
_LOADER: Final = "lib/ld-linux-aarch64.so.1"


class QemuTarget(LocalTarget):
    """The `linux-arm64` runner under `qemu-aarch64`, as the CPU of ``options.cpu``.

    ``emulator_arguments`` go to QEMU before the program: ``("-plugin", "libx.so,out=file")``.
    Programs see the emulated core, not this machine's; see :mod:`arcmobile.bench.emulated_cpu`.
    """

    kind = "qemu"
    takes = frozenset({"native", "cpu", "timeout"})
    can_drop_cache = False
    preset = "linux-arm64"

    def __init__(
        self,
        options: TargetOptions,
        emulator_arguments: Sequence[str] = (),
        *,
        cores: int | None = None,
    ) -> None:
        super().__init__(options)
        self.cpu = options.cpu or DEFAULT_CPU
        self._emulator_arguments = [*emulator_arguments]
        self._cores = cores or available_cpus()
        self._prefix = [EMULATOR]
        self._sysroot = ExitStack()
        self._version = ""

    @property
    def name(self) -> str:
        """Emulator and CPU model."""
        return f"{EMULATOR} as {self.cpu}"

    def open(self) -> None:
        """Check emulator, libraries and CPU model, and make the emulated machine's folder.

        Raises:
            TargetError: emulator or libraries are missing.
            InputError: the CPU model is unknown.
        """
        if shutil.which(EMULATOR) is None:
            raise TargetError(f"{EMULATOR} is not installed: sudo apt-get install qemu-user")
        base = base_sysroot()
        if not (base / _LOADER).exists():
            raise TargetError(
                f"{base / _LOADER}: no such file; the libraries of the emulated machine are "
                "missing: sudo apt-get install libstdc++6-arm64-cross"
            )
        known = run_process([EMULATOR, "-cpu", "help"], timeout=30).stdout.split()[2:]
        model = self.cpu.partition(",")[0]
        if known and model not in known:
            raise InputError(f"--cpu {model}: unknown to {EMULATOR}; known: {', '.join(known)}")
        self._version = run_process([EMULATOR, "--version"], timeout=30).stdout.split("\n")[0]
        if has_wrong_smopa(self.cpu, self._version):
            self.options.warn(
                f"{self._version} computes SME's integer outer products wrongly: figures hold, the "
                f"sound of an int8 bundle does not; {DEFAULT_CPU} gives the right one"
            )
        super().open()
        sysroot = self._sysroot.enter_context(sysroot_for(base, self.cpu, self._cores))
        emulator = [EMULATOR, "-L", str(sysroot), "-cpu", self.cpu]
        self._prefix = [*emulator, *self._emulator_arguments]

    def close(self) -> None:
        """Remove both folders."""
        super().close()
        self._sysroot.close()

    def environment(self) -> Environment:
        """Describe the emulated core."""
        environment = super().environment()
        return environment.model_copy(
            update={
                "device": self.cpu,
                "cpu": f"{self.cpu}, emulated",
                "system": f"{self._version}, on {self.facts.cpu}",
                "governor": None,
            }
        )

    def _look(self) -> Sections:
        """Return nothing: the emulated core has no clock, and the host's does not matter."""
        return {}
