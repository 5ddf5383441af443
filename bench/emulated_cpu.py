"""An emulated core as the programs on it see it: the files in which Linux describes the CPU.

QEMU's user mode passes the files of the machine around it through, so a program that asks which
core it runs on, or how many there are, hears of that machine. XNNPACK asks both: it has kernels of
their own for some cores, and it cuts work by the number of cores. A folder in front of the
sysroot, with files of our own, makes an emulated run independent of where it happens.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from arcmobile.runtime.errors import TargetError

# MIDR_EL1 of QEMU's models (target/arm/cpu64.c); a model that is not here gets that of `max`,
# which is no core that was ever made.
_MAX: Final = 0x000F0510
_MIDR: Final = {
    "a64fx": 0x461F0010,
    "cortex-a35": 0x411FD040,
    "cortex-a53": 0x410FD034,
    "cortex-a55": 0x412FD050,
    "cortex-a57": 0x411FD070,
    "cortex-a72": 0x410FD083,
    "cortex-a76": 0x414FD0B1,
    "neoverse-n1": 0x414FD0C1,
}
# The newest core that QEMU 7 and 8 emulate rightly, see `has_wrong_smopa`.
DEFAULT_CPU: Final = "max,sme=off"
_REPLACED: Final = ("proc", "sys")
_SYSROOT: Final = "/usr/aarch64-linux-gnu"  # of Debian's cross packages


def has_wrong_smopa(cpu: str, version: str) -> bool:
    """Tell whether a CPU model has SME and QEMU (first line of ``--version``) computes it wrongly.

    Before version 9.0 the integer outer products came out wrong (QEMU issue 2083). The kernels
    that use them run and can be counted, but the sound of an int8 program is noise.
    """
    model, *features = cpu.split(",")
    found = re.search(r"version (\d+)", version)
    return model == "max" and "sme=off" not in features and found is not None and int(found[1]) < 9


def base_sysroot() -> Path:
    """Return the folder of the emulated machine's libraries; QEMU's ``QEMU_LD_PREFIX`` wins."""
    return Path(os.environ.get("QEMU_LD_PREFIX", _SYSROOT))


def cpu_files(model: str, cores: int) -> dict[str, str]:
    """Return the files of a machine with cores of a QEMU model, by path without leading slash."""
    midr = _MIDR.get(model, _MAX)
    processors = (
        f"processor\t: {index}\n"
        f"model name\t: {model}\n"
        f"CPU implementer\t: 0x{midr >> 24:02x}\n"
        "CPU architecture: 8\n"
        f"CPU variant\t: 0x{midr >> 20 & 15:x}\n"
        f"CPU part\t: 0x{midr >> 4 & 0xFFF:03x}\n"
        f"CPU revision\t: {midr & 15}\n\n"
        for index in range(cores)
    )
    all_cores = "0\n" if cores == 1 else f"0-{cores - 1}\n"
    folder = "sys/devices/system/cpu"
    files = {"proc/cpuinfo": "".join(processors), f"{folder}/kernel_max": f"{cores - 1}\n"}
    files |= {f"{folder}/{name}": all_cores for name in ("online", "possible", "present")}
    core = {
        "topology/physical_package_id": "0\n",
        "topology/cluster_cpus_list": all_cores,
        "topology/core_siblings_list": all_cores,
        "regs/identification/midr_el1": f"0x{midr:016x}\n",
        # Some number, the same everywhere: kernels are not chosen by it.
        "cpufreq/cpuinfo_max_freq": "2000000\n",
        "cpufreq/cpuinfo_min_freq": "2000000\n",
    }
    for index in range(cores):
        files |= {f"{folder}/cpu{index}/{name}": text for name, text in core.items()}
    return files


@contextmanager
def sysroot_for(sysroot: Path, cpu: str, cores: int = 1) -> Iterator[Path]:
    """Make a folder for QEMU's ``-L``: ``sysroot``, showing ``cores`` cores of a CPU model.

    ``cpu`` may name features after the model, ``max,sme=off``. The folder is removed when the block
    ends. Where the sysroot does not exist, it has no libraries, which the emulator will miss.

    Raises:
        TargetError: the folder cannot be filled.
    """
    with tempfile.TemporaryDirectory(prefix="arcmobile-") as name:
        folder = Path(name)
        try:
            _fill(folder, sysroot, cpu_files(cpu.partition(",")[0], cores))
        except OSError as error:
            raise TargetError(
                f"{error.filename or sysroot}: {error.strerror}; check the sysroot and TMPDIR"
            ) from error
        yield folder


def _fill(folder: Path, sysroot: Path, files: dict[str, str]) -> None:
    for path in sysroot.resolve().iterdir() if sysroot.is_dir() else ():
        if path.name not in _REPLACED:
            (folder / path.name).symlink_to(path)
    for relative, text in files.items():
        file = folder / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="ascii")
