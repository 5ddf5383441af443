"""Targets reached through a POSIX shell: what this machine, a board and a phone have in common."""

from __future__ import annotations

import secrets
import signal
import subprocess
from abc import abstractmethod

from arcmobile.bench.device_facts import FACTS_SCRIPT, DeviceFacts, parse_facts
from arcmobile.bench.device_state import (
    STATE_SCRIPT,
    DeviceState,
    RunStates,
    parse_state,
    watched_files,
)
from arcmobile.bench.probe import Sections, parse_sections
from arcmobile.bench.result import Environment
from arcmobile.bench.runner_stats import NativeStats, PythonStats, parse_native
from arcmobile.bench.targets.base import (
    RunnerKind,
    RunRecord,
    RunRequest,
    Target,
    TargetOptions,
    emulator_of,
    generation_words,
)
from arcmobile.bench.targets.process import Completed, TooMuchOutput
from arcmobile.bench.targets.runner_dist import RUNNER_NAME
from arcmobile.bench.targets.scripts import run_script, split_notes, split_status, with_status
from arcmobile.runtime.errors import TargetError

HELPER_SECONDS = 60.0  # for what only looks at a device or changes a folder there
_SHELL_NOT_FOUND, _SHELL_NOT_EXECUTABLE, _SHELL_SIGNAL = 127, 126, 128


class ShellTarget(Target):
    """Runs scripts on a device; a subclass says how they get there."""

    facts_script = FACTS_SCRIPT
    state_script = STATE_SCRIPT
    own_session = True  # the runner gets a session of its own on the device

    def __init__(self, options: TargetOptions) -> None:
        super().__init__(options)
        self._prefix = options.prefix
        self._facts: DeviceFacts | None = None
        self._last: NativeStats | PythonStats | None = None

    @property
    def runner(self) -> RunnerKind:
        """The native runner."""
        return "native"

    @property
    def name(self) -> str:
        """The device in messages, in the user's words."""
        return self.kind

    @property
    def emulates(self) -> str | None:
        """The machine whose programs an emulator runs here; ``None``: the device's own."""
        return emulator_of(self._prefix)

    @property
    @abstractmethod
    def scratch(self) -> str:
        """Our folder on the device."""

    @abstractmethod
    def _execute(self, script: str, timeout: float) -> Completed:
        """Run a script in the device's shell; ``subprocess.TimeoutExpired`` passes through."""

    @abstractmethod
    def _bundle_folder(self) -> str:
        """Where the prepared bundle lies on the device."""

    @abstractmethod
    def _program(self) -> str:
        """Where the runner lies on the device."""

    @property
    def facts(self) -> DeviceFacts:
        """What the device is; read once."""
        if self._facts is None:
            self._facts = parse_facts(parse_sections(self.shell(self.facts_script).stdout))
        return self._facts

    def state(self) -> DeviceState:
        """Read temperatures, clocks and throttling."""
        return parse_state(self._look())

    def _look(self) -> Sections:
        return parse_sections(self.shell(self.state_script).stdout)

    def environment(self) -> Environment:
        """Describe the device; after a run, its CPU as the runner saw it."""
        facts = self.facts
        # The runner sees what its instructions depend on, also where an emulator shows another CPU.
        seen = self._last.cpu if isinstance(self._last, NativeStats) else None
        emulated = self.emulates is not None
        return Environment(
            target=self.kind,
            # A result may be published: no account names in it.
            device=facts.name or self.name.rpartition("@")[2],
            cpu=f"{seen.name}, emulated" if seen and emulated else facts.cpu,
            architecture=self.emulates or facts.machine,
            features=seen.features if seen else facts.features,
            cores=facts.cores,
            memory_bytes=facts.memory_bytes,
            system=facts.system,
            governor=facts.governor,
            emulated=emulated,
        )

    def run(self, request: RunRequest, *, cold: bool = False) -> RunRecord:
        """Run the prepared bundle once, and look at the device before, during and after.

        Raises:
            TargetError: the runner failed, or made another sound than it was to.
        """
        words = self._words(request, cold=cold)
        before = self._look()
        token = secrets.token_hex(8)
        script = run_script(
            words,
            self.scratch,
            token,
            watched=watched_files(before),
            own_session=self.own_session,
        )
        completed = self.shell(script, timeout=self.options.timeout, doing=RUNNER_NAME)
        said, looks = split_notes(completed.stdout, token)
        if completed.code:
            raise self._runner_failed(Completed(completed.code, said, completed.stderr))
        stats = self._stats(said)
        self._last = stats
        during = tuple(parse_state({**before, **look}) for look in looks)
        states = RunStates(parse_state(before), during, self.state())
        _check_echo(request, stats)
        return RunRecord(stats, states)

    def shell(
        self, script: str, *, timeout: float = HELPER_SECONDS, doing: str = "a command"
    ) -> Completed:
        """Run a script on the device.

        Raises:
            TargetError: it did not end in time, or its status is unknown.
            TooMuchOutput: it printed more than memory should hold.
        """
        token = secrets.token_hex(8)
        try:
            completed = self._execute(with_status(script, token), timeout)
        except subprocess.TimeoutExpired:
            raise TargetError(
                f"{self.name}: {doing} did not end within {timeout:g} s; "
                "is the device busy? raise --timeout for slow ones"
            ) from None
        except TooMuchOutput:
            raise TooMuchOutput(f"{self.name}: {doing}") from None
        answer = split_status(completed.stdout, token)
        if answer is None:
            raise self._lost(completed)
        output, code = answer
        return Completed(code, output, completed.stderr)

    def _lost(self, completed: Completed) -> TargetError:
        """Return the error for a shell that ended without stating its status."""
        return TargetError(f"{self.name}: the shell broke off: {completed.last_words}")

    def _words(self, request: RunRequest, *, cold: bool) -> list[str]:
        """Return the command that makes one sound."""
        return [
            *self._prefix,
            self._program(),
            *generation_words(request),
            *("--stats", "json", "--quiet"),
            *(["--cold"] if cold else []),
            *request.arguments,
            *("--", self._bundle_folder(), request.prompt),
        ]

    def _stats(self, said: str) -> NativeStats | PythonStats:
        return parse_native(said)

    def _runner_failed(self, completed: Completed) -> TargetError:
        words = completed.last_words.removeprefix("error: ")
        if completed.code > _SHELL_SIGNAL:
            number = completed.code - _SHELL_SIGNAL
            name = _signal_name(number)
            hint = "; did it run out of memory?" if name == "SIGKILL" else ""
            return TargetError(f"{self.name}: {RUNNER_NAME} was ended by {name}{hint} ({words})")
        if completed.code in (_SHELL_NOT_FOUND, _SHELL_NOT_EXECUTABLE):
            hint = "; programs may be forbidden there (noexec), try --device-folder"
            reason = words.rpartition(": exec: ")[2]
            return TargetError(
                f"{self.name}: {RUNNER_NAME} cannot be started: {reason}"
                f"{hint if 'denied' in words else ''}"
            )
        return TargetError(f"{self.name}: {RUNNER_NAME}: {words}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _check_echo(request: RunRequest, stats: PythonStats | NativeStats) -> None:
    """Check that the figures are those of the requested sound.

    Raises:
        TargetError: they are not.
    """
    wanted: dict[str, object] = {"prompt": request.prompt, "seed": request.seed}
    wanted["steps"] = request.steps
    got: dict[str, object] = {"prompt": stats.prompt, "seed": stats.seed}
    got["steps"] = len(stats.dit_step_seconds)
    if isinstance(stats, NativeStats):
        wanted["threads"], got["threads"] = request.threads, stats.threads
    for name, value in wanted.items():
        if got[name] != value:
            raise TargetError(
                f"the runner used {name} {got[name]!r}, not {value!r}; build it again from this "
                "version of arcmobile"
            )
