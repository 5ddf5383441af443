"""Where the time of a run goes: inside XNNPACK, and in the operators left outside it.

ExecuTorch records a trace of each run (ETDump); its devtools read it. XNNPACK adds the times of
its own operators, cut to whole microseconds; what is cut off shows as the rest of XNNPACK.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arcmobile.bench.result import OperatorProfile, OperatorTime
from arcmobile.runtime.backends import EXECUTORCH
from arcmobile.runtime.bundle import Bundle, Component, Entry
from arcmobile.runtime.engine import Array, Engine, EngineOptions, open_engine
from arcmobile.runtime.engines.native_log import native_log
from arcmobile.runtime.errors import EngineError, InputError, one_line
from arcmobile.runtime.request import GenerationRequest
from arcmobile.runtime.sampler import Cancelled
from arcmobile.runtime.tensors import CONDITIONER, DIT, stage_of

DEFAULT_RUNS: Final = 5

# What is left of a delegate call, and of the whole run, when all operators are taken off.
INSIDE_REST: Final = "rest of XNNPACK: setup, rounding to µs"
OUTSIDE_REST: Final = "rest of ExecuTorch: its interpreter"
_UNSPLIT: Final = "XNNPACK, not traced inside"

# An ETDump is a flatbuffer behind its size. Names of events in it:
_IDENTIFIER: Final = b"ED00"
_RUN: Final = "Method::execute"
_DELEGATE: Final = "DELEGATE_CALL"
_OPERATOR: Final = "OPERATOR_CALL"  # a kernel and what the interpreter does around it
_KERNEL: Final = "native_call_"
_NUMBER: Final = re.compile(r" #\d+$")  # XNNPACK numbers operators of a kind
_DUMP: Final = ".etdp"


@dataclass(frozen=True)
class Call:
    """One call of an operator or kernel in a run; seconds."""

    name: str
    seconds: float
    delegated: bool


@dataclass(frozen=True)
class Run:
    """One traced run of a method; ``total`` and ``delegate`` seconds, all delegate calls summed."""

    total: float
    delegate: float
    delegate_calls: int
    calls: tuple[Call, ...]


def profile_bundle(
    bundle: Bundle,
    request: GenerationRequest,
    *,
    threads: int | None = None,
    runs: int = DEFAULT_RUNS,
) -> tuple[OperatorProfile, ...]:
    """Run every component ``runs`` times on its inputs for the request; one more run warms up.

    The DiT gets the first step's input, the decoder's parts their first window's. ``threads`` is
    the size of the thread pool, ``None`` all CPUs.

    Raises:
        InputError: a bundle of another backend, or a request out of range.
        EngineError: ExecuTorch is missing or refuses a program.
    """
    if bundle.manifest.backend != EXECUTORCH.name:
        raise InputError(
            f"{bundle.folder}: is for {bundle.manifest.backend}; operators can be profiled in "
            f"{EXECUTORCH.name} bundles only: export with --backend {EXECUTORCH.name}"
        )
    inputs = _record_inputs(bundle, request, threads)
    profiles = []
    for name, (entry, arrays) in inputs.items():
        component = bundle.manifest.components[name]
        dump = _trace(bundle, component, entry, arrays, runs + 1)
        profiles.append(summarise(name, read_trace(dump, where=str(bundle.file(component)))))
    return tuple(profiles)


def read_folder(folder: Path) -> tuple[OperatorProfile, ...]:
    """Read the ``PREFIX.COMPONENT.etdp`` files that ``arcmobile-run --etdump PREFIX`` wrote.

    Raises:
        InputError: no such file in ``folder``, several of a component, or one is not an ETDump.
    """
    profiles = []
    for name, found in _dumps(folder).items():
        if len(found) > 1:
            shown = ", ".join(path.name for path in found)
            raise InputError(f"{folder}: several traces of {name} ({shown}); keep one")
        try:
            dump = found[0].read_bytes()
        except OSError as error:
            raise InputError(f"{found[0]}: cannot be read ({error.strerror})") from error
        profiles.append(summarise(name, read_trace(dump, where=str(found[0]))))
    if not profiles:
        raise InputError(
            f"{folder}: no .etdp file of a {CONDITIONER}, {DIT} or decoder part; make them with "
            "arcmobile-run --etdump PREFIX"
        )
    return tuple(profiles)


def _dumps(folder: Path) -> dict[str, list[Path]]:
    """The traces in a folder by component, in the order in which a generation runs them."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob(f"*{_DUMP}")):
        found[path.stem.rpartition(".")[2]].append(path)
    parts = [name for name in found if stage_of(name) != name]
    parts.sort(key=lambda name: (len(name), name))  # decoder_10 after decoder_9
    return {name: found[name] for name in (CONDITIONER, DIT, *parts) if name in found}


def summarise(component: str, runs: Sequence[Run]) -> OperatorProfile:
    """Summarize the median run by operator; the first run is left out where there are more.

    All figures are of one run, so they add up to its total. Calls of the same kind are summed.
    """
    ranked = sorted(runs[1:] or runs, key=lambda run: run.total)
    run = ranked[(len(ranked) - 1) // 2]
    seconds: dict[tuple[str, bool], float] = defaultdict(float)
    calls: dict[tuple[str, bool], int] = defaultdict(int)
    for call in run.calls:
        kind = _NUMBER.sub("", call.name), call.delegated
        seconds[kind] += call.seconds
        calls[kind] += 1
    inside = sum(time for (_, delegated), time in seconds.items() if delegated)
    outside = sum(time for (_, delegated), time in seconds.items() if not delegated)
    if run.delegate_calls:
        split = any(delegated for _, delegated in seconds)
        rest = (INSIDE_REST if split else _UNSPLIT), True
        seconds[rest] = max(0.0, run.delegate - inside)
        calls[rest] = run.delegate_calls
    seconds[OUTSIDE_REST, False] = max(0.0, run.total - run.delegate - outside)
    calls[OUTSIDE_REST, False] = 1
    operators = (
        OperatorTime(name=name, seconds=time, calls=calls[name, delegated], delegated=delegated)
        for (name, delegated), time in seconds.items()
    )
    return OperatorProfile(
        component=component,
        total=run.total,
        delegated=run.delegate,
        operators=tuple(sorted(operators, key=lambda one: -one.seconds)),
    )


def read_trace(dump: bytes, *, where: str) -> list[Run]:
    """Return the runs in an ETDump, in order; ``where`` names it in errors.

    Raises:
        InputError: it is not an ETDump, or holds no run.
    """
    from executorch.devtools.inspector import Inspector, TimeScale

    # Checked here because the reader behind the devtools complains on standard output.
    if dump[8:12] != _IDENTIFIER or len(dump) != int.from_bytes(dump[:4], "little") + 4:
        raise InputError(f"{where}: not an ETDump, or cut short; record it again")
    try:
        with warnings.catch_warnings(), native_log():
            warnings.simplefilter("ignore")
            inspector = Inspector(etdump_data=dump, target_time_scale=TimeScale.S)
    except Exception as error:
        # Of the reader, of JSON, of the devtools' own checks: anything.
        kind = type(error).__name__
        raise InputError(
            f"{where}: ExecuTorch's devtools cannot read this trace ({kind}); record it again with "
            "the ExecuTorch that is installed here"
        ) from error
    runs = [run for block in inspector.event_blocks for run in _runs(block.events)]
    if not runs:
        raise InputError(f"{where}: holds no run; record it again")
    return runs


def _runs(events: Iterable[Any]) -> list[Run]:
    """The runs of an Inspector's event block, in which every event has one time per run."""
    timed = [event for event in events if event.perf_data is not None]
    totals: list[float] = next((e.perf_data.raw for e in timed if e.name == _RUN), [])
    kernels = any(event.name.startswith(_KERNEL) for event in timed)
    runs = []
    for index, total in enumerate(totals):
        delegates, calls = [], []
        for event in timed:
            name, seconds = event.name, max(0.0, event.perf_data.raw[index])
            if event.is_delegated_op:
                calls.append(Call(name, seconds, delegated=True))
            elif name == _DELEGATE:
                delegates.append(seconds)
            elif name.startswith(_KERNEL):
                calls.append(Call(name.removeprefix(_KERNEL), seconds, delegated=False))
            elif name == _OPERATOR and not kernels:
                calls.append(Call("an operator without a name", seconds, delegated=False))
        runs.append(Run(total, sum(delegates), len(delegates), tuple(calls)))
    return runs


class _Recorder(Engine):
    """An engine that runs another one and keeps the first inputs of each component, in order."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.manifest)
        self._engine = engine
        self.inputs: dict[str, tuple[Entry, list[Array]]] = {}

    def _load(self, component: str) -> None:
        self._engine.load(component)

    def _prepare(self, component: str, entry: Entry) -> None:
        self._engine.load(component, entry.name)

    def _unload(self, component: str) -> None:
        self._engine.unload(component)

    def _run(self, component: str, entry: Entry, inputs: Sequence[Array]) -> Sequence[Array]:
        if component not in self.inputs:
            self.inputs[component] = entry, [array.copy() for array in inputs]
        names = (spec.name for spec in entry.inputs)
        outputs = self._engine.run(component, entry.name, dict(zip(names, inputs, strict=True)))
        return list(outputs.values())


def _record_inputs(
    bundle: Bundle, request: GenerationRequest, threads: int | None
) -> Mapping[str, tuple[Entry, list[Array]]]:
    """Generate with one step, up to the first chunk of sound; keep each component's inputs."""
    from arcmobile.runtime.generate import Pipeline
    from arcmobile.runtime.tokenizer import PromptTokenizer

    recorder = _Recorder(open_engine(bundle, EngineOptions(threads)))
    tokenizer = PromptTokenizer.from_bundle(bundle)
    last = bundle.manifest.windowing.decoder[-1].component
    with (
        Pipeline(recorder, bundle.manifest, tokenizer, low_memory=True) as pipeline,
        contextlib.suppress(Cancelled),
    ):
        pipeline.generate(request, cancelled=lambda: last in recorder.inputs)
    return recorder.inputs


def _trace(
    bundle: Bundle, component: Component, entry: Entry, inputs: Sequence[Array], runs: int
) -> bytes:
    """Return the ETDump of some runs of an entry; the thread pool stays as the engine left it.

    Raises:
        EngineError: ExecuTorch refuses the program.
    """
    import torch
    from executorch.runtime import Runtime

    path = bundle.file(component)
    with native_log() as log, tempfile.TemporaryDirectory(prefix="arcmobile-") as folder:
        try:
            program = Runtime.get().load_program(path, enable_etdump=True)
            method = program.load_method(entry.name)
            if method is None:
                raise EngineError(f"{path}: has no method {entry.name!r}; export the bundle again")
            for _ in range(runs):
                method.execute([torch.from_numpy(array) for array in inputs])
            dump, buffer = Path(folder) / "trace.etdp", Path(folder) / "buffer"
            program.write_etdump_result_to_file(str(dump), str(buffer))
            return dump.read_bytes()
        except (RuntimeError, OSError) as error:
            raise EngineError(
                f"{path}: cannot be traced ({log() or one_line(error)}); export the bundle again"
            ) from error
