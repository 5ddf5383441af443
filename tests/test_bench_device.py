"""What devices say of themselves: facts, temperatures, clocks, throttling."""

from __future__ import annotations

import subprocess
from pathlib import Path

import adb_stand_in
import pytest

from arcmobile.bench.device_facts import parse_facts
from arcmobile.bench.device_state import RunStates, conditions_of, highest_limits, parse_state
from arcmobile.bench.probe import parse_sections, probe_script


def test_probe_reads_files_and_commands(tmp_path: Path) -> None:
    for name, text in (("a", "1\n"), ("b", "\0two\n\n")):
        (tmp_path / name).write_text(text)
    script = probe_script([f"{tmp_path}/?", f"{tmp_path}/none*"], ["echo three", "nothing-such"])
    text = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False).stdout
    assert parse_sections(text) == {
        f"{tmp_path}/a": "1",
        f"{tmp_path}/b": "two",
        "echo three": "three",
        "nothing-such": "",
    }


def test_facts_of_a_board_with_a_32_bit_system() -> None:
    facts = parse_facts(
        {
            "/proc/cpuinfo": "processor\t: 0\nmodel name\t: Cortex\nFeatures\t: neon\n",
            "/proc/device-tree/model": "Raspberry Pi 4 Model B",
            "uname -srm": "Linux 6.6.31 aarch64",
            "getconf LONG_BIT": "32",
            "/etc/os-release": 'NAME="x"\nPRETTY_NAME="Raspbian 12"\n',
        }
    )
    assert (facts.machine, facts.name, facts.cores) == ("arm", "Raspberry Pi 4 Model B", 1)
    assert facts.system == "Raspbian 12, Linux 6.6.31"


def test_facts_of_a_phone_name_its_cores() -> None:
    cpuinfo = adb_stand_in.CPUINFO
    facts = parse_facts({"/proc/cpuinfo": cpuinfo, "getprop ro.soc.model": "SM8650"})
    assert facts.cpu == "SM8650: 1x Cortex-A520 + 1x Cortex-X4"
    assert facts.features == ("asimd", "asimddp", "fp", "i8mm")  # what every core has
    assert parse_facts({}).cores == 1


ZONE = "/sys/class/thermal/thermal_zone"
COOLING = "/sys/class/thermal/cooling_device"
POLICY = "/sys/devices/system/cpu/cpufreq/policy0"
FIRMWARE = "/sys/devices/platform/soc/soc:firmware/get_throttled"
PI = {
    f"{ZONE}0/type": "cpu-thermal",
    f"{ZONE}0/temp": "48850",
    f"{ZONE}1/type": "battery",
    f"{ZONE}1/temp": "99000",
    f"{ZONE}2/type": "cpu-broken",
    f"{ZONE}2/temp": "-273000",
    f"{COOLING}0/type": "thermal-cpufreq-0",
    f"{COOLING}0/cur_state": "0",
    f"{COOLING}1/type": "pwm-fan",
    f"{COOLING}1/cur_state": "4",
    f"{POLICY}/scaling_governor": "ondemand",
    f"{POLICY}/scaling_cur_freq": "1500000",
    f"{POLICY}/scaling_max_freq": "2400000",
    f"{POLICY}/cpuinfo_max_freq": "2400000",
    FIRMWARE: "50000",
}


def test_state_of_a_board() -> None:
    state = parse_state(PI)
    assert state.hottest == 48.85
    assert state.governors == ("ondemand",)
    assert state.clock_ratio == 1500 / 2400
    assert state.throttling_now() == ()
    assert state.shows_throttling
    assert not parse_state({}).shows_throttling


@pytest.mark.parametrize(
    ("during", "words"),
    [
        ({}, []),
        ({f"{COOLING}0/cur_state": "2"}, ["thermal-cpufreq-0", "level 2"]),
        ({f"{POLICY}/scaling_max_freq": "1800000"}, ["policy0", "2.40 to 1.80 GHz"]),
        ({FIRMWARE: "50004"}, ["throttled"]),
        ({FIRMWARE: "50001"}, ["supply voltage too low"]),
        ({"dumpsys thermalservice": "Thermal Status: 3"}, ["thermal status severe"]),
    ],
)
def test_throttling_during_a_run_is_seen(during: dict[str, str], words: list[str]) -> None:
    start = parse_state(PI)
    run = RunStates(start, (start, parse_state(PI | during | {f"{ZONE}0/temp": "82000"})), start)
    conditions = conditions_of([run], highest_limits([run]), waited=0)
    assert conditions.throttled is bool(words)
    assert (conditions.temperature_start, conditions.temperature_peak) == (48.85, 82.0)
    assert all(word in " ".join(conditions.notes) for word in words)


def test_throttling_between_two_looks_leaves_a_trace() -> None:
    start = parse_state(PI)
    run = RunStates(start, (), parse_state(PI | {FIRMWARE: "70000"}))
    assert conditions_of([run], {}, waited=0).throttled
    blind = parse_state({})
    assert conditions_of([RunStates(blind, (), blind)], {}, waited=0).throttled is None
