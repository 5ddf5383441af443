"""Machines that can run a bundle: this one, an emulated Arm core, a board, a phone."""

from __future__ import annotations

from typing import Final

from arcmobile.bench.targets.adb import AdbTarget
from arcmobile.bench.targets.base import Target, TargetOptions
from arcmobile.bench.targets.host import HostTarget
from arcmobile.bench.targets.qemu import QemuTarget
from arcmobile.bench.targets.ssh import SshTarget
from arcmobile.runtime.errors import InputError

TARGETS: Final[dict[str, type[Target]]] = {
    target.kind: target for target in (HostTarget, QemuTarget, SshTarget, AdbTarget)
}


def make_target(kind: str, options: TargetOptions) -> Target:
    """Return the target of that name, not opened yet.

    Raises:
        InputError: the name is unknown, or an option does not apply to the target.
    """
    if kind not in TARGETS:
        raise InputError(f"--target {kind}: unknown; known: {', '.join(TARGETS)}")
    target = TARGETS[kind]
    taken = {f"--{name.replace('_', '-')}" for name in target.takes}
    if stray := [option for option in options.given() if option not in taken]:
        raise InputError(f"{', '.join(stray)}: does not apply to --target {kind}; leave it out")
    return target(options)
