"""Several exports of one random checkpoint, measured side by side on this machine.

Speed, memory and size do not depend on what the weights have learned. Each export and each run is a
process of its own, so that its peak memory is its own. Figures from a shared machine are good as
ratios, not as seconds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arcmobile.bench.measure import DEFAULT_PROMPT, Protocol, Report, measure_in_turns
from arcmobile.bench.result import BenchResult, ProcessFigures
from arcmobile.bench.targets.base import RunnerKind, TargetOptions
from arcmobile.bench.targets.host import HostTarget
from arcmobile.runtime.bundle import MANIFEST_NAME, Bundle
from arcmobile.runtime.errors import ArcMobileError, InputError
from arcmobile.runtime.request import GenerationRequest
from arcmobile.runtime.whole_output import check_file

PRESET: Final = "sao-small"
_SEED: Final = 1

Say = Callable[[str], None]


@dataclass(frozen=True)
class Variant:
    """One way to export and run the model.

    ``whole_decode`` decodes all frames in one window, so that nothing is computed twice.
    """

    backend: str
    recipe: str
    runner: RunnerKind
    whole_decode: bool = False

    @property
    def name(self) -> str:
        """Its part of file names."""
        return f"{self.backend}-{self.recipe}"


PUBLISHED: Final = Variant("litert", "published", "python", whole_decode=True)
"""The mobile recipe that Arm and Google AI Edge published in 2026 for LiteRT with XNNPACK.

Text encoder and decoder in float32, DiT with int8 weights and dynamic int8 activations, decoded in
one piece. Exported from the same networks as the others, so that recipe, backend and windows are
all that differs.
"""
CONTENDERS: Final = (
    PUBLISHED,
    Variant("executorch", "mobile", "native"),
    Variant("onnx", "mobile", "python"),
)


@dataclass(frozen=True)
class Workplace:
    """The folder of checkpoint, bundles, logs and results; ``say`` is called before each export."""

    folder: Path
    preset: str = PRESET
    say: Say = lambda line: None

    @property
    def checkpoint(self) -> Path:
        """The random checkpoint of the preset."""
        return self.folder / self.preset

    def bundle(self, variant: Variant) -> Path:
        """Return the bundle folder of a variant."""
        return self.folder / f"{self.preset}-{variant.name}"

    def result(self, variant: Variant) -> Path:
        """Return the result file of a variant."""
        return self.folder / f"{self.preset}-{variant.name}.json"

    def prepare(self, variants: Sequence[Variant], *, overwrite: bool) -> None:
        """Make folder and checkpoint.

        Raises:
            OutputError: the folder cannot be written, or holds results that may not be replaced.
            ArcMobileError: the checkpoint could not be made.
        """
        for variant in variants:
            check_file(self.result(variant), overwrite=overwrite, option="--out")
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.checkpoint / "model_config.json").is_file():
            self.say(f"making the random {self.preset} checkpoint")
            words = ["checkpoint", "init", "--preset", self.preset, "--seed", "0"]
            run_arcmobile([*words, "--out", str(self.checkpoint)], self.folder / "init.log")

    def export(self, variant: Variant) -> ProcessFigures:
        """Export a variant in a process of its own.

        Raises:
            ArcMobileError: the export failed; the message is its last line.
        """
        folder = self.bundle(variant)
        log = self.folder / f"{folder.name}-export.log"
        self.say(f"{folder.name}: export (log: {log})")
        words = ["export", str(self.checkpoint), "--backend", variant.backend]
        words += ["--recipe", variant.recipe, "--out", str(folder), "--overwrite"]
        if variant.whole_decode:
            words += ["--window", "0"]
        return run_arcmobile(words, log)


def run_full_size(
    place: Workplace,
    variants: Sequence[Variant],
    *,
    keep: bool = False,
    overwrite: bool = False,
    report: Report = lambda progress: None,
) -> tuple[list[BenchResult], dict[str, str]]:
    """Export each variant anew and generate its longest sound once.

    Args:
        place: the folder to work in.
        variants: what to export, one after the other.
        keep: keep the bundles; otherwise each is removed after its turn.
        overwrite: replace results that are there.
        report: called before every run.

    Returns:
        The results, which are also written, and by variant why there is none.

    Raises:
        OutputError: the folder cannot be written, or holds results that may not be replaced.
    """
    place.prepare(variants, overwrite=overwrite)
    results, failures = [], {}
    for variant in variants:
        try:
            exported = place.export(variant)
            bundle = Bundle.open(place.bundle(variant))
            (result,) = _measured([(variant, bundle)], Protocol(_threads(), 0, 1, 0), report)
        except ArcMobileError as error:
            failures[variant.name] = str(error)
        else:
            results.append(result.model_copy(update={"export": exported}))
            results[-1].write(place.result(variant), overwrite=True)
        finally:
            if not keep:
                shutil.rmtree(place.bundle(variant), ignore_errors=True)
    return results, failures


def run_baseline(
    place: Workplace,
    variants: Sequence[Variant] = CONTENDERS,
    *,
    threads: int | None = None,
    repeats: int = 5,
    overwrite: bool = False,
    report: Report = lambda progress: None,
) -> list[BenchResult]:
    """Export what is not there yet, then run the variants in turns.

    Bundles stay in the folder for the next time. One run of each warms up; another variant begins
    each round.

    Args:
        place: the folder to work in.
        variants: what to compare, the reference first.
        threads: of every run; ``None`` for all CPUs.
        repeats: rounds that count.
        overwrite: replace results that are there.
        report: called before every run.

    Returns:
        The results in the order of ``variants``, which are also written.

    Raises:
        ArcMobileError: an export or a run failed, or results may not be replaced.
    """
    place.prepare(variants, overwrite=overwrite)
    exports = []
    for variant in variants:
        there = (place.bundle(variant) / MANIFEST_NAME).is_file()
        exports.append(_earlier_export(place, variant) if there else place.export(variant))
    contenders = [(variant, Bundle.open(place.bundle(variant))) for variant in variants]
    protocol = Protocol((threads,) if threads else _threads(), 1, repeats, 0)
    measured = _measured(contenders, protocol, report)
    results = [
        one.model_copy(update={"export": export})
        for one, export in zip(measured, exports, strict=True)
    ]
    for variant, result in zip(variants, results, strict=True):
        result.write(place.result(variant), overwrite=True)
    return results


def _threads() -> tuple[int]:
    from arcmobile.runtime.engine import available_cpus

    return (available_cpus(),)


def _measured(
    contenders: Sequence[tuple[Variant, Bundle]], protocol: Protocol, report: Report
) -> list[BenchResult]:
    request = GenerationRequest(DEFAULT_PROMPT, seed=_SEED)
    pairs = [
        (HostTarget(TargetOptions(runner=variant.runner)), bundle) for variant, bundle in contenders
    ]
    return measure_in_turns(pairs, request, protocol, report=report)


def _earlier_export(place: Workplace, variant: Variant) -> ProcessFigures | None:
    """Figures of the export that made the bundle, from the result of an earlier run."""
    try:
        earlier = BenchResult.read(place.result(variant))
    except InputError:  # there is none, or it is about to be replaced
        return None
    same = earlier.bundle.digest == Bundle.open(place.bundle(variant)).digest
    return earlier.export if same else None


def run_arcmobile(arguments: Sequence[str], log: Path) -> ProcessFigures:
    """Run ``arcmobile ARGUMENTS`` in a fresh process, its output in ``log``.

    Raises:
        ArcMobileError: it failed; the message is its last line.
    """
    start = time.perf_counter()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "arcmobile.cli", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        with _killed_on_error(process):
            _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1] if lines else "no output"
        raise ArcMobileError(f"arcmobile {arguments[0]} failed: {last} (see {log})")
    scale = 1 if sys.platform == "darwin" else 1024
    seconds = time.perf_counter() - start
    return ProcessFigures(seconds=seconds, peak_bytes=usage.ru_maxrss * scale)


@contextmanager
def _killed_on_error(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise
