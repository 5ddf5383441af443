"""The state of a device while it is measured: temperatures, clocks, and whether it throttled.

Everything is read as text from sysfs, so that one shell script (:data:`STATE_SCRIPT`) serves this
machine, a board and a phone; Android's thermal service adds what sysfs hides from the shell user.
Sources: Documentation/driver-api/thermal/sysfs-api.rst, Documentation/admin-guide/pm/cpufreq.rst
and Documentation/hwmon/sysfs-interface.rst of Linux; the firmware's ``get_throttled`` bits as the
Raspberry Pi documentation lists them; ``android.os.Temperature`` for the status levels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from arcmobile.bench.probe import Sections, probe_script
from arcmobile.bench.result import Conditions

THERMAL_SERVICE: Final = "dumpsys thermalservice"
_PATTERNS: Final = (
    "/sys/class/thermal/thermal_zone*/type",
    "/sys/class/thermal/thermal_zone*/temp",
    "/sys/class/thermal/cooling_device*/type",
    "/sys/class/thermal/cooling_device*/cur_state",
    "/sys/class/hwmon/hwmon*/name",
    "/sys/class/hwmon/hwmon*/temp1_input",
    "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor",
    "/sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq",
    "/sys/devices/system/cpu/cpufreq/policy*/scaling_max_freq",
    "/sys/devices/system/cpu/cpufreq/policy*/cpuinfo_max_freq",
    "/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count",
    "/sys/devices/platform/soc*/*firmware*/get_throttled",
)
STATE_SCRIPT: Final = probe_script(_PATTERNS)
ANDROID_STATE_SCRIPT: Final = probe_script(_PATTERNS, (THERMAL_SERVICE,))

# Cheap enough to read every second while the runner works.
_WATCHED: Final = ("scaling_cur_freq", "scaling_max_freq", "get_throttled")

# Zones of a phone also name batteries, chargers and radios, which say little about the CPU.
_CPU_SENSOR: Final = re.compile(
    r"cpu|soc[-_]|x86_pkg|k10temp|coretemp|cluster|package|^(big|mid|little)|acpitz", re.IGNORECASE
)
_CPU_COOLING: Final = re.compile(r"cpufreq|cpu-|^Processor$")
_HAL_TEMPERATURE: Final = re.compile(
    r"Temperature\{mValue=(?P<value>-?[0-9]{1,6}(?:\.[0-9]{0,9})?), "
    r"mType=(?P<type>-?[0-9]+), mName=(?P<name>[^,}]*)"
)
_HAL_STATUS: Final = re.compile(r"^Thermal Status: ([0-9]{1,6})", re.MULTILINE)
_HAL_CPU_OR_SKIN: Final = {"0", "3"}
_STATUS_NAMES: Final = (
    *("none", "light", "moderate", "severe", "critical", "emergency", "shutdown"),
)
_FIRMWARE_FLAGS: Final = {
    0: "supply voltage too low",
    1: "clock capped",
    2: "throttled",
    3: "soft temperature limit",
}
_SINCE_BOOT_SHIFT: Final = 16


@dataclass(frozen=True)
class Clock:
    """A group of cores that share a clock, in kHz: now, the limit now, the highest there is."""

    current: int | None
    limit: int | None
    highest: int | None


@dataclass(frozen=True)
class DeviceState:
    """One look at a device; what it does not show is empty or ``None``.

    Attributes:
        temperatures: of the CPU, in degrees Celsius, by sensor.
        clocks: by group of cores.
        governors: of the clocks.
        cooling: level of each measure that slows the CPU; 0: off.
        counters: what only grows when it throttles.
        flags: the firmware's own words.
        status: Android's thermal status; 0: none.
    """

    temperatures: Mapping[str, float] = field(default_factory=dict)
    clocks: Mapping[str, Clock] = field(default_factory=dict)
    governors: tuple[str, ...] = ()
    cooling: Mapping[str, int] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    flags: frozenset[str] | None = None
    status: int | None = None

    @property
    def hottest(self) -> float | None:
        """The highest temperature, in degrees Celsius."""
        return max(self.temperatures.values(), default=None)

    @property
    def shows_throttling(self) -> bool:
        """Whether this device would show throttling at all."""
        known = self.flags is not None or self.status is not None
        return known or bool(self.clocks or self.cooling or self.counters)

    @property
    def clock_ratio(self) -> float | None:
        """Present clock over the highest, of the busiest group of cores: idle ones run slow."""
        ratios = (c.current / c.highest for c in self.clocks.values() if c.current and c.highest)
        return max(ratios, default=None)

    def throttling_now(self) -> tuple[str, ...]:
        """Return what slows the CPU at this moment, in words."""
        reasons = [f"cooling {name}: level {n}" for name, n in self.cooling.items() if n > 0]
        reasons += sorted(self.flags or ())
        if self.status:
            name = _STATUS_NAMES[min(self.status, len(_STATUS_NAMES) - 1)]
            reasons.append(f"thermal status {name}")
        return tuple(reasons)


@dataclass(frozen=True)
class RunStates:
    """The looks at a device around one run, and each second during it."""

    before: DeviceState
    during: tuple[DeviceState, ...]
    after: DeviceState

    @property
    def all(self) -> tuple[DeviceState, ...]:
        """Every look, in order."""
        return (self.before, *self.during, self.after)

    def throttling(self, limits: Mapping[str, int]) -> tuple[str, ...]:
        """Return why this run counts as throttled; ``limits``: see :func:`highest_limits`."""
        reasons = dict.fromkeys(reason for state in self.all for reason in state.throttling_now())
        for name, count in self.after.counters.items():
            if count > self.before.counters.get(name, count):
                reasons[f"{name} went up"] = None
        for name, highest in limits.items():
            seen = [state.clocks[name].limit for state in self.all if name in state.clocks]
            lowest = min((limit for limit in seen if limit), default=highest)
            if lowest < highest:
                was, now = highest / 1e6, lowest / 1e6
                reasons[f"{name}: clock limit lowered from {was:.2f} to {now:.2f} GHz"] = None
        return tuple(reasons)


def highest_limits(runs: Iterable[RunStates]) -> dict[str, int]:
    """Return the highest limit of each clock (kHz) over some runs; lower ones are throttling.

    A limit that the owner set permanently is not.
    """
    highest: dict[str, int] = {}
    for run in runs:
        for state in run.all:
            for name, clock in state.clocks.items():
                if clock.limit:
                    highest[name] = max(clock.limit, highest.get(name, 0))
    return highest


def conditions_of(
    runs: Sequence[RunStates],
    limits: Mapping[str, int],
    *,
    waited: float,
    notes: Iterable[str] = (),
) -> Conditions:
    """Return the conditions over the runs of one measurement; ``waited`` in seconds.

    ``limits`` are those of the whole sweep (:func:`highest_limits`).
    """
    states = [state for run in runs for state in run.all]
    reasons = dict.fromkeys(reason for run in runs for reason in run.throttling(limits))
    temperatures = [state.hottest for state in states if state.hottest is not None]
    # The first look of a run comes before the clocks have risen.
    ratios = [s.clock_ratio for run in runs for s in run.during[1:] if s.clock_ratio is not None]
    shown = any(state.shows_throttling for state in states)
    return Conditions(
        throttled=bool(reasons) if shown else None,
        temperature_start=runs[0].before.hottest if runs else None,
        temperature_peak=max(temperatures, default=None),
        frequency_ratio_lowest=min(ratios, default=None),
        waited=waited,
        notes=(*notes, *(f"throttled: {reason}" for reason in reasons)),
    )


def watched_files(sections: Sections) -> tuple[str, ...]:
    """Return the files of a first look that are worth reading every second during a run."""
    chosen = {
        *_sensors(sections),
        *_labelled(sections, "cur_state", _CPU_COOLING),
        *(path for path in sections if path.rpartition("/")[2] in _WATCHED),
    }
    return tuple(path for path in sections if path in chosen)


def parse_state(sections: Sections) -> DeviceState:
    """Parse the output of :data:`STATE_SCRIPT`; what is not understood is left out."""
    service = sections.get(THERMAL_SERVICE, "")
    status = _HAL_STATUS.search(service)
    bits = _firmware_bits(sections)
    return DeviceState(
        temperatures=dict(_temperatures(sections, service)),
        clocks=_clocks(sections),
        governors=tuple(
            sorted({text for path, text in sections.items() if path.endswith("scaling_governor")})
        ),
        cooling={
            f"{label} ({_parent(path)})": level
            for path, label in _labelled(sections, "cur_state", _CPU_COOLING).items()
            if (level := _integer(sections[path])) is not None
        },
        counters=dict(_counters(sections)),
        flags=None
        if bits is None
        else frozenset(name for bit, name in _FIRMWARE_FLAGS.items() if bits >> bit & 1),
        status=int(status[1]) if status else None,
    )


def _sensors(sections: Sections) -> dict[str, str]:
    """Files that hold a temperature of the CPU, and what their sensors are called."""
    zones = _labelled(sections, "temp", _CPU_SENSOR)
    return zones | _labelled(sections, "temp1_input", _CPU_SENSOR, "name")


def _temperatures(sections: Sections, service: str) -> Iterator[tuple[str, float]]:
    for path, label in _sensors(sections).items():
        raw = _integer(sections[path])
        if raw is not None and (celsius := _celsius(raw)) is not None:
            yield f"{label} ({_parent(path)})", celsius
    # The service prints cached values first; those of the hardware come last and win.
    for match in _HAL_TEMPERATURE.finditer(service):
        if match["type"] in _HAL_CPU_OR_SKIN and 0 < float(match["value"]) < 150:
            yield match["name"], float(match["value"])


def _counters(sections: Sections) -> Iterator[tuple[str, int]]:
    for path, text in sections.items():
        if path.endswith("core_throttle_count") and (count := _integer(text)) is not None:
            yield path.removeprefix("/sys/devices/system/cpu/"), count
    if (bits := _firmware_bits(sections)) is not None:
        yield "firmware flags since start", bits >> _SINCE_BOOT_SHIFT


def _celsius(raw: int) -> float | None:
    """Millidegrees, as the kernel says; some vendors write tenths or whole degrees."""
    value = raw / 1000 if abs(raw) >= 1000 else raw / 10 if abs(raw) > 150 else float(raw)
    return value if 0 < value < 150 else None


def _clocks(sections: Sections) -> dict[str, Clock]:
    policies = dict.fromkeys(
        path.rpartition("/")[0] for path in sections if "/cpufreq/policy" in path
    )
    return {
        folder.rpartition("/")[2]: Clock(
            *(
                _integer(sections.get(f"{folder}/{name}", ""))
                for name in ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq")
            )
        )
        for folder in policies
    }


def _firmware_bits(sections: Sections) -> int | None:
    """The firmware's flags: the low half for now, the high half for ever since it started."""
    for path, text in sections.items():
        if path.endswith("get_throttled") and re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", text):
            return int(text, 16)
    return None


def _labelled(
    sections: Sections, name: str, wanted: re.Pattern[str], label: str = "type"
) -> dict[str, str]:
    """Files called ``name`` whose folder's label is one we want: path -> label."""
    found = {}
    for path in sections:
        folder, _, file = path.rpartition("/")
        text = sections.get(f"{folder}/{label}", "")
        if file == name and wanted.search(text):
            found[path] = text
    return found


def _parent(path: str) -> str:
    return path.rpartition("/")[0].rpartition("/")[2]


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d{1,18}", text) else None
