"""`arcmobile bench run`: the protocol of a measurement, its figures, and what it makes of heat."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import adb_stand_in
import onnx_bundle
import pytest
import stand_ins
from typer.testing import CliRunner, Result

from arcmobile.bench.measure import Cooling, Progress, Protocol, measure
from arcmobile.bench.result import BenchResult
from arcmobile.bench.runner_stats import parse_native, parse_python
from arcmobile.bench.targets.adb import AdbTarget
from arcmobile.bench.targets.base import TargetOptions
from arcmobile.bench.targets.host import HostTarget
from arcmobile.cli.main import app
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.errors import InputError, TargetError
from arcmobile.runtime.request import GenerationRequest

REQUEST = GenerationRequest("rain", seconds=1.0, steps=2, seed=1)
TWICE = Protocol(threads=(1, 2), warmups=1, repeats=2, cold_runs=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_ins.make_executorch_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_ins.make_dist(tmp_path_factory.mktemp("dist") / "host", "host")


def bench_run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", "run", *map(str, arguments)])


# --- on this machine ----------------------------------------------------------------------------


def test_figures_and_table(bundle: Path, native: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "result.json"
    result = bench_run(
        *("--bundle", bundle, "--native", native, "--threads", "1,200", "--repeats", 3),
        *("--steps", 4, "--seed", 9, "--prompt", "-x 'rain'\n", "--out", out),
    )
    assert result.exit_code == 0, result.output
    assert str(out) in result.stdout
    assert "RTF" in result.stdout
    assert "repeat 3/3" in result.stderr
    read = BenchResult.read(out)
    assert read.request.model_dump() == {
        **{"prompt": "-x 'rain'\n", "seconds": 1.2, "steps": 4, "seed": 9, "frames": 30},
        "batch": 1,
    }
    assert (read.runner.kind, read.environment.target) == ("native", "host")
    assert (read.bundle.backend, read.bundle.bytes) == ("executorch", Bundle.open(bundle).size)
    one, many = read.measurements
    assert (one.threads, many.threads) == (1, 200)
    assert (one.warmups, one.repeats, one.total.values[1:]) == (1, 3, (one.total.median,) * 2)
    # As the stand-in says: 0.1 s before the DiT, 0.4 s a step, two windows of 0.3 s.
    assert one.compute.median == pytest.approx(0.1 + 4 * 0.4 + 0.6)
    assert one.rtf == pytest.approx(2.3 / 1.2)
    assert one.load_warm.median == pytest.approx(0.3)
    assert one.load_cold is not None
    assert one.load_cold.values == pytest.approx((1.5, 1.5, 1.5))
    assert one.peak_bytes.median == 3_500_000
    dit = one.stages["dit"]
    assert (dit.calls, dit.call.median, dit.compute.median) == (4, 0.4, 1.6)
    assert one.stages["decoder"].compute.median == pytest.approx(0.6)
    assert one.notes == ()
    assert "200 threads on" in many.notes[0]


def test_default_result_file(
    bundle: Path, native: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--bundle", bundle, "--native", native, "--repeats", 1, "--warmup", 0)
    assert bench_run(*options).exit_code == 0
    (written,) = (tmp_path / "out" / "bench").iterdir()
    assert re.fullmatch(r"tiny-host-[\w.-]+-\d{8}T\d{6}\.json", written.name)
    assert not any(path.name.startswith("arcmobile-") for path in tmp_path.iterdir())


def test_a_result_is_replaced_only_when_asked(bundle: Path, native: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    options = ("--bundle", bundle, "--native", native, "--repeats", 1, "--warmup", 0, "--out", out)
    assert bench_run(*options).exit_code == 0
    first = out.read_bytes()
    result = bench_run(*options)
    assert (result.exit_code, out.read_bytes()) == (2, first)
    assert "exists already; choose another name or add --overwrite" in result.stderr
    assert bench_run(*options, "--seed", 5, "--overwrite").exit_code == 0
    assert BenchResult.read(out).request.seed == 5


@pytest.mark.parametrize("end", [TargetError("the board went away"), KeyboardInterrupt()])
def test_what_was_measured_before_the_end_is_kept(
    bundle: Path, native: Path, end: BaseException
) -> None:
    kept: list[BenchResult] = []

    def report(progress: Progress) -> None:
        if progress.done == 8:
            raise end

    protocol = Protocol(threads=(1, 2), warmups=1, repeats=3, cold_runs=1)
    with pytest.raises(type(end)):
        measure(
            HostTarget(TargetOptions(native=native)), Bundle.open(bundle), REQUEST, protocol,
            report=report, keep=kept.append,
        )  # fmt: skip
    (result,) = kept
    assert {one.threads: one.repeats for one in result.measurements} == {1: 2, 2: 2}
    why = "stopped" if isinstance(end, KeyboardInterrupt) else "the board went away"
    for one in result.measurements:
        assert not one.clean
        assert f"broken off after 8 of 10 runs: {why}" in one.conditions.notes
    assert BenchResult.model_validate_json(result.model_dump_json()) == result


def test_python_runner_measures_any_backend(tmp_path: Path) -> None:
    folder = onnx_bundle.make_bundle(tmp_path / "onnx")
    out = tmp_path / "result.json"
    result = bench_run(
        *("--bundle", folder, "--prompt", "--warm 'rain'", "--repeats", 1, "--warmup", 0),
        *("--steps", 3, "--out", out),
    )
    assert result.exit_code == 0, result.output
    read = BenchResult.read(out)
    (one,) = read.measurements
    assert read.runner.kind == "python"
    assert set(read.runner.versions) == {"arcmobile", "onnxruntime"}
    assert (one.stages["dit"].calls, one.clean) == (3, True)
    assert one.load_cold is not None
    assert one.peak_bytes.median > 10e6
    assert any("Python" in note for note in one.notes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "fpga"], ["--target fpga", "host, qemu, ssh, adb"]),
        (["--threads", "1,x"], ["--threads 1,x"]),
        (["--threads", "0"], ["--threads"]),
        (["--threads", "2,2"], ["--threads", "once"]),
        (["--steps", "65"], ["steps"]),
        (["--seconds", "99"], ["--seconds 99"]),
        (["--seed", "-1"], ["--seed -1"]),
        (["--runner", "rust"], ["--runner rust", "native"]),
        (["--cool-to", "200"], ["--cool-to 200"]),
        (["--cool-to", "40", "--no-cool"], ["--cool-to", "--no-cool"]),
        (["--serial", "1"], ["--serial", "--target host"]),
        (["--native", "nowhere"], ["nowhere/arcmobile-run"]),
        (["--prompt", "crash"], ["SIGSEGV"]),
        (["--bundle", "nowhere"], ["nowhere"]),
    ],
)
def test_mistakes_are_one_line(
    bundle: Path,
    native: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    result = bench_run("--bundle", bundle, "--native", native, *arguments)
    assert result.exit_code == 2, result.output
    *_, line = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in words), line
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_job_stops_what_runs(bundle: Path, native: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "arcmobile.cli", "bench", "run", "--bundle", str(bundle)),
        *("--native", str(native), "--prompt", "hang"),
    ]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not any(line.startswith(str(native)) for line in stand_ins.processes_with(" hang")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith("stopped\n")
    assert not any(str(native) in line for line in stand_ins.processes_with(" hang"))
    assert list(tmp_path.iterdir()) == []


# --- on a phone that may be warm ----------------------------------------------------------------


@pytest.fixture
def options(tmp_path: Path, phone: adb_stand_in.Phone) -> TargetOptions:
    return TargetOptions(
        native=stand_ins.make_dist(tmp_path / "android", "android-arm64"),
        exec_prefix=f"qemu-aarch64 -L {stand_ins.phone_sysroot(tmp_path / 'sysroot')}",
    )


def test_thread_counts_take_turns(
    bundle: Path, options: TargetOptions, phone: adb_stand_in.Phone
) -> None:
    result = measure(AdbTarget(options), Bundle.open(bundle), REQUEST, TWICE)
    scripts = [command[3] for command in phone.commands if command[2:3] == ["shell"]]
    runs = [script for script in scripts if "--stats json" in script]
    counts = [int(re.findall(r"--threads (\d+)", run)[0]) for run in runs]
    assert counts == [1, 2, 1, 2, 1, 2, 2, 1]  # cold, warm-up, two rounds
    assert ["--cold" in run for run in runs] == [True] * 2 + [False] * 6
    assert [one.threads for one in result.measurements] == [1, 2]
    assert all(one.clean and one.conditions.throttled is False for one in result.measurements)
    assert phone.scratch == []


def test_waits_until_the_phone_is_cool(
    bundle: Path, options: TargetOptions, phone: adb_stand_in.Phone
) -> None:
    phone.set("thermal", "0 55.0\n1 39.0\n0 41.0\n0 38.5\n")
    said: list[str] = []
    result = measure(
        AdbTarget(options),
        Bundle.open(bundle),
        REQUEST,
        Protocol(repeats=1, warmups=0, cold_runs=0),
        cooling=Cooling(40.0, interval=0.01),
        report=lambda progress: said.append(progress.doing),
    )
    waits = [line.rpartition(", ")[0] for line in said if line.startswith("cooling: ")]
    assert waits == [
        "cooling: 55 °C, waiting for 40 °C",
        "cooling: thermal status light",
        "cooling: 41 °C, waiting for 40 °C",
    ]
    (one,) = result.measurements
    assert one.clean
    assert (one.conditions.temperature_start, one.conditions.throttled) == (38.5, False)
    assert one.conditions.waited > 0


def test_a_phone_that_stays_warm_is_measured_but_not_clean(
    bundle: Path, options: TargetOptions, phone: adb_stand_in.Phone
) -> None:
    phone.set("thermal", "0 44.0\n")
    cooling = Cooling(40.0, longest=0.05, interval=0.01)
    one = measure(
        *(AdbTarget(options), Bundle.open(bundle), REQUEST, Protocol(repeats=2, cold_runs=0)),
        cooling=cooling,
    ).measurements[0]
    assert not one.clean
    assert sum("did not cool down" in note for note in one.conditions.notes) == 1


@pytest.mark.parametrize("where", ["status", "cooling device"])
def test_a_throttled_run_is_never_clean(
    bundle: Path, options: TargetOptions, phone: adb_stand_in.Phone, where: str
) -> None:
    phone.set("sys/class/thermal/cooling_device0/type", "thermal-cpufreq-4\n")
    phone.set("sys/class/thermal/cooling_device0/cur_state", "0\n")
    if where == "status":
        phone.set("thermal", "0 30\n2 30\n0 30\n")  # gone again at the next look
    else:
        phone.set("sys/class/thermal/cooling_device0/cur_state", "3\n")
    protocol = Protocol(repeats=1, warmups=0, cold_runs=0)
    result = measure(AdbTarget(options), Bundle.open(bundle), REQUEST, protocol)
    (one,) = result.measurements
    assert one.conditions.throttled
    assert not one.clean
    assert any("throttled" in note for note in one.conditions.notes)
    from rich.console import Console

    from arcmobile.cli.bench_tables import measurement_tables

    console = Console(width=100, record=True)
    for table in measurement_tables(result):
        console.print(table)
    assert "not clean" in console.export_text()


def test_command_on_a_phone(
    bundle: Path, options: TargetOptions, phone: adb_stand_in.Phone, tmp_path: Path
) -> None:
    out = tmp_path / "phone.json"
    arguments = (
        *("--bundle", bundle, "--target", "adb", "--native", options.native, "--repeats", 1),
        *("--exec-prefix", options.exec_prefix, "--out", out, "--warmup", 0),
    )
    result = bench_run(*arguments)
    assert result.exit_code == 0, result.output
    assert "Stand In 24" in result.stdout
    assert BenchResult.read(out).environment.device == "Stand In 24"
    phone.set("devices", "")
    result = bench_run(*arguments, "--overwrite")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith("error: no device")


# --- what runners say ---------------------------------------------------------------------------


def native_stats(native: Path, bundle: Path) -> dict[str, Any]:
    command = [str(native / "arcmobile-run"), "--steps", "2", "--", str(bundle), "rain"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda stats: stats.pop("threads"), "threads"),
        (lambda stats: stats.update(stats_version=2), "stats_version"),
        (lambda stats: stats.update(total_seconds=-1.0), "total_seconds"),
        (lambda stats: stats.update(total_seconds="1.0"), "total_seconds"),
        (lambda stats: stats.update(steps=3), "steps: 3"),
        (lambda stats: stats["load_seconds"].pop("dit"), "no dit"),
        (lambda stats: stats.update(decode_window_seconds=[]), "decode_window_seconds"),
    ],
)
def test_broken_stats_are_refused(
    native: Path, bundle: Path, change: Callable[[dict[str, Any]], object], word: str
) -> None:
    stats = native_stats(native, bundle)
    assert parse_native(json.dumps(stats | {"news": 1})).steps == 2
    change(stats)
    with pytest.raises(TargetError, match=word) as caught:
        parse_native(json.dumps(stats))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[{}]", '[{"seconds": NaN}]', "\x00\n\n"])
def test_broken_python_stats_are_refused(text: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_python(text)
    assert "\n" not in str(caught.value)


def test_protocol_is_checked() -> None:
    for wrong in ({"threads": ()}, {"threads": (1025,)}, {"repeats": 0}, {"warmups": -1}):
        with pytest.raises(InputError):
            replace(Protocol(), **wrong)
