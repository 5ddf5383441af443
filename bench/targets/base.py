"""A target: a machine that can run a bundle and report its figures.

A new one is a subclass in a file of its own and a line in :data:`arcmobile.bench.targets.TARGETS`.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Literal, Self

from arcmobile.bench.device_state import DeviceState, RunStates
from arcmobile.bench.result import Environment
from arcmobile.bench.runner_stats import NativeStats, PythonStats
from arcmobile.runtime.backends import BACKENDS
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.errors import InputError

RunnerKind = Literal["native", "python"]
NATIVE_BACKENDS: Final = tuple(name for name, spec in BACKENDS.items() if spec.native)
_LONGEST_TIMEOUT: Final = 1e6
DEFAULT_TIMEOUT: Final = 3600.0  # seconds; a full-size bundle under emulation takes its time


def _ignore(line: str) -> None:
    """Drop a line."""


@dataclass(frozen=True)
class TargetOptions:
    """The options of all targets; each target takes some of them (:attr:`Target.takes`).

    Attributes:
        native: folder of the built runner; ``None``: where the build puts it.
        runner: ``auto``, ``native`` or ``python`` (host).
        cpu: CPU model of the emulator, with features, e.g. ``max,sme=off`` (qemu).
        serial: which phone (adb).
        host: ``user@board`` or a name of the ssh configuration (ssh).
        port, identity, ssh_config: as ssh's -p, -i and -F (ssh).
        exec_prefix: a program and its arguments to start the runner with: ``taskset -c 4-7``.
        device_folder: where on the device the scratch folder goes.
        timeout: seconds one run may take.
        warn: called with a line that the user should see.
    """

    native: Path | None = None
    runner: str | None = None
    cpu: str | None = None
    serial: str | None = None
    host: str | None = None
    port: int | None = None
    identity: Path | None = None
    ssh_config: Path | None = None
    exec_prefix: str | None = None
    device_folder: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    warn: Callable[[str], None] = field(default=_ignore, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= _LONGEST_TIMEOUT:
            raise InputError(
                f"--timeout {self.timeout:g}: give seconds, more than 0 and at most "
                f"{_LONGEST_TIMEOUT:.0f}"
            )

    def given(self) -> list[str]:
        """Return the options that differ from their default, as named on the command line."""
        return [
            f"--{one.name.replace('_', '-')}"
            for one in fields(self)
            if one.compare and getattr(self, one.name) != one.default
        ]

    @property
    def prefix(self) -> list[str]:
        """The words of ``exec_prefix``.

        Raises:
            InputError: a quote is left open.
        """
        try:
            return shlex.split(self.exec_prefix or "")
        except ValueError as error:
            raise InputError(f"--exec-prefix {self.exec_prefix}: {error}") from error


@dataclass(frozen=True)
class RunRequest:
    """One generation: the sound, and the number of threads.

    ``seconds`` of ``None`` is the longest the bundle makes. ``arguments`` go to the native runner
    as they are (``--mark-stages``).
    """

    prompt: str
    seconds: float | None
    steps: int
    seed: int
    threads: int
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """One run: the runner's figures, and the device's state around it."""

    stats: PythonStats | NativeStats
    states: RunStates


class Target(ABC):
    """A machine to run on; use it as a context manager: whatever happens, it is left as it was.

    Methods raise :class:`~arcmobile.runtime.errors.TargetError` where the machine is missing or
    goes away or the runner fails, and :class:`InputError` for what the user can change.
    """

    kind: ClassVar[str]
    takes: ClassVar[frozenset[str]]  # names of the options that apply
    can_drop_cache: ClassVar[bool] = True  # whether cold loads can be measured
    is_phone: ClassVar[bool] = False  # has no fan: let it cool before each run

    def __init__(self, options: TargetOptions) -> None:
        self.options = options

    @property
    @abstractmethod
    def runner(self) -> RunnerKind:
        """The runner; known once the bundle has been prepared."""

    @abstractmethod
    def open(self) -> None:
        """Reach the machine; what this leaves on it, :meth:`close` removes."""

    @abstractmethod
    def close(self) -> None:
        """End what still runs there and remove every file; safe to call at any time."""

    @abstractmethod
    def prepare(self, bundle: Bundle) -> None:
        """Bring runner and bundle to the machine, after checking that it can run them."""

    @abstractmethod
    def environment(self) -> Environment:
        """Describe the machine."""

    @abstractmethod
    def state(self) -> DeviceState:
        """Read temperatures, clocks and throttling."""

    @abstractmethod
    def run(self, request: RunRequest, *, cold: bool = False) -> RunRecord:
        """Run the prepared bundle in a fresh process; ``cold``: its files not in the page cache."""

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def check_native_backend(bundle: Bundle) -> None:
    """Check that the native runner runs the bundle.

    Raises:
        InputError: the bundle is for a backend that it does not run.
    """
    if (backend := bundle.manifest.backend) not in NATIVE_BACKENDS:
        native = " and ".join(NATIVE_BACKENDS)
        raise InputError(
            f"{bundle.folder}: is for backend {backend}, the native runner runs {native} only; "
            f"export it for {native}, or measure it here with --target host --runner python"
        )


def generation_words(request: RunRequest) -> list[str]:
    """Return the options that both runners share; the prompt is not among them."""
    words = ["--steps", str(request.steps), "--seed", str(request.seed)]
    if request.seconds is not None:
        words += ["--seconds", repr(float(request.seconds))]
    return [*words, "--threads", str(request.threads)]


def emulator_of(words: Sequence[str]) -> str | None:
    """Return the machine that a QEMU user emulator among the words emulates; ``None``: none."""
    for word in words:
        name = Path(word).name
        if name.startswith("qemu-") and name != "qemu-":
            return name.removeprefix("qemu-").removesuffix("-static")
    return None
