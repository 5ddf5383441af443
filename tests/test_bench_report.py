"""The report page: what stands on it, what is left out, and that nothing in a result can act."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from arcmobile.bench import charts, prediction_record
from arcmobile.bench.report import render, with_profiles
from arcmobile.bench.report_page import build_page
from arcmobile.bench.result import BenchResult
from arcmobile.cli.main import app

run = CliRunner().invoke
VOID = {"meta", "br", "hr", "img", "input", "link", "source"}
HOSTILE = '"><script>alert(1)</script><img src=x onerror="alert(2)">\'{{ 7 * 7 }}</style>'


@dataclass
class Parsed(HTMLParser):
    """Elements with their attributes, and the text outside the style sheet; tags must balance."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: str = ""
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def parse(page: str) -> Parsed:
    parsed = Parsed()
    parsed.feed(page)
    parsed.close()
    assert not parsed.open
    parsed.text = " ".join(parsed.text.split())
    return parsed


def figure(*values: float) -> dict[str, Any]:
    return {"values": values}


def measurement(threads: int, **changes: Any) -> dict[str, Any]:
    """Three repeats; 6.2 s of computing with one thread."""
    compute = 6.2 / threads
    stages = {
        name: {
            "load": figure(0.2, 0.2, 0.25),
            "compute": figure(share * compute, share * compute, share * compute * 1.02),
            "call": figure(share * compute / calls),
            "calls": calls,
            "peak_bytes": figure(peak),
        }
        for name, share, calls, peak in (
            ("conditioner", 0.02, 1, 310e6),
            ("dit", 0.38, 8, 640e6),
            ("decoder", 0.6, 3, 880e6),
        )
    }
    total = compute + 0.6
    return {
        "threads": threads,
        "warmups": 1,
        "repeats": 3,
        "stages": stages,
        "total": figure(total, total * 1.01, total * 0.99),
        "compute": figure(compute),
        "first_audio": figure(total / 2),
        "load_warm": figure(0.6),
        "load_cold": figure(1.9),
        "peak_bytes": figure(905e6),
        "audio_seconds": 11.889,
        "conditions": {"throttled": False, "temperature_start": 41.2, "temperature_peak": 66.8},
        **changes,
    }


def content() -> dict[str, Any]:
    """A result with everything in it."""
    names = ("conditioner", "dit", "decoder_1", "decoder_2")
    return {
        "created": "2026-07-01T10:00:00+00:00",
        "arcmobile": "0.1.0",
        "runner": {"kind": "native", "versions": {"executorch": "1.5.1"}},
        "bundle": {
            "name": "sao-small-executorch-mobile",
            "model_id": "sao-small",
            "recipe": "mobile",
            "backend": "executorch",
            "bytes": 535_554_105,
            "digest": "ab" * 32,
            "component_bytes": dict.fromkeys(names, 178_000_000),
            "precision": {name: {name: "int8-dynamic"} for name in names},
            "snr_db": {"conditioner": 30.9, "dit": 31.9, "decoder_1": None, "decoder_2": 29.5},
            "license_notice": "weights under the Community License",
        },
        "request": {"prompt": "soft rain", "seconds": 11.9, "steps": 8, "seed": 1, "frames": 256},
        "environment": {
            "target": "ssh",
            "device": "Raspberry Pi 5",
            "cpu": "Cortex-A76",
            "architecture": "aarch64",
            "features": ["asimd", "asimddp"],
            "cores": 4,
            "governor": "performance",
        },
        "measurements": [measurement(1), measurement(2), measurement(4)],
        "instructions": [
            {
                "cpu": "neoverse-n1",
                "stages": {
                    "tokenize": {"total": 10, "classes": {"other": 10}},
                    "load dit": {"total": 200_000, "classes": {"other": 200_000}},
                    "dit": {"total": 900_000, "classes": {"sdot": 600_000, "fmla": 300_000}},
                },
            }
        ],
        "operators": [
            {
                "component": "dit",
                "total": 0.3,
                "delegated": 0.27,
                "operators": [
                    {"name": "Fully Connected", "seconds": 0.2, "calls": 112, "delegated": True},
                    {"name": "aten::embedding", "seconds": 0.03, "calls": 1, "delegated": False},
                ],
            },
            {
                "component": "decoder_2",
                "total": 0.04,
                "delegated": 0.03,
                "operators": [
                    {"name": "Convolution", "seconds": 0.03, "calls": 9, "delegated": True},
                ],
            },
        ],
    }


def result(**changes: Any) -> BenchResult:
    return BenchResult.model_validate(content() | changes)


def test_everything_measured_is_on_the_page() -> None:
    text = parse(render([result()])).text
    for words in (
        "sao-small",
        "mobile on executorch · Raspberry Pi 5",
        "7.7× faster than real time",  # 6.2 s of computing on 4 threads, for 11.9 s
        "2.15 s",  # prompt to sound: computing and loading
        "905 MB",
        "536 MB",
        "Where the time goes",
        "one DiT step",
        "Spread",
        "Threads",
        "30.9 dB",
        "identical",
        "products by SDOT 600 k, FMLA 300 k",
        "Left out, with less than 1 % of all: tokenize",
        "90 % of the time inside XNNPACK",
        "decoder, part 1",
        "decoder, part 2",
        "29.5 dB",
        "75 % of the time inside XNNPACK",
        "decoder, 3 chunks",
        "one decoder chunk",
        "Fully Connected, 112×",
        "Community License",
        "41 °C at the start, 67 °C at most",
    ):
        assert words in text
    assert "Not a clean" not in text
    assert "Emulated" not in text


def test_what_was_not_measured_is_left_out() -> None:
    bare = result(measurements=[], instructions=[], operators=[])
    text = parse(render([bare])).text
    for title in ("Where the time goes", "Latency", "Spread", "Threads", "Instructions",
                  "Operators", "Peak memory", "real-time", "throttled"):  # fmt: skip
        assert title not in text.replace("Real-time factor: seconds", "")
    assert "536 MB" in text
    single = measurement(2)
    single["stages"]["dit"].pop("peak_bytes")
    single |= {name: figure(1.0) for name in ("total", "compute", "first_audio")}
    text = parse(render([result(measurements=[single])])).text
    assert "Threads" not in text


def test_disturbed_and_emulated_results_say_so() -> None:
    hot = measurement(4, clean=False, notes=["clocks fell to 61 % in run 2"])
    hot["conditions"]["throttled"] = True
    text = parse(render([result(measurements=[measurement(1), hot])])).text
    assert "Not a clean measurement: 4 threads" in text
    assert "clocks fell to 61 % in run 2" in text
    place = content()["environment"] | {"emulated": True, "target": "qemu"}
    text = parse(render([result(environment=place)])).text
    assert "Emulated: these times say nothing about a device" in text
    assert "faster than real time" not in text.replace("below 1 is faster than real time", "")


def test_several_results_stand_side_by_side() -> None:
    place = content()["environment"] | {"device": "vivo X300"}
    phone = result(environment=place, measurements=[measurement(8)])
    emulated = result(environment=place | {"device": "qemu", "emulated": True})
    page = build_page([result(), phone, emulated])
    names = [one.name for one in page.comparisons]
    assert names == ["prompt to sound", "first audio", "real-time factor", "peak memory", "size"]
    times = page.comparisons[0].chart.bars
    assert [bar.label for bar in times] == ["A", "B"]  # an emulator's seconds are not compared
    assert times[0].segments[0].width > times[1].segments[0].width
    assert [bar.label for bar in page.comparisons[-1].chart.bars] == ["A", "B", "C"]
    text = parse(render([result(), phone, emulated])).text
    assert "Emulated, so only its size is compared: C" in text


def test_profiles_join_the_timings_of_the_same_bundle_and_sound() -> None:
    timed = result(instructions=[], operators=[])
    profile = result(measurements=[])
    assert with_profiles([profile, timed]) == [
        timed.model_copy(
            update={"instructions": profile.instructions, "operators": profile.operators}
        )
    ]
    of_another = profile.model_copy(
        update={"bundle": profile.bundle.model_copy(update={"digest": "0" * 64})}
    )
    assert with_profiles([timed, of_another]) == [timed, of_another]
    shorter = profile.request.model_copy(update={"steps": 1})
    counted = profile.model_copy(update={"request": shorter, "operators": ()})
    assert with_profiles([timed, counted]) == [timed, counted]
    traced = profile.model_copy(update={"request": shorter, "instructions": ()})
    assert with_profiles([timed, traced])[0].operators == traced.operators


def prediction(path: Path) -> prediction_record.PredictionRecord:
    done = run(app, ["bench", "predict", "--device", "raspberry-pi-5", "--json"])
    path.write_text(done.stdout)
    return prediction_record.read(path)[0]


def test_prediction_next_to_the_measurement(tmp_path: Path) -> None:
    record = prediction(tmp_path / "predicted.json")
    measured = result(measurements=[measurement(1), measurement(4)])
    factor = record.expected_seconds / 1.55
    text = parse(render([measured], [record])).text
    assert f"measured: 1.55 s, the prediction is too high by a factor of {factor:.1f}" in text
    assert "measured, 4 threads" in text
    assert all(line in text for line in record.assumptions)
    close = record.model_copy(update={"expected_seconds": 1.55 * 1.25})
    assert (
        "measured: 1.55 s, the prediction is 25 % high" in parse(render([measured], [close])).text
    )


def hostile(value: Any) -> Any:
    """Every free string of a result replaced; keys of stages and classes too."""
    if isinstance(value, dict):
        kept = {"digest", "kind", "result_version"}
        renamed = {"stages", "classes", "precision", "component_bytes", "versions", "snr_db"}
        return {
            key: item
            if key in kept
            else {f"{HOSTILE}{inner}": hostile(one) for inner, one in item.items()}
            if key in renamed
            else hostile(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


def test_words_of_a_result_cannot_act(tmp_path: Path) -> None:
    bad = BenchResult.model_validate(hostile(content()))
    record = prediction(tmp_path / "predicted.json")
    shown = record.model_copy(update={"title": HOSTILE, "assumptions": (HOSTILE,)})
    plain = parse(render([result(), result()], [record]))
    parsed = parse(render([bad, bad], [shown]))
    assert {tag for tag, _ in parsed.elements} <= {tag for tag, _ in plain.elements}
    assert "<script>alert(1)</script>" in parsed.text
    assert "{{ 7 * 7 }}" in parsed.text
    for _, attributes in parsed.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert "alert" not in (attributes.get("style") or "")
        assert "alert" not in (attributes.get("class") or "")


def test_page_loads_nothing() -> None:
    page = render([result(), result()])
    parsed = parse(page)
    for tag, attributes in parsed.elements:
        assert tag not in {"script", "link", "img", "iframe", "object", "base"}
        assert not {"src", "href", "srcset", "action"} & set(attributes)
    style = page.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a for t, a in parsed.elements if a.get("http-equiv"))
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_command_writes_the_page_or_says_why_not(tmp_path: Path) -> None:
    measured, page = tmp_path / "result.json", tmp_path / "new" / "report.html"
    result().write(measured)
    done = run(app, ["bench", "report", str(measured), "--out", str(page)])
    assert (done.exit_code, list(page.parent.iterdir())) == (0, [page])
    parse(page.read_text())
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"result_version": 1}))
    for arguments, words in (
        ([str(broken)], "broken.json: not a result"),
        ([str(tmp_path / "none.json")], "none.json: cannot be read"),
        ([str(measured), "--out", str(measured / "x.html")], "--out"),
        ([str(measured), "--out", str(page)], "add --overwrite"),
        ([str(measured), "--prediction", str(broken)], "predict again"),
    ):
        done = run(app, ["bench", "report", *arguments])
        assert done.exit_code == 2
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("largest", "end", "labels"),
    [
        (13.4, 15, ["0", "5", "10", "15"]),
        (0.9, 1, ["0.00", "0.25", "0.50", "0.75", "1.00"]),
        (8.0, 8, ["0", "2", "4", "6", "8"]),
        (0, 1, ["0.00", "0.25", "0.50", "0.75", "1.00"]),
    ],
)
def test_axis(largest: float, end: float, labels: list[str]) -> None:
    top, step = charts.nice_top(largest)
    assert top == pytest.approx(end)
    assert [tick.label for tick in charts.ticks(top, step)] == labels


def test_figures_in_words() -> None:
    assert [charts.seconds(v) for v in (0.00023, 0.045, 0.31, 6.214, 62.14, 621)] == [
        "0.23 ms", "45 ms", "310 ms", "6.21 s", "62.1 s", "621 s",
    ]  # fmt: skip
    assert [charts.size(v) for v in (900, 12_345, 535_554_105, 1_419_000_000)] == [
        "900 B", "12 kB", "536 MB", "1.4 GB",
    ]  # fmt: skip
    assert [charts.amount(v) for v in (812, 39_900_000, 1.2e12)] == ["812", "39.9 M", "1.2 T"]
