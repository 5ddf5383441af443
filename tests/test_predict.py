"""The roofline, its device profiles and workloads, and what the command says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_bundle
import pytest
from typer.testing import CliRunner

from arcmobile.bench import prediction_record
from arcmobile.bench.device_profiles import (
    DeviceProfile,
    NamedProfile,
    load_profile,
    parse_profile,
    profile_names,
)
from arcmobile.bench.labels import STAGES
from arcmobile.bench.predict import EXPECTED, OPTIMISTIC, TYPICAL, bandwidth, predict, rate
from arcmobile.bench.published import check_published, published_points, summary
from arcmobile.bench.workload import (
    ComponentWork,
    Workload,
    bundle_workload,
    load_model,
    mixed_workload,
    model_workload,
)
from arcmobile.cli.main import app
from arcmobile.runtime.bundle import MANIFEST_NAME, Bundle, Work
from arcmobile.runtime.errors import BundleError, InputError

run = CliRunner().invoke

# 1 GHz and powers of ten: 8 and 2 GMAC/s in float32, 40 in int8.
BOARD = """
title = "a board"
year = 2024
chip = "made up"
features = ["asimd", "asimddp", "i8mm", "sme"]
sustained_clock = 0.5
default_threads = 1
source = ["nowhere"]

[[clusters]]
core = "large"
count = 1
clock_ghz = 1.0
macs_per_cycle = { fp32 = 8, int8_dot = 20, int8_mmla = 40 }
bandwidth_gb_s = 10

[[clusters]]
core = "small"
count = 2
clock_ghz = 1.0
macs_per_cycle = { fp32 = 2, int8_dot = 10 }
bandwidth_gb_s = 2

[memory]
kind = "some"
bandwidth_gb_s = 11
cache_mb = 1
"""
UNIT = """
[matrix_unit]
name = "outer"
gmacs = { fp32 = 100, int8 = 400 }
"""


def board(text: str = BOARD) -> NamedProfile:
    return NamedProfile("board", parse_profile(text, "board.toml"))


def component(
    name: str, calls: int, first_calls: int, weight_bytes: int = 1, **work: Any
) -> ComponentWork:
    zero: dict[str, Any] = {
        "linear_macs": {},
        "convolution_macs": {},
        "product_bytes": 0,
        "elementwise_bytes": 0,
        "largest_bytes": 0,
    }
    counts = Work.model_validate(zero | work)
    return ComponentWork(name, calls, first_calls, counts, weight_bytes)


def workload(*, weight_bytes: int = 1, calls: int = 1, **work: Any) -> Workload:
    one = component("dit", calls, calls, weight_bytes, **work)
    return Workload("model", "recipe", "executorch", 10.0, 8, (one,))


def test_products_take_their_macs_over_the_rate() -> None:
    found = predict(workload(calls=3, linear_macs={"fp32": 8 * 10**9}), board())
    share = OPTIMISTIC.simd["fp32", "linear"]
    assert found.optimistic.seconds == pytest.approx(3 / share)
    # expected: a smaller share, of the clocks that remain
    assert found.expected.seconds == pytest.approx(3 / (share * TYPICAL * 0.5))
    (stage,) = found.expected.stages
    assert stage.by == {"fp32 linear": "FMLA"}
    assert stage.bound == "compute"
    assert stage.calls == 3


def test_products_wait_for_weights_where_these_take_longer() -> None:
    found = predict(workload(weight_bytes=10**10, linear_macs={"fp32": 8}), board())
    assert found.optimistic.seconds == pytest.approx(1 / OPTIMISTIC.bandwidth)
    assert found.optimistic.stages[0].bound == "memory"


def test_the_decoder_is_the_sum_of_its_parts() -> None:
    share = OPTIMISTIC.simd["fp32", "linear"]
    per_second = 8 * 10**9  # multiply-accumulates
    parts = (
        component("dit", 8, 8, linear_macs={"fp32": per_second}),
        component("decoder_1", 3, 2, linear_macs={"fp32": 2 * per_second}),
        component(
            "decoder_2", 10, 1, linear_macs={"fp32": per_second}, elementwise_bytes=16 * 10**9
        ),
    )
    whole = Workload("model", "recipe", "executorch", 10.0, 8, parts)
    dit, decoder = predict(whole, board()).optimistic.stages
    assert (dit.name, decoder.name, decoder.calls) == ("dit", "decoder", 10)
    assert decoder.products == pytest.approx((3 * 2 + 10) / share)
    assert decoder.elementwise == pytest.approx(10)  # at 16 bytes a cycle
    found = predict(whole, board()).optimistic
    assert found.seconds == pytest.approx((8 + 6 + 10) / share + 10)
    assert found.first_audio == pytest.approx((8 + 2 * 2 + 1) / share + 1)

    heavy = component("decoder_1", 1, 1, weight_bytes=10**12, convolution_macs={"fp32": 8})
    mixed = replace(whole, components=(parts[0], heavy, parts[2]))
    decoder = predict(mixed, board()).optimistic.stages[1]
    assert decoder.bound == "memory"  # as most of its time
    assert list(decoder.by) == ["fp32 linear", "fp32 convolution"]


@pytest.mark.parametrize(("largest", "cached"), [(10**6, True), (10**6 + 1, False)])
def test_the_rest_runs_at_the_pace_of_cache_or_memory(largest: int, cached: bool) -> None:
    found = predict(workload(elementwise_bytes=10**10, largest_bytes=largest), board())
    pace = OPTIMISTIC.cached_bytes_per_cycle * 1e9 if cached else 10e9 * OPTIMISTIC.bandwidth
    assert found.optimistic.stages[0].elementwise == pytest.approx(10**10 / pace)


def test_threads_take_the_fastest_cores_first() -> None:
    device = board().profile
    assert [rate(device, "int8", "linear", n).gmacs for n in (1, 2, 3)] == [40, 50, 60]
    assert rate(device, "int8", "linear", 2).by == "SMMLA + SDOT"
    assert [bandwidth(device, n) for n in (1, 2, 3)] == [10e9, 11e9, 11e9]
    with pytest.raises(InputError, match="--threads 4: a board has 3 cores"):
        predict(workload(), board(), 4)


def test_the_matrix_unit_takes_what_there_are_kernels_for() -> None:
    device = board(BOARD + UNIT).profile
    assert rate(device, "int8", "linear", 1).by == "outer"
    assert rate(device, "fp32", "convolution", 1).gmacs == 100
    assert rate(device, "int8", "convolution", 1).by == "SMMLA"
    assert rate(device, "int8", "linear", 1, outer=False).by == "SMMLA"
    found = predict(workload(linear_macs={"int8": 4 * 10**11}), board(BOARD + UNIT))
    assert found.expected.seconds == pytest.approx(1 / (EXPECTED.outer * 0.5))


@pytest.mark.parametrize("name", profile_names())
def test_profiles_agree_with_themselves(name: str) -> None:
    profile = load_profile(name).profile
    single = [max(c.clock_ghz * m for m in c.macs_per_cycle.values()) for c in profile.clusters]
    assert single == sorted(single, reverse=True)
    for cluster in profile.clusters:
        instructions = cluster.macs_per_cycle
        assert ("int8_mmla" in instructions) == ("i8mm" in profile.features)
        # Vectors of n bytes hold n int8, n/2 fp16 and n/4 fp32 values; SMMLA does two SDOTs' work.
        assert instructions["int8_dot"] == 4 * instructions["fp32"]
        assert instructions.get("fp16", 2 * instructions["fp32"]) == 2 * instructions["fp32"]
        assert instructions.get("int8_mmla", 0) in (0, 2 * instructions["int8_dot"])
    assert (profile.matrix_unit is not None) == ("sme" in profile.features)
    prediction = predict(model_workload("sao-small", "mobile"), load_profile(name))
    assert 0 < prediction.optimistic.seconds < prediction.expected.seconds
    assert prediction.expected.first_audio < prediction.expected.seconds


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("clock_ghz = 1.0", "clock_ghz = -1"), "clusters.0.clock_ghz"),
        (("fp32 = 8, ", ""), "fp32 is missing"),
        (("fp32 = 8", "fp32 = 8, int4 = 3"), "int4"),
        (("default_threads = 1", "default_threads = 9"), "3 cores"),
        (('source = ["nowhere"]', "source = []"), "source"),
        (("[memory]", "[memory"), "not TOML"),
    ],
)
def test_faulty_profile(change: tuple[str, str], words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_profile(BOARD.replace(*change), "board.toml")
    text = str(caught.value)
    assert text.startswith("board.toml: ")
    assert words in text
    assert "\n" not in text


def test_profile_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(BOARD)
    assert isinstance(load_profile(str(path)).profile, DeviceProfile)
    with pytest.raises(InputError, match="raspberry-pi-5"):
        load_profile("pi")
    with pytest.raises(InputError, match="cannot be read"):
        load_profile(str(tmp_path / "none.toml"))


def with_work(folder: Path) -> Bundle:
    """The bundle made by hand, as if its export had counted."""
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    for component in manifest["components"].values():
        for entry in component["entries"]:
            frames = entry["frames"] or 0
            entry["work"] = {
                "linear_macs": {"int8": 10**6 * (frames or 1)},
                "convolution_macs": {},
                "product_bytes": 0,
                "elementwise_bytes": frames,
                "largest_bytes": 0,
            }
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    return Bundle.open(folder)


def test_workload_of_a_bundle(tmp_path: Path) -> None:
    bundle = with_work(onnx_bundle.make_bundle(tmp_path / "tiny"))
    whole = bundle_workload(bundle)
    assert [(one.name, one.calls, one.first_calls) for one in whole.components] == [
        ("conditioner", 1, 1),
        ("dit", 8, 8),
        ("decoder_1", 4, 1),  # windows of 11 frames that overlap by 4, over 30 frames
        ("decoder_2", 12, 1),  # of 9 that overlap by 4, over 60
    ]
    assert [one.stage for one in whole.components] == ["conditioner", "dit", "decoder", "decoder"]
    assert whole.seconds == pytest.approx(1.2)
    assert [one.work.elementwise_bytes for one in whole.components] == [0, 30, 11, 9]
    for one in whole.components:
        assert one.weight_bytes == bundle.manifest.components[one.name].bytes
    short = bundle_workload(bundle, seconds=0.2, steps=2)
    assert [one.calls for one in short.components] == [1, 2, 1, 2]  # 5 of 6 frames, 10 of 12
    assert short.components[1].work.elementwise_bytes == 6
    shown = run(app, ["inspect", str(bundle.folder)]).stdout
    assert "GMAC" in shown
    assert "0.03 int8" in shown
    assert "decoder_1: 6 (0.24 s) or 11 (0.44 s) frames, context 2" in shown
    assert "decoder_2: 9 (0.18 s) frames, context 2" in shown
    assert "encoder: 6 (0.24 s) or 11 (0.44 s) frames, context 3" in shown


def test_bundle_of_an_older_export(tmp_path: Path) -> None:
    folder = onnx_bundle.make_bundle(tmp_path / "tiny")
    with pytest.raises(BundleError, match=r"conditioner; export the bundle again$"):
        bundle_workload(Bundle.open(folder))
    done = run(app, ["bench", "predict", "--bundle", str(folder)])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1


def test_known_model_by_seconds_and_recipe() -> None:
    whole, short = (model_workload("sao-small", "mobile", seconds) for seconds in (None, 3.0))
    assert [one.calls for one in whole.components] == [1, 8, 3, 9, 33]
    assert [one.calls for one in short.components] == [1, 8, 1, 3, 9]
    assert [one.first_calls for one in short.components] == [1, 8, 1, 1, 1]
    for arguments in (("sao", "mobile"), ("sao-small", "int9")):
        with pytest.raises(InputError, match="choose one of"):
            model_workload(*arguments)
    for seconds in (0.0, 12.5):
        with pytest.raises(InputError, match="--seconds"):
            model_workload("sao-small", "mobile", seconds)


def test_recipes_by_stage_and_a_decode_in_one_piece() -> None:
    recipes = {"conditioner": "fp32", "dit": "int8-dynamic", "decoder": "fp16"}
    pieces, whole = (
        mixed_workload("sao-small", recipes, 8, whole_decode=one) for one in (False, True)
    )
    assert whole.recipe == "fp32 + int8-dynamic + fp16"
    for stage, recipe in recipes.items():
        alike = model_workload("sao-small", recipe).of_stage(stage)
        assert pieces.of_stage(stage) == alike
        assert [one.weight_bytes for one in whole.of_stage(stage)] == [
            one.weight_bytes for one in alike
        ]
    assert [one.calls for one in whole.of_stage("decoder")] == [1, 1, 1]

    def macs(one: ComponentWork) -> int:
        return one.calls * sum(one.work.macs.values())

    parts = zip(whole.of_stage("decoder"), pieces.of_stage("decoder"), strict=True)
    for (part, piece), plan in zip(parts, load_model("sao-small").decoder_plan(), strict=True):
        recomputed = piece.calls * plan.window / plan.frames
        assert recomputed > 1
        assert macs(part) * recomputed == pytest.approx(macs(piece), rel=1e-6)
        assert part.work.largest_bytes >= piece.work.largest_bytes
    assert [part.stage for part in whole.components[:3]] == list(STAGES)


def test_published_points_are_checked_and_said() -> None:
    checks = check_published()
    assert len(checks) == len(published_points())
    for check in checks:
        said = check.sentence()
        assert f"measured {check.point.seconds:g} s" in said
        predicted = check.prediction.expected.seconds
        assert f"predicted {predicted:.1f} s" in said
        assert ("low" in said) == (predicted < 0.95 * check.point.seconds)
        assert ("high" in said) == (predicted > 1.05 * check.point.seconds)
    worst = max(check.factor for check in checks if not check.point.own)
    assert f"{worst:.1f}x at worst" in summary(checks)


def test_command_overview_detail_and_list() -> None:
    overview = run(app, ["bench", "predict"])
    assert overview.exit_code == 0
    assert all(name in overview.stdout for name in profile_names())
    detail = run(app, ["bench", "predict", "--device", "raspberry-pi-5"])
    for words in ("4 threads", "SDOT", "Assumed", "Sources", "measured 7 s", "at worst"):
        assert words in detail.stdout
    listed = run(app, ["bench", "predict", "--list"])
    assert "GMAC/s" in listed.stdout
    assert "raspberry-pi-5" in json.loads(run(app, ["bench", "predict", "--list", "--json"]).stdout)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "nokia-3310"], "--device nokia-3310: unknown"),
        (["--device", "raspberry-pi-5", "--threads", "5"], "has 4 cores"),
        (["--model", "gpt"], "--model gpt: unknown"),
        (["--bundle", "x", "--recipe", "fp32"], "--recipe"),
        (["--steps", "99"], "--steps 99"),
        (["--bundle", "nowhere"], "nowhere"),
    ],
)
def test_command_mistakes(arguments: list[str], words: str) -> None:
    done = run(app, ["bench", "predict", *arguments])
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_json_is_read_back(tmp_path: Path) -> None:
    done = run(app, ["bench", "predict", "--device", "vivo-x300", "--json"])
    path = tmp_path / "predicted.json"
    path.write_text(done.stdout)
    (record,) = prediction_record.read(path)
    assert record.device == "vivo-x300"
    assert record.expected_seconds == pytest.approx(
        sum(stage.expected_seconds for stage in record.stages.values())
    )
    path.write_text('[{"device": 3}]')
    with pytest.raises(InputError, match="predict again"):
        prediction_record.read(path)
