"""Runs `arcmobile` commands in forks of a process that has imported everything already.

A command may be hit by a signal at its n-th change of the disk, or at the n-th file it opens: the
place is the same in every run. Its files may be bounded in size, which stands in for a full disk.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

# What Python audits before it changes names on a disk.
CHANGES: Final = ("os.rename", "os.link", "os.remove", "os.rmdir", "shutil.rmtree")
OPENS: Final = ("open",)

_SECONDS: Final = 120  # a command may take, on a machine that is busy otherwise
_IMPORTS: Final = (
    "torch", "onnxruntime", "soundfile", "soxr", "jinja2", "scipy.signal", "safetensors.torch",
    "huggingface_hub", "sentencepiece", "onnxscript", "matplotlib.pyplot",
    "arcmobile.export.pipeline", "arcmobile.export.checkpoint.presets",
    "arcmobile.runtime.engines.onnx",
)  # fmt: skip


@dataclass(frozen=True)
class Hit:
    """A signal that comes at the ``at``-th of some audited events, ``times`` times over."""

    number: int
    at: int
    events: tuple[str, ...] = CHANGES
    times: int = 1


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code (minus the signal that killed it), and what it said."""

    code: int
    said: str
    was_hit: bool


class CommandServer:
    """The process, for a ``with`` block; ``variables`` are set for it."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = dict(variables or {})

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.command_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parent.parent),
                "OMP_NUM_THREADS": "1",  # a thread pool does not survive a fork
                **self._variables,
            },
        )
        return self

    def run(
        self,
        arguments: Sequence[object],
        cwd: Path,
        *,
        hit: Hit | None = None,
        file_bytes: int | None = None,
    ) -> Ended:
        """Runs a command to its end in the folder ``cwd``."""
        request = {
            "arguments": [str(word) for word in arguments],
            "cwd": str(cwd),
            "hit": asdict(hit) if hit else None,
            "file_bytes": file_bytes,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate(timeout=_SECONDS)


# --- the process --------------------------------------------------------------------------------


def _serve() -> None:
    import importlib

    from arcmobile.cli.main import COMMANDS, load_command

    for name in _IMPORTS:
        importlib.import_module(name)
    for name in COMMANDS:
        load_command(name)
    for line in sys.stdin:
        request = json.loads(line)
        # Pipes: a bound on the size of files does not hold for them.
        (said, to_said), (is_hit, to_hit) = _pipe(), _pipe()
        child = os.fork()
        if child == 0:
            _run(request, to_said, to_hit)
        os.close(to_said)
        os.close(to_hit)
        _, status = os.waitpid(child, 0)
        answer = Ended(
            code=os.waitstatus_to_exitcode(status),
            said=_content(said),
            was_hit=bool(_content(is_hit)),
        )
        print(json.dumps(asdict(answer)), flush=True)


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 1 << 20)  # read when the command has ended
    return ends


def _content(descriptor: int) -> str:
    os.set_blocking(descriptor, False)  # what the command has started may still hold the other end
    with os.fdopen(descriptor, "rb") as file:
        return (file.read() or b"").decode("utf-8", "replace")


def _run(request: dict[str, Any], said: int, is_hit: int) -> None:
    """In the fork; does not return."""
    from arcmobile.cli.main import main

    os.chdir(request["cwd"])
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(said, 2)
    signal.alarm(_SECONDS)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored out here
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if request["hit"]:
        _arm(request["hit"], is_hit)
    if request["file_bytes"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"],) * 2)
    code: object = 1
    try:
        main(request["arguments"])
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 (as Python does at the end of a program)
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _arm(hit: dict[str, Any], is_hit: int) -> None:
    seen = 0

    def hook(event: str, arguments: object) -> None:
        nonlocal seen
        if event not in hit["events"]:
            return
        seen += 1
        if hit["at"] <= seen < hit["at"] + hit["times"]:
            os.write(is_hit, b"1")
            os.kill(os.getpid(), hit["number"])

    sys.addaudithook(hook)


if __name__ == "__main__":
    _serve()
