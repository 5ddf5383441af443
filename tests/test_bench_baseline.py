"""The comparison with the published recipe: which goals count as met."""

from __future__ import annotations

import json

import pytest

from arcmobile.bench.baseline import (
    EXECUTORCH,
    FIGURES,
    I8MM,
    NEON,
    ONNX,
    PUBLISHED,
    BaselineResult,
)
from arcmobile.bench.fullsize import ProcessFigures
from arcmobile.bench.goals import rows


def result(**executorch: float) -> BaselineResult:
    """Published: 10 s, 1 s a step, 4 s of decoding; ONNX twice as slow; ExecuTorch as given."""
    published = dict(zip(FIGURES, (10.0, 1.0, 4.0, 7.0, 1e9), strict=True))
    ours = dict(zip(FIGURES, (5.0, 0.8, 1.0, 2.0, 6e8), strict=True)) | {
        name.replace("_", " "): value for name, value in executorch.items()
    }
    return BaselineResult(
        {"cpu": "some", "architecture": "x86_64", "cores": 2},
        threads=2,
        exports={EXECUTORCH.name: ProcessFigures(seconds=240.0, peak_bytes=5_000_000_000)},
        figures={
            PUBLISHED.name: {name: [value] * 3 for name, value in published.items()},
            EXECUTORCH.name: {name: [value] * 3 for name, value in ours.items()},
            ONNX.name: {name: [2 * value] * 3 for name, value in published.items()},
        },
        snr_db={"audio": 25.5, "last latent": 28.0},
        instructions={NEON: {"dit": 100, "decoder": 1000}, I8MM: {"dit": 24, "decoder": 490}},
        gpu_seconds=0.07,
    )


def missed(outcome: BaselineResult) -> list[str]:
    return [row.what for row in rows(outcome) if row.met is False]


def test_every_goal_met() -> None:
    assert missed(result()) == []
    best = rows(result())[0]
    assert (best.value, best.low, best.high) == ("0.50x", 0.5, 0.5)
    assert "ExecuTorch" in best.what


@pytest.mark.parametrize(
    ("worse", "whats"),
    [
        ({"end to end": 5.5}, ["best backend"]),
        ({"end to end": 6.5}, ["best backend", "end to end, ExecuTorch"]),
        ({"decoder": 2.1}, ["decoder"]),
        ({"DiT step": 0.86}, ["DiT step"]),
        ({"peak memory": 7.1e8}, ["peak memory"]),
        ({"first audio": 3.0}, ["first audio"]),
    ],
)
def test_goals_that_are_missed_are_named(worse: dict[str, float], whats: list[str]) -> None:
    found = missed(result(**worse))
    assert len(found) == len(whats)
    assert all(what in line for what, line in zip(whats, found, strict=True))


def test_slow_or_large_exports_are_missed() -> None:
    outcome = result()
    outcome.exports[EXECUTORCH.name] = ProcessFigures(seconds=200.0, peak_bytes=6_100_000_000)
    assert missed(outcome) == ["ExecuTorch export"]


def test_other_goals_that_are_missed() -> None:
    outcome = result()
    outcome.snr_db = {"audio": 24.9, "last latent": 25.0}
    outcome.instructions[I8MM] = {"dit": 26, "decoder": 500}
    outcome.gpu_seconds = 0.076
    whats = missed(outcome)
    assert [what.split()[0] for what in whats] == ["SNR", "PyTorch", "instructions"]
    assert "audio" in whats[0]
    assert "DiT step" in whats[2]


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    outcome = result()
    outcome.snr_db, outcome.instructions, outcome.gpu_seconds = {}, {}, None
    outcome.exports.clear()
    unknown = [row for row in rows(outcome) if row.met is None]
    assert len(unknown) == 6
    assert all(row.value.startswith("not measured") for row in unknown)
    assert len(rows(outcome)) == len(rows(result())) == 12


def test_result_file_holds_every_run() -> None:
    stored = json.loads(json.dumps(result().to_json()))
    assert stored["figures"][PUBLISHED.name]["decoder"] == [4.0, 4.0, 4.0]
    assert stored["exports"][EXECUTORCH.name]["seconds"] == 240.0
    assert stored["instructions"][I8MM]["decoder"] == 490
