"""`bench fullsize` and `bench baseline` on the tiny preset; figures are not judged here."""

from __future__ import annotations

import shutil

import pytest
from rich.console import Console
from rich.table import Table

from arcmobile.bench.full_size import Variant, Workplace, run_baseline, run_full_size
from arcmobile.bench.report import render
from arcmobile.bench.result import BenchResult
from arcmobile.cli.bench_tables import ratio_table, results_table
from arcmobile.runtime.errors import OutputError

ONNX = Variant("onnx", "fp32", "python")
COPY = Variant("onnx", "copy", "python")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("full-size"), preset="tiny")


@pytest.fixture(scope="module")
def exported(place: Workplace) -> BenchResult:
    variants = [ONNX, Variant("no-such", "fp32", "python")]
    results, failures = run_full_size(place, variants, keep=True)
    assert list(failures) == ["no-such-fp32"]
    assert "no-such" in failures["no-such-fp32"]
    (result,) = results
    assert result == BenchResult.read(place.result(ONNX))
    return result


def rows(table: Table) -> list[str]:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return [line for line in captured.get().splitlines() if line.startswith("|")]


def test_a_backend_is_exported_and_run_and_failures_are_named(exported: BenchResult) -> None:
    assert exported.export is not None
    assert exported.export.seconds > 0
    assert exported.export.peak_bytes > 1 << 20
    (measurement,) = exported.measurements
    assert (measurement.repeats, measurement.stages["dit"].calls) == (1, 8)
    header, rule, row = rows(results_table([exported]))
    assert header.count("|") == rule.count("|") == row.count("|")
    assert row.startswith("| onnx, fp32, python runner")
    assert "<dt>export</dt>" in render([exported])


def test_bundles_that_are_there_are_run_in_turns(exported: BenchResult, place: Workplace) -> None:
    shutil.copytree(place.bundle(ONNX), place.bundle(COPY))
    runs: list[str] = []
    results = run_baseline(
        place,
        [ONNX, COPY],
        threads=1,
        repeats=3,
        overwrite=True,
        report=lambda progress: runs.append(progress.doing.partition(":")[0]),
    )
    assert runs[4:10] == [
        *("tiny-onnx-fp32", "tiny-onnx-copy"),
        *("tiny-onnx-copy", "tiny-onnx-fp32"),
        *("tiny-onnx-fp32", "tiny-onnx-copy"),
    ]
    assert [BenchResult.read(place.result(variant)) for variant in (ONNX, COPY)] == results
    assert [result.export for result in results] == [exported.export, None]
    assert [one.repeats for result in results for one in result.measurements] == [3, 3]
    table = rows(ratio_table(results))
    assert table[0].startswith("| ratio to onnx, fp32")
    assert {line.split("|")[1].strip() for line in table} >= {"total", "DiT", "peak memory"}
    assert [line.split("|")[2].strip() for line in table if "bundle size" in line] == ["1.00x"]


def test_results_are_replaced_only_when_asked(exported: BenchResult, place: Workplace) -> None:
    before = place.result(ONNX).read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        run_full_size(place, [ONNX])
    assert place.result(ONNX).read_bytes() == before
