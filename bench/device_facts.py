"""What a device is: its name, its cores, their instruction set extensions, its memory.

Read as text through the device's shell (:data:`FACTS_SCRIPT`); see :mod:`arcmobile.bench.probe`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from arcmobile.bench.probe import Sections, probe_script

_FILES: Final = (
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/device-tree/model",
    "/sys/class/dmi/id/product_name",
    "/etc/os-release",
    "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor",
)
_UNAME: Final = "uname -srm"
_WORD_SIZE: Final = "getconf LONG_BIT"
FACTS_SCRIPT: Final = probe_script(_FILES, (_UNAME, _WORD_SIZE))
_PROPERTIES: Final = (
    *("ro.product.manufacturer", "ro.product.model", "ro.product.cpu.abi", "ro.soc.model"),
    "ro.build.version.release",
)
ANDROID_FACTS_SCRIPT: Final = probe_script(
    _FILES, (_UNAME, *(f"getprop {name}" for name in _PROPERTIES))
)

_MACHINES: Final = {
    "arm64": "aarch64",
    "amd64": "x86_64",
    "armv7l": "arm",
    "armv8l": "arm",
    "i686": "x86",
    "i386": "x86",
}
_ARM_32_OF_64: Final = {"aarch64": "arm", "x86_64": "x86"}
# Implementer and part of MIDR_EL1, from the cores' reference manuals and arch/arm64/include/asm/
# cputype.h of Linux.
_CORES: Final = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD48): "Cortex-X2",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4D): "Cortex-A715",
    (0x41, 0xD4E): "Cortex-X3",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD80): "Cortex-A520",
    (0x41, 0xD81): "Cortex-A720",
    (0x41, 0xD82): "Cortex-X4",
    (0x41, 0xD84): "Neoverse-V3",
    (0x41, 0xD85): "Cortex-X925",
    (0x41, 0xD87): "Cortex-A725",
    (0x41, 0xD8E): "Neoverse-N3",
    (0x51, 0x001): "Oryon",
}


@dataclass(frozen=True)
class DeviceFacts:
    """``machine`` is the instruction set that programs may use: ``aarch64``, ``arm``, ``x86_64``.

    ``name`` and ``memory_bytes`` are ``None``, and the texts empty, where the device does not say.
    """

    machine: str
    cpu: str
    features: tuple[str, ...]
    cores: int
    memory_bytes: int | None
    name: str | None
    system: str
    governor: str | None
    android_abi: str | None = None


def parse_facts(sections: Sections) -> DeviceFacts:
    """Parse the output of :data:`FACTS_SCRIPT` or :data:`ANDROID_FACTS_SCRIPT`."""
    cpuinfo = sections.get("/proc/cpuinfo", "")
    uname = sections.get(_UNAME, "").split()
    machine = machine_name(uname[-1]) if uname else "unknown"
    # A 32-bit system on a 64-bit kernel says aarch64 but cannot run its programs.
    if sections.get(_WORD_SIZE) == "32":
        machine = _ARM_32_OF_64.get(machine, machine)
    governors = {text for path, text in sections.items() if path.endswith("scaling_governor")}
    return DeviceFacts(
        machine=machine,
        cpu=cpu_name(cpuinfo, sections.get("getprop ro.soc.model", "")) or machine,
        features=_features(cpuinfo),
        cores=max(1, len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE))),
        memory_bytes=_memory(sections.get("/proc/meminfo", "")),
        name=_device_name(sections),
        system=_system(sections, uname),
        governor=", ".join(sorted(governors)) or None,
        android_abi=sections.get("getprop ro.product.cpu.abi") or None,
    )


def machine_name(text: str) -> str:
    """Return the instruction set by one name: ``aarch64`` for ``arm64`` of `uname -m`."""
    return _MACHINES.get(text, text)


def cpu_name(cpuinfo: str, soc: str = "") -> str:
    """Return the CPU's own name; for Arm its cores, as in ``SM8650: 2x Cortex-A520 + ...``."""
    if match := re.search(r"^model name\s*:\s*(\S.*)$", cpuinfo, re.MULTILINE):
        return match[1].strip()
    implementers = re.findall(r"^CPU implementer\s*:\s*(0x[0-9a-fA-F]+)", cpuinfo, re.MULTILINE)
    parts = re.findall(r"^CPU part\s*:\s*(0x[0-9a-fA-F]+)", cpuinfo, re.MULTILINE)
    kinds = Counter(
        (int(implementer, 16), int(part, 16))
        for implementer, part in zip(implementers, parts, strict=False)
    )
    named = [
        f"{count}x {_CORES.get(kind, f'core {kind[0]:#x}/{kind[1]:#x}')}"
        for kind, count in kinds.items()
    ]
    return ": ".join(part for part in (soc, " + ".join(named)) if part)


def _features(cpuinfo: str) -> tuple[str, ...]:
    """Return the extensions that every core has."""
    lists = re.findall(r"^(?:Features|flags)\s*:(.*)$", cpuinfo, re.MULTILINE)
    common = set.intersection(*(set(words.split()) for words in lists)) if lists else set()
    return tuple(sorted(common))


def _memory(meminfo: str) -> int | None:
    match = re.search(r"^MemTotal:\s+(\d{1,15}) kB", meminfo, re.MULTILINE)
    return int(match[1]) * 1024 if match and int(match[1]) else None


def _device_name(sections: Sections) -> str | None:
    if model := sections.get("getprop ro.product.model"):
        maker = sections.get("getprop ro.product.manufacturer", "")
        return model if model.lower().startswith(maker.lower()) else f"{maker} {model}"
    for path in ("/proc/device-tree/model", "/sys/class/dmi/id/product_name"):
        if name := sections.get(path):
            return " ".join(name.split())
    return None


def _system(sections: Sections, uname: list[str]) -> str:
    kernel = " ".join(uname[:2])
    if release := sections.get("getprop ro.build.version.release"):
        return f"Android {release}, {kernel}"
    pretty = re.search(
        r'^PRETTY_NAME="?([^"\n]+)', sections.get("/etc/os-release", ""), re.MULTILINE
    )
    return f"{pretty[1]}, {kernel}" if pretty else kernel
