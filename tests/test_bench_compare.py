"""`arcmobile bench compare`: ratios, their noise, verdicts, and the exit code."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from arcmobile.bench.compare import compare, ratio_bounds
from arcmobile.bench.result import (
    BenchResult,
    BundleFacts,
    Environment,
    Figure,
    InstructionProfile,
    Measurement,
    RequestFacts,
    RunnerFacts,
    StageFigures,
    StageInstructions,
)
from arcmobile.cli.main import app
from arcmobile.runtime.errors import InputError

STEADY = (1.00, 1.01, 0.99, 1.02, 1.00)


def figure(values: Sequence[float], factor: float = 1.0) -> Figure:
    return Figure(values=tuple(value * factor for value in values))


def measurement(times: Sequence[float], threads: int = 1, peak: float = 40e6) -> Measurement:
    stage = StageFigures(
        load=figure(times, 0.1), compute=figure(times, 0.2), call=figure(times, 0.1), calls=2
    )
    return Measurement(
        threads=threads,
        warmups=1,
        repeats=len(times),
        stages={"conditioner": stage, "dit": stage, "decoder": stage},
        total=figure(times),
        compute=figure(times, 0.6),
        first_audio=figure(times, 0.9),
        load_warm=figure(times, 0.3),
        load_cold=figure(times, 0.5),
        peak_bytes=Figure(values=(peak,) * len(times)),
        audio_seconds=1.5,
    )


def result(*measurements: Measurement, **changes: dict[str, Any]) -> BenchResult:
    made = BenchResult(
        created="2025-01-01T00:00:00+00:00",
        arcmobile="0.1.0",
        runner=RunnerFacts(kind="native"),
        bundle=BundleFacts(
            **{"name": "b", "model_id": "m", "recipe": "mobile", "backend": "executorch"},
            **{"bytes": 1000, "digest": "0" * 64, "component_bytes": {"dit": 1000}},
            **{"precision": {}, "snr_db": {}},
        ),
        request=RequestFacts(prompt="rain", seconds=1.5, steps=2, seed=1, frames=32),
        environment=Environment(
            target="host", device="d", cpu="c", architecture="aarch64", cores=4
        ),
        measurements=measurements,
    )
    for part, fields in changes.items():
        changed = getattr(made, part).model_copy(update=fields)
        made = made.model_copy(update={part: changed})
    return made


def counted(made: BenchResult, dit: int) -> BenchResult:
    stages = {
        "start": StageInstructions(total=100, classes={"other": 100}),
        "dit": StageInstructions(total=dit, classes={"sdot": dit}),
    }
    profile = InstructionProfile(cpu="neoverse-n1", stages=stages)
    return made.model_copy(update={"instructions": (profile,)})


def verdicts(a: BenchResult, b: BenchResult, **options: Any) -> dict[str, str]:
    return {row.name: row.verdict for row in compare(a, b, **options).rows}


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "same"), (1.03, "same"), (1.2, "slower"), (0.8, "faster")]
)
def test_verdicts(factor: float, verdict: str) -> None:
    a, b = result(measurement(STEADY)), result(measurement([t * factor for t in STEADY]))
    comparison = compare(a, b)
    named = {row.name: row for row in comparison.rows}
    total = named["total"]
    assert total.ratio == pytest.approx(factor)
    assert total.low is not None
    assert total.high is not None
    assert total.low <= factor <= total.high
    timed = [*("conditioner", "dit", "decoder", "load, warm", "first audio", "total")]
    assert {named[name].verdict for name in timed} == {verdict}
    assert {named[name].verdict for name in ("peak memory", "bundle size")} == {"same"}
    assert [row.name for row in comparison.regressions] == (timed if verdict == "slower" else [])


def test_a_change_within_the_noise_is_none() -> None:
    a = result(measurement((1.0, 1.6, 0.8, 1.3, 0.9)))
    b = result(measurement((1.2, 0.9, 1.7, 1.4, 1.0)))
    row = next(row for row in compare(a, b).rows if row.name == "total")
    assert row.ratio == pytest.approx(1.2)
    assert row.verdict == "same"
    assert verdicts(a, b, threshold=0.0)["total"] == "same"


def test_bounds_hold_the_truth_and_repeat() -> None:
    draw = random.Random(3)
    held = 0
    for _ in range(40):
        a = [draw.gauss(1.0, 0.05) for _ in range(9)]
        b = [draw.gauss(1.3, 0.05) for _ in range(9)]
        bounds = ratio_bounds(a, b)
        assert bounds is not None
        assert bounds == ratio_bounds(a, b)
        held += bounds[0] <= 1.3 <= bounds[1]
    assert 34 <= held <= 40  # of 95 % intervals; those of few values hold a little less


def test_few_repeats_have_wide_bounds_and_fewer_have_none() -> None:
    three = compare(result(measurement((1.0, 1.1, 0.9))), result(measurement((1.1, 1.2, 1.0))))
    total = next(row for row in three.rows if row.name == "total")
    assert (total.low, total.high) == (pytest.approx(1.0 / 1.1), pytest.approx(1.2 / 0.9))
    assert any("bounds are wide" in note for note in three.notes)
    two = compare(result(measurement((1.0, 1.1))), result(measurement((2.0, 2.1))))
    assert {row.verdict for row in two.rows if row.unit == "seconds"} == {"unclear"}
    assert two.regressions == ()
    assert any("too few" in note for note in two.notes)


def test_memory_size_and_thread_counts() -> None:
    a = result(measurement(STEADY, 1), measurement(STEADY, 2), measurement(STEADY, 4))
    b = result(
        *(measurement(STEADY, 4, peak=60e6), measurement(STEADY, 1), measurement(STEADY, 8)),
        bundle={"bytes": 2000},
    )
    comparison = compare(a, b)
    assert {row.threads for row in comparison.rows} == {1, 4, None}
    assert [(row.name, row.threads) for row in comparison.regressions] == [
        ("peak memory", 4),
        ("bundle size", None),
    ]
    assert any("left out: 2, 8" in note for note in comparison.notes)
    with pytest.raises(InputError, match="no thread count in common"):
        compare(result(measurement(STEADY, 1)), result(measurement(STEADY, 2)))


def test_instruction_counts_decide_under_emulation() -> None:
    emulated = {"target": "qemu", "emulated": True}
    a = counted(result(measurement(STEADY), environment=emulated), 10_000)
    slower = result(measurement([2 * t for t in STEADY]), environment=emulated)
    assert compare(a, counted(slower, 10_000)).regressions == ()
    worse = compare(a, counted(slower, 12_000)).regressions
    assert [row.name for row in worse] == ["instructions, neoverse-n1"]
    assert worse[0].ratio == pytest.approx(12_100 / 10_100)
    assert compare(a.model_copy(update={"instructions": ()}), slower).regressions != ()


def test_what_was_not_clean_is_said() -> None:
    hot = measurement(STEADY).model_copy(update={"clean": False})
    assert any("B, 1 thread: not clean" in n for n in compare(result(hot), result(hot)).notes)


@pytest.mark.parametrize(
    ("part", "change", "name"),
    [
        ("request", {"prompt": "wind"}, "prompt: 'rain' and 'wind'"),
        ("request", {"steps": 8}, "steps: 2 and 8"),
        ("request", {"seconds": 2.0}, "seconds"),
        ("environment", {"target": "adb"}, "target: 'host' and 'adb'"),
        ("environment", {"cpu": "x"}, "CPU"),
        ("runner", {"kind": "python"}, "runner: 'native' and 'python'"),
        ("bundle", {"model_id": "n"}, "model: 'm' and 'n'"),
    ],
)
def test_unlike_runs(part: str, change: dict[str, Any], name: str) -> None:
    a, b = result(measurement(STEADY)), result(measurement(STEADY), **{part: change})
    with pytest.raises(InputError, match="unlike runs") as caught:
        compare(a, b)
    assert name in str(caught.value)
    assert any(name in note for note in compare(a, b, allow_unlike=True).notes)


def test_recipes_may_differ() -> None:
    a = result(measurement(STEADY))
    b = result(measurement(STEADY), bundle={"recipe": "fp32", "digest": "1" * 64, "name": "c"})
    assert compare(a, b).regressions == ()


# --- the command --------------------------------------------------------------------------------


def bench_compare(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", "compare", *map(str, arguments)])


def test_exit_codes_table_and_json(tmp_path: Path) -> None:
    slow = [2 * t for t in STEADY]
    for name, times in (("a", STEADY), ("b", slow)):
        result(measurement(times)).write(tmp_path / f"{name}.json")
    same = bench_compare(tmp_path / "a.json", tmp_path / "a.json")
    assert same.exit_code == 0, same.output
    assert "nothing is worse" in same.stdout
    worse = bench_compare(tmp_path / "a.json", tmp_path / "b.json")
    assert worse.exit_code == 1
    assert "worse beyond 5%" in worse.stdout
    tolerant = bench_compare(tmp_path / "a.json", tmp_path / "b.json", "--threshold", "150%")
    assert tolerant.exit_code == 0
    machine = bench_compare(tmp_path / "a.json", tmp_path / "b.json", "--json")
    assert machine.exit_code == 1
    document = json.loads(machine.stdout)
    assert document["regressed"] is True
    total = next(row for row in document["rows"] if row["name"] == "total")
    assert (total["ratio"], total["verdict"]) == (pytest.approx(2.0), "slower")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["cannot be read"]),
        ("", ["not a result"]),
        ('{"result_version": 9}', ["not a result", "measure again"]),
        ("\x00\x01", ["not a result"]),
        ("cut", ["not a result"]),
    ],
)
def test_corrupted_results(tmp_path: Path, text: str | None, words: list[str]) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    result(measurement(STEADY)).write(good)
    if text is not None:
        bad.write_text(good.read_text()[:-50] if text == "cut" else text)
    for arguments in ((good, bad), (bad, good)):
        got = bench_compare(*arguments)
        assert got.exit_code == 2
        assert got.stderr.startswith(f"error: {bad}")
        assert got.stderr.count("\n") == 1
        assert all(word in got.stderr for word in words)


@pytest.mark.parametrize("threshold", ["x", "-1%", "nan", "inf", ""])
def test_threshold_is_checked(tmp_path: Path, threshold: str) -> None:
    result(measurement(STEADY)).write(tmp_path / "a.json")
    got = bench_compare(tmp_path / "a.json", tmp_path / "a.json", f"--threshold={threshold}")
    assert got.exit_code == 2
    assert "--threshold" in got.stderr
