"""Runs the cases of a reader in a process of its own, bounded in time and memory.

The process reports each case on a pipe. One that says nothing for :data:`SECONDS` hangs and is
killed; one that dies is a crash; either way the next process goes on behind that case.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from faults.readers import Attempt, all_readers

SECONDS: Final = 10.0  # a case may take
START_SECONDS: Final = 300.0  # making the good input and importing may take
MEMORY: Final = 1 << 30  # bytes of address space a case may add

# What a case came to. The first two are right.
ACCEPTED, REFUSED = "accepted", "refused"
FOREIGN, LINES, HANG, CRASH, TOO_MUCH = "foreign", "several lines", "hang", "crash", "memory"
FAULTS: Final = (FOREIGN, LINES, HANG, CRASH, TOO_MUCH)


@dataclass(frozen=True)
class Outcome:
    """One case: what it came to, what was said, the seconds it took."""

    case: int
    kind: str
    said: str = ""
    seconds: float = 0.0

    @property
    def is_fault(self) -> bool:
        return self.kind in FAULTS


@dataclass(frozen=True)
class Summary:
    """All cases of a reader."""

    reader: str
    counts: Counter[str]
    faults: tuple[Outcome, ...]
    slowest: Outcome

    @property
    def cases(self) -> int:
        return self.counts.total()


def run_cases(name: str, first: int, count: int) -> Summary:
    """Try ``count`` cases of a reader, from number ``first``."""
    outcomes = list(_outcomes(name, first, first + count))
    return Summary(
        reader=name,
        counts=Counter(outcome.kind for outcome in outcomes),
        faults=tuple(outcome for outcome in outcomes if outcome.is_fault),
        slowest=max(outcomes, key=lambda outcome: outcome.seconds),
    )


def _outcomes(name: str, first: int, end: int) -> Iterator[Outcome]:
    while first < end:
        for outcome in _of_one_process(name, first, end):
            if outcome.kind == HANG:  # or the machine was busy: what hangs does so again
                outcome = next(_of_one_process(name, outcome.case, outcome.case + 1))
            yield outcome
            first = outcome.case + 1


def _of_one_process(name: str, first: int, end: int) -> Iterator[Outcome]:
    """Outcomes from ``first`` on, until the process is through, hangs or dies."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        receive, send = os.pipe()
        log = Path(folder) / "log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "faults.attempts", name, str(first), str(end), str(send)],
                pass_fds=[send],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
                start_new_session=True,
            )
        os.close(send)
        try:
            yield from _reported(process, receive, first, end, log)
        finally:
            process.kill()
            process.wait()
            os.close(receive)


def _reported(
    process: subprocess.Popen[bytes], receive: int, first: int, end: int, log: Path
) -> Iterator[Outcome]:
    case, pending, patience = first - 1, b"", START_SECONDS
    while case < end:
        if not select.select([receive], [], [], patience)[0]:
            if case < first:
                raise RuntimeError(f"the reader did not start within {patience} s: {_end(log)}")
            yield Outcome(case, HANG, f"nothing within {patience:g} s", patience)
            return
        data = os.read(receive, 1 << 16)
        if not data:
            break
        *lines, pending = (pending + data).split(b"\n")
        for line in map(json.loads, lines):
            case, patience = line["next"], SECONDS
            if line["outcome"] is not None:
                yield Outcome(**line["outcome"])
    if case < first:
        raise RuntimeError(f"the reader did not start: {_end(log)}")
    if case < end:
        yield Outcome(case, CRASH, f"exit code {process.wait()}: {_end(log)}")


def _end(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-300:].strip().replace("\n", " | ")


# --- the process of the reader ------------------------------------------------------------------


def _serve(name: str, first: int, end: int, report: int) -> None:
    attempt = all_readers()[name].prepare(_empty_folder(Path.cwd() / "input"))
    _bound_memory()

    def tell(following: int, outcome: dict[str, Any] | None) -> None:
        os.write(report, json.dumps({"next": following, "outcome": outcome}).encode() + b"\n")

    tell(first, None)
    for case in range(first, end):
        started = time.monotonic()
        kind, said = _attempt(attempt, random.Random(f"{name} {case}"))
        seconds = time.monotonic() - started
        tell(case + 1, {"case": case, "kind": kind, "said": said[:500], "seconds": seconds})
    # Some engines crash at exit once they have seen broken programs; that is no case of its own.
    os._exit(0)


def _empty_folder(path: Path) -> Path:
    path.mkdir()
    return path


def _bound_memory() -> None:
    """Address space for what is there and :data:`MEMORY` more."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY
    # Only the soft one: the native runner is given another.
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _attempt(attempt: Attempt, rng: random.Random) -> tuple[str, str]:
    from arcmobile.runtime.errors import ArcMobileError

    try:
        attempt(rng)
    except ArcMobileError as error:
        line = str(error)
        if _ran_out(error):
            return TOO_MUCH, line
        return (REFUSED if len(line.splitlines()) == 1 else LINES), line
    except MemoryError as error:
        return TOO_MUCH, repr(error)
    except BaseException as error:  # noqa: BLE001 (a panic of a library is one)
        return FOREIGN, f"{type(error).__name__}: {error}"
    return ACCEPTED, ""


def _ran_out(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
