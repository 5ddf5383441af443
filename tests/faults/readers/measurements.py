"""What machines and runners say, and files of measurements, as `arcmobile bench` reads them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Final

from faults.mutations import mutate_bytes, mutate_json
from faults.readers import Attempt, reader

_LISTED: Final = (
    "* daemon not running; starting now at tcp:5037\n* daemon started successfully\n"
    "List of devices attached\n"
    "adb-R5 (2)._adb-tls-connect._tcp device product:a model:Pixel_8 device:b transport_id:1\n"
    "emulator-5554          offline transport_id:2\n"
    "(no serial number)     no permissions (user in plugdev group); see [http://x] usb:1-4\n"
    "R3CX20ABCDE            unauthorized usb:1-2 transport_id:3\n\n"
)
_FACTS: Final = (
    "@@ /proc/cpuinfo\nprocessor : 0\nFeatures  : fp asimd\nCPU implementer : 0x41\n"
    "CPU part  : 0xd80\n\n@@ /proc/meminfo\nMemTotal:       12000000 kB\n\n"
    '@@ /etc/os-release\nPRETTY_NAME="Linux 12"\n\n@@ uname -srm\nLinux 6.1 aarch64\n\n'
    "@@ getconf LONG_BIT\n64\n\n@@ getprop ro.product.model\nPhone 24\n\n"
)
_STATE: Final = (
    "@@ /sys/class/thermal/thermal_zone0/type\ncpu-0-0\n\n"
    "@@ /sys/class/thermal/thermal_zone0/temp\n41500\n\n"
    "@@ /sys/class/thermal/cooling_device0/type\ncpufreq-cpu0\n\n"
    "@@ /sys/class/thermal/cooling_device0/cur_state\n1\n\n"
    "@@ /sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq\n1800000\n\n"
    "@@ /sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq\n2000000\n\n"
    "@@ /sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq\n2400000\n\n"
    "@@ /sys/devices/platform/soc/x_firmware/get_throttled\n50005\n\n"
    "@@ dumpsys thermalservice\nThermal Status: 2\n"
    "Temperature{mValue=44.5, mType=0, mName=CPU0, mStatus=1}\n\n"
)


def _figure(*values: float) -> dict[str, Any]:
    return {"values": list(values)}


def _measurement(threads: int, clean: bool) -> dict[str, Any]:
    stage = {
        "load": _figure(0.2, 0.21, 0.2), "compute": _figure(1.0, 1.1, 1.2),
        "call": _figure(0.5, 0.5, 0.6), "calls": 2, "peak_bytes": _figure(5e8, 5e8, 6e8),
    }  # fmt: skip
    return {
        "threads": threads, "warmups": 1, "repeats": 3,
        "stages": {name: stage for name in ("conditioner", "dit", "decoder")},
        "total": _figure(3.6, 3.7, 3.8), "compute": _figure(3.0, 3.3, 3.6),
        "first_audio": _figure(2.5, 2.6, 2.7), "load_warm": _figure(0.6, 0.6, 0.6),
        "load_cold": _figure(1.2, 1.3), "peak_bytes": _figure(6e8, 6e8, 6e8),
        "audio_seconds": 4.0, "clean": clean, "notes": ["[bold]busy[/bold] <b>"],
        "conditions": {
            "throttled": not clean, "temperature_start": 40.0, "temperature_peak": 71.0,
            "frequency_ratio_lowest": 0.7, "waited": 12.0, "notes": ["throttled: [/red]"],
        },
    }  # fmt: skip


_RESULT: Final[dict[str, Any]] = {
    "result_version": 1, "created": "2026-07-01T10:00:00+00:00", "arcmobile": "0.1",
    "runner": {"kind": "native", "versions": {"arcmobile-run": "0.1"}},
    "bundle": {
        "name": "b", "model_id": "m", "recipe": "mobile", "backend": "executorch", "bytes": 10**8,
        "digest": "0" * 64, "component_bytes": {"dit": 10**7}, "license_notice": "<i>",
        "precision": {"dit": {"linear": "int8"}}, "snr_db": {"dit": 31.5, "decoder": None},
    },
    "request": {"prompt": "rain", "seconds": 4.0, "steps": 2, "seed": 1, "frames": 80},
    "environment": {
        "target": "host", "device": "d", "cpu": "c", "architecture": "x86_64",
        "features": ["avx"], "cores": 2, "memory_bytes": 2**33, "system": "s", "emulated": False,
    },
    "measurements": [_measurement(1, True), _measurement(2, False)],
    "instructions": [
        {"cpu": "max", "stages": {"dit": {"total": 900, "classes": {"sdot": 500, "load": 400}}}}
    ],
    "operators": [
        {
            "component": "dit", "total": 0.5, "delegated": 0.4,
            "operators": [{"name": "gemm", "seconds": 0.3, "calls": 4, "delegated": True}],
        }
    ],
}  # fmt: skip
_PREDICTION: Final[list[dict[str, Any]]] = [
    {
        "device": "d", "title": "Device", "threads": 1, "model": "m", "recipe": "mobile",
        "audio_seconds": 4.0, "steps": 2, "expected_seconds": 3.0, "optimistic_seconds": 2.0,
        "first_audio_seconds": 1.0,
        "stages": {
            "dit": {
                "calls": 2, "expected_seconds": 2.0, "optimistic_seconds": 1.0,
                "product_seconds": 1.5, "elementwise_seconds": 0.5, "bound": "compute",
                "instructions": {"int8 linear": "SDOT"},
            }
        },
        "assumptions": ["one after the other"],
        "checks": [{"title": "t", "off": -0.2, "says": "s"}],
    }
]  # fmt: skip
_STATS: Final[dict[str, Any]] = {
    "stats_version": 1, "prompt": "rain", "seed": 1, "model": "m", "recipe": "r",
    "backend": "executorch", "seconds": 1.0, "sample_rate": 44100,
    "load_seconds": {"conditioner": 0.1, "dit": 0.2, "decoder": 0.1}, "tokenize_seconds": 0.001,
    "conditioner_seconds": 0.1, "encoder_seconds": 0.0, "dit_step_seconds": [0.2, 0.2],
    "decode_window_seconds": [0.3], "first_audio_seconds": 0.7, "compute_seconds": 0.8,
    "total_seconds": 1.2, "peak_memory_bytes": {"dit": 10**8}, "warnings": [],
    "runner": {"version": "0.1", "executorch": "1.5.1", "abi": "Linux x86_64"},
    "cpu": {"name": "c", "features": ["avx"], "cores": 2}, "threads": 1, "steps": 2, "frames": 22,
    "decoder_windows": [11], "process_peak_bytes": 10**8, "resident_after_bytes": {"dit": 10**7},
}  # fmt: skip


@reader("bench-report")
def bench_report(folder: Path) -> Attempt:
    """Read, compared, shown as tables and as a page."""
    from arcmobile.bench.compare import compare
    from arcmobile.bench.report import render
    from arcmobile.bench.result import BenchResult
    from arcmobile.cli.bench_tables import measurement_tables
    from arcmobile.cli.consoles import plain_console

    path = folder / "result.json"
    good = BenchResult.model_validate_json(json.dumps(_RESULT))
    console = plain_console(width=100)

    def attempt(rng: random.Random) -> None:
        path.write_bytes(mutate_json(rng, _RESULT))
        result = BenchResult.read(path)
        compare(good, result, allow_unlike=True) if result.measurements else None
        compare(result, good, allow_unlike=True) if result.measurements else None
        page = render([result, good])
        assert "<script" not in page
        assert "[bold]" not in page.replace("[bold]busy[/bold] &lt;b", "")
        with console.capture():
            for table in measurement_tables(result):
                console.print(table)

    return attempt


@reader("bench-prediction")
def bench_prediction(folder: Path) -> Attempt:
    from arcmobile.bench.prediction_record import read
    from arcmobile.bench.report import render
    from arcmobile.bench.result import BenchResult

    path = folder / "prediction.json"
    result = BenchResult.model_validate_json(json.dumps(_RESULT))

    def attempt(rng: random.Random) -> None:
        path.write_bytes(mutate_json(rng, _PREDICTION))
        render([result], read(path))

    return attempt


@reader("runner-stats")
def runner_stats(folder: Path) -> Attempt:
    from arcmobile.bench.labels import STAGES
    from arcmobile.bench.runner_stats import parse_native, parse_python

    python = {name: value for name, value in _STATS.items() if name != "runner"}

    def attempt(rng: random.Random) -> None:
        native = rng.random() < 0.5
        text = mutate_json(rng, _STATS if native else [python]).decode("utf-8", "replace")
        stats = parse_native(text) if native else parse_python(text)
        assert sum(sum(stats.calls(stage)) for stage in STAGES) < 1e18

    return attempt


@reader("adb-devices")
def adb_devices(folder: Path) -> Attempt:
    from arcmobile.bench.targets.adb import choose_device, parse_devices

    def attempt(rng: random.Random) -> None:
        said = mutate_bytes(rng, _LISTED.encode()).decode("utf-8", "replace")
        devices = parse_devices(said.replace("\n", rng.choice(("\n", "\r\n"))))
        choose_device(devices, rng.choice((None, *(one.serial for one in devices))))

    return attempt


@reader("device-probe")
def device_probe(folder: Path) -> Attempt:
    """What a machine says of itself and of its state."""
    from arcmobile.bench.device_facts import parse_facts
    from arcmobile.bench.device_state import RunStates, conditions_of, highest_limits, parse_state
    from arcmobile.bench.probe import parse_sections
    from arcmobile.bench.result import Environment
    from arcmobile.runtime.errors import TargetError

    good = parse_state(parse_sections(_STATE))

    def attempt(rng: random.Random) -> None:
        said = mutate_bytes(rng, _FACTS.encode()).decode("utf-8", "replace")
        facts = parse_facts(parse_sections(said))
        Environment(
            target="ssh", device=facts.name or "d", cpu=facts.cpu, architecture=facts.machine,
            features=facts.features, cores=facts.cores, memory_bytes=facts.memory_bytes,
            system=facts.system, governor=facts.governor,
        )  # fmt: skip
        state = parse_state(
            parse_sections(mutate_bytes(rng, _STATE.encode()).decode("utf-8", "replace"))
        )
        runs = [RunStates(good, (state, good), state)]
        conditions = conditions_of(runs, highest_limits(runs), waited=1.0)
        assert conditions.throttled is not None
        if facts.machine == "unknown" or state.hottest is None:
            raise TargetError("a part of it cannot be read")

    return attempt


@reader("device-profile")
def device_profile(folder: Path) -> Attempt:
    from importlib import resources

    from arcmobile.bench.device_profiles import load_profile
    from arcmobile.bench.predict import assumptions, predict
    from arcmobile.bench.prediction_record import PredictionRecord, dump
    from arcmobile.bench.workload import model_workload

    devices = resources.files("arcmobile.bench") / "devices"
    good = (devices / "raspberry-pi-5.toml").read_bytes()
    path = folder / "board.toml"
    workload = model_workload("sao-small", "mobile")

    def attempt(rng: random.Random) -> None:
        path.write_bytes(mutate_bytes(rng, good))
        prediction = predict(workload, load_profile(str(path)))
        dump([PredictionRecord.of(prediction, assumptions(prediction), ())])

    return attempt
