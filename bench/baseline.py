"""Ours against the recipe that is published for this model, in turns on the same machine.

The published mobile recipe (Arm and Google AI Edge, 2026) is LiteRT with XNNPACK, a float32 text
encoder and decoder, and a DiT with int8 weights and dynamic int8 activations; it decodes in one
piece. It is exported here like our own, so that nothing but the recipe, the backend and the windows
differs. Every figure is a ratio to it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from pydantic import TypeAdapter

from arcmobile.bench.emulated_cpu import DEFAULT_CPU
from arcmobile.bench.fullsize import PRESET, ProcessFigures, describe_machine, run_process
from arcmobile.bench.measure import DEFAULT_PROMPT
from arcmobile.bench.records import read_record
from arcmobile.bench.result import BenchResult
from arcmobile.bench.runner_stats import PythonStats
from arcmobile.bench.targets.base import RunRequest, TargetOptions
from arcmobile.bench.targets.host import HostTarget
from arcmobile.runtime.bundle import MANIFEST_NAME, Bundle
from arcmobile.runtime.engine import available_cpus
from arcmobile.runtime.request import longest_seconds
from arcmobile.runtime.tensors import DECODER, DIT
from arcmobile.runtime.whole_output import check_file, write_whole_text

RESULT_VERSION: Final = 2
RESULTS: Final = "baseline.json"
_SEED: Final = 1

Report = Callable[[str], None]
Figure = Callable[[PythonStats], float]


@dataclass(frozen=True)
class Contender:
    """One way to run the model: ``runner`` is ``native`` or ``python``."""

    name: str
    backend: str
    recipe: str
    runner: str
    whole_decode: bool = False  # one window over all frames: nothing is decoded twice


# Our recipe on the Arm cores that it is made for, and float32 on those that have nothing else.
NEON: Final = "neoverse-n1"
I8MM: Final = DEFAULT_CPU
_COUNTED: Final = {NEON: "fp32", I8MM: "mobile"}
_COUNTED_SECONDS: Final = 4.0  # of sound: windows of the decoder's parts in about their proportion
_GPU_BATCH: Final = 6  # sounds; the first compiles

PUBLISHED: Final = Contender("published recipe", "litert", "published", "python", True)
EXECUTORCH: Final = Contender("ExecuTorch", "executorch", "mobile", "native")
ONNX: Final = Contender("ONNX Runtime", "onnx", "mobile", "python")
CONTENDERS: Final = (PUBLISHED, EXECUTORCH, ONNX)

FIGURES: Final[Mapping[str, Figure]] = {
    "end to end": lambda stats: stats.total_seconds,
    "DiT step": lambda stats: median(stats.dit_step_seconds),
    "decoder": lambda stats: sum(stats.decode_window_seconds),
    "first audio": lambda stats: stats.first_audio_seconds,
    "peak memory": lambda stats: float(stats.peak_bytes),
}


@dataclass
class BaselineResult:
    """What was measured; what was not is empty or None.

    Attributes:
        machine: name, architecture and cores of the CPU.
        threads: of every run.
        exports: by contender: its export process.
        figures: by contender and figure: seconds or bytes, in the order of the runs.
        snr_db: of ``audio`` and of the ``last latent`` against float32, under our recipe.
        instructions: by emulated CPU and stage: of one DiT step, of decoding some seconds.
        gpu_seconds: the PyTorch engine on a CUDA GPU, half precision, compiled: a whole sound.
    """

    machine: dict[str, str | int]
    threads: int
    exports: dict[str, ProcessFigures] = field(default_factory=dict)
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    snr_db: dict[str, float] = field(default_factory=dict)
    instructions: dict[str, dict[str, int]] = field(default_factory=dict)
    gpu_seconds: float | None = None

    def median(self, contender: Contender, figure: str) -> float:
        return median(self.figures[contender.name][figure])

    def to_json(self) -> dict[str, Any]:
        return {"result_version": RESULT_VERSION, **asdict(self)}


def run_baseline(
    out: Path,
    *,
    preset: str = PRESET,
    threads: int | None = None,
    repeats: int = 5,
    contenders: Sequence[Contender] = CONTENDERS,
    instructions: bool = False,
    overwrite: bool = False,
    report: Report = lambda line: None,
) -> BaselineResult:
    """Exports what is not there yet, then runs the contenders in turns.

    Bundles stay in ``out`` and are taken as they are the next time. One run of each warms up; the
    first contender of a turn is another one each time. With ``instructions`` our recipe and float32
    are also counted on emulated Arm cores; counts do not change and stay beside the bundles.

    Raises:
        ArcMobileError: an export or a run failed.
    """
    check_file(out / RESULTS, overwrite=overwrite, option="--out")
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / preset
    if not (checkpoint / "model_config.json").is_file():
        report(f"making the random {preset} checkpoint")
        words = ["checkpoint", "init", "--preset", preset, "--seed", "0", "--out", str(checkpoint)]
        run_process(words, out / "init.log")
    result = BaselineResult(describe_machine(), threads or available_cpus())
    bundles = [_bundle(out, checkpoint, one, result, report) for one in contenders]
    for contender in contenders:
        result.figures[contender.name] = {name: [] for name in FIGURES}
    with ExitStack() as stack:
        targets = []
        for contender, bundle in zip(contenders, bundles, strict=True):
            target = stack.enter_context(HostTarget(TargetOptions(runner=contender.runner)))
            target.prepare(bundle)
            targets.append(target)
        steps = bundles[0].manifest.schedule.default_steps
        request = RunRequest(DEFAULT_PROMPT, None, steps, _SEED, result.threads)
        for turn in range(repeats + 1):
            for index in range(len(contenders)):
                place = (index + turn) % len(contenders)
                name = contenders[place].name
                report(f"{name}: {f'run {turn} of {repeats}' if turn else 'warm-up'}")
                stats = targets[place].run(request).stats
                if turn:
                    for figure, read in FIGURES.items():
                        result.figures[name][figure].append(read(stats))
    result.snr_db = _snr(out, checkpoint, report)
    result.instructions = _instructions(out, checkpoint, result, report, run=instructions)
    result.gpu_seconds = _gpu_seconds(out, checkpoint, report)
    write_whole_text(out / RESULTS, json.dumps(result.to_json(), indent=1) + "\n", overwrite=True)
    return result


def _folder(out: Path, checkpoint: Path, one: Contender) -> Path:
    return out / f"{checkpoint.name}-{one.backend}-{one.recipe}"


def _bundle(
    out: Path, checkpoint: Path, one: Contender, result: BaselineResult, report: Report
) -> Bundle:
    folder = _folder(out, checkpoint, one)
    note = out / f"{folder.name}-export.json"
    if not (folder / MANIFEST_NAME).is_file():
        report(f"{one.name}: export (log: {folder}-export.log)")
        words = ["export", str(checkpoint), "--backend", one.backend, "--recipe", one.recipe]
        if one.whole_decode:
            words += ["--window", "0"]
        done = run_process([*words, "--out", str(folder)], out / f"{folder.name}-export.log")
        write_whole_text(note, json.dumps(vars(done)) + "\n", overwrite=True)
    if note.is_file():
        result.exports[one.name] = read_record(
            note,
            TypeAdapter(ProcessFigures),
            what="the figures of an export",
            way_out="remove it and the bundle beside it",
        )
    return Bundle.open(folder)


def _snr(out: Path, checkpoint: Path, report: Report) -> dict[str, float]:
    """What our recipe does to the sound, by ``arcmobile quant report``."""
    report("quality of the recipe against float32")
    folder = out / "quality"
    words = ["quant", "report", str(checkpoint), "--recipes", EXECUTORCH.recipe]
    words += ["--no-sensitivity", "--out", str(folder), "--overwrite"]
    run_process(words, out / "quality.log")
    text = (folder / "report.json").read_text(encoding="utf-8")
    measured = json.loads(text)["recipes"][EXECUTORCH.recipe]
    return {"audio": measured["audio_snr_db"], "last latent": measured["state_snr_db"][-1]}


def _instructions(
    out: Path, checkpoint: Path, result: BaselineResult, report: Report, *, run: bool
) -> dict[str, dict[str, int]]:
    """Instructions by CPU and stage; counted where ``run`` says so, else those found in ``out``."""
    counts: dict[str, dict[str, int]] = {}
    for cpu, recipe in _COUNTED.items():
        contender = Contender(f"ExecuTorch {recipe}", EXECUTORCH.backend, recipe, "native")
        if not run and not (_folder(out, checkpoint, contender) / MANIFEST_NAME).is_file():
            continue
        bundle = _bundle(out, checkpoint, contender, result, report)
        file = out / f"instructions-{recipe}-{bundle.digest[:12]}.json"
        if run and not file.is_file():
            report(f"counting instructions of {recipe} on {cpu}, emulated: takes long")
            seconds = min(_COUNTED_SECONDS, longest_seconds(bundle.manifest))
            words = ["bench", "instructions", "--bundle", str(bundle.folder), "--cpu", cpu]
            words += ["--steps", "1", "--seconds", str(seconds), "--timeout", "7200"]
            run_process([*words, "--out", str(file)], out / f"instructions-{recipe}.log")
        if file.is_file():
            (profile,) = BenchResult.read(file).instructions
            counts[cpu] = {stage: profile.stages[stage].total for stage in (DIT, DECODER)}
    return counts


def _gpu_seconds(out: Path, checkpoint: Path, report: Report) -> float | None:
    """Median seconds of a sound by the PyTorch engine on a GPU; None where there is no GPU."""
    if shutil.which("nvidia-smi") is None:
        return None
    report("PyTorch on the GPU")
    records = out / "gpu.json"
    words = ["generate", DEFAULT_PROMPT, "--checkpoint", str(checkpoint), "--device", "cuda"]
    words += ["--half", "--compile", "--batch", str(_GPU_BATCH), "--seed", "1", "--overwrite"]
    words += ["--out", str(out / "gpu"), "--stats-json", str(records)]
    run_process(words, out / "gpu.log")
    sounds = json.loads(records.read_text(encoding="utf-8"))
    return median(sound["compute_seconds"] for sound in sounds[1:])
