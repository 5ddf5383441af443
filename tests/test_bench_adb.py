"""A phone, through a stand-in for adb that takes exactly the commands we mean to send."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import adb_stand_in
import pytest
import stand_ins
from stand_ins import ODD_PROMPT, REQUEST, Dists, eventually, refused, run_once

from arcmobile.bench.targets.adb import AdbTarget, Attached, choose_device, parse_devices
from arcmobile.bench.targets.base import TargetOptions
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.errors import TargetError

SERIAL = adb_stand_in.SERIAL


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(stand_ins.make_executorch_bundle(tmp_path_factory.mktemp("b") / "tiny"))


@pytest.fixture(scope="module")
def dists(tmp_path_factory: pytest.TempPathFactory) -> Dists:
    return Dists(tmp_path_factory)


@pytest.fixture
def options(dists: Dists, phone: adb_stand_in.Phone) -> TargetOptions:
    """A phone whose cores are emulated."""
    sysroot = stand_ins.phone_sysroot(phone.folder / "sysroot")
    prefix = f"qemu-aarch64 -L {sysroot}"
    return TargetOptions(native=dists("android-arm64"), exec_prefix=prefix)


def test_phone_protocol(bundle: Bundle, options: TargetOptions, phone: adb_stand_in.Phone) -> None:
    target = AdbTarget(options)
    with target:
        target.prepare(bundle)
        (scratch,) = phone.scratch
        there = {str(path.relative_to(scratch)) for path in scratch.rglob("*") if path.is_file()}
        stats = target.run(REQUEST).stats
        environment = target.environment()
    assert there == {
        *("runner/arcmobile-run", "runner/lib/libstand_in.so", "bundle/manifest.json"),
        *(f"bundle/{record.file}" for record in bundle.manifest.files()),
    }
    assert stats.prompt == ODD_PROMPT
    assert phone.scratch == []

    devices, guard, *rest = phone.commands
    assert devices == ["devices", "-l"]
    assert guard[:3] == ["-s", SERIAL, "shell"]
    assert "mktemp -d" in guard[3]
    assert "'" not in guard[3]
    name = f"/data/local/tmp/{scratch.name}"
    pushes = [command for command in rest if command[2] == "push"]
    assert {command[-1] for command in pushes} == {
        f"{name}/{folder}/" for folder in ("runner", "runner/lib", "bundle")
    }
    (run,) = [command[3] for command in rest if "--stats json" in command[3]]
    assert f"{name}/runner/arcmobile-run --steps 3 --seed 7 --seconds 1.0 --threads 2" in run

    assert environment.device == "Stand In 24"
    assert environment.cpu == "Stand-in, emulated"
    assert environment.system == "Android 15, Linux 6.1.75-android14"
    assert environment.memory_bytes == 12_000_000 * 1024


@pytest.mark.parametrize(
    ("devices", "serial", "words"),
    [
        ("", None, ["no device"]),
        (f"{SERIAL}\toffline usb:1\n", None, [SERIAL, "offline", "plug"]),
        (f"{SERIAL}\tunauthorized usb:1\n", None, [SERIAL, "unauthorized", "allow"]),
        (f"{SERIAL}\tno permissions (udev); see [x]\n", None, ["no permissions", "udev"]),
        (f"{SERIAL}\tdevice model:A\nemulator-5554\tdevice model:B\n", None,
         ["several devices", f"{SERIAL} (A)", "emulator-5554 (B)", "--serial"]),
        (f"{SERIAL}\tdevice\n", "XYZ", ["--serial XYZ", "no such device"]),
    ],
)  # fmt: skip
def test_no_clear_phone(
    bundle: Bundle,
    options: TargetOptions,
    phone: adb_stand_in.Phone,
    devices: str,
    serial: str | None,
    words: list[str],
) -> None:
    phone.set("devices", devices)
    refused(AdbTarget(replace(options, serial=serial)), bundle, *words)
    assert phone.commands == [["devices", "-l"]]


def test_one_phone_of_several(
    bundle: Bundle, options: TargetOptions, phone: adb_stand_in.Phone
) -> None:
    phone.set("devices", f"other\toffline\n{SERIAL}\tdevice model:A\n")
    run_once(AdbTarget(replace(options, serial=SERIAL)), bundle)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("free", "16000"), ["16 MB free in /data/local/tmp", "needed"]),
        (("push_fault", "remote write failed: No space left on device"), ["no space left"]),
        (("push_fault", "remote couldn't create file: Is a directory"), ["Is a directory"]),
        (("unplug_on", "mkdir -p"), ["went away"]),
    ],
)
def test_phone_that_cannot_take_the_files(
    bundle: Bundle,
    options: TargetOptions,
    phone: adb_stand_in.Phone,
    change: tuple[str, str],
    words: list[str],
) -> None:
    phone.set(*change)
    refused(AdbTarget(options), bundle, SERIAL, *words)
    assert eventually(lambda: phone.scratch == [])


def test_phone_of_another_abi(
    bundle: Bundle, dists: Dists, options: TargetOptions, phone: adb_stand_in.Phone
) -> None:
    plain = replace(options, exec_prefix=None)
    for dist in (dists("linux-arm64"), dists("host")):
        refused(AdbTarget(replace(plain, native=dist)), bundle, "needs Android aarch64")
    phone.set("props/ro.product.cpu.abi", "armeabi-v7a")
    refused(AdbTarget(plain), bundle, "armeabi-v7a", "arm64-v8a")
    assert not [command for command in phone.commands if command[2:3] == ["push"]]


def test_phone_unplugged_during_a_run(
    bundle: Bundle, options: TargetOptions, phone: adb_stand_in.Phone
) -> None:
    said: list[str] = []
    phone.set("unplug_on", "--stats json")
    target = AdbTarget(replace(options, warn=said.append))
    request = replace(REQUEST, prompt="hang")
    refused(target, bundle, SERIAL, "went away", "plug it in", request=request)
    assert said == [] or "removes /data/local/tmp/arcmobile-" in said[0]
    assert eventually(lambda: phone.scratch == [])
    assert eventually(lambda: stand_ins.processes_with(str(phone.folder / "root")) == [])


def test_adb_is_not_installed(
    bundle: Bundle, options: TargetOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(AdbTarget(options), bundle, "adb is not installed", "apt-get install adb")


def test_a_server_that_was_started_for_us_is_stopped(
    bundle: Bundle, options: TargetOptions, phone: adb_stand_in.Phone
) -> None:
    phone.set("devices", "")
    phone.set("no_server", "")
    refused(AdbTarget(options), bundle, "no device")
    assert phone.commands == [["devices", "-l"], ["kill-server"]]


LISTED = (
    # By mDNS, with the space that a second phone of a name gets; then a row of states in words.
    ("adb-77K9 (3)._adb-tls-connect._tcp device product:akita model:Pixel_8a transport_id:12",
     Attached("adb-77K9 (3)._adb-tls-connect._tcp", "device", "Pixel_8a")),
    ("(no serial number)     no permissions (user in plugdev group; are your udev rules wrong?); "
     "see [http://developer.android.com/tools/device.html] usb:1-4 transport_id:2",
     Attached("(no serial number)", "no permissions", "")),
    ("192.168.1.7:5555       offline transport_id:3", Attached("192.168.1.7:5555", "offline", "")),
    ("my old device          unauthorized usb:2-1 transport_id:4",
     Attached("my old device", "unauthorized", "")),
    ("device                 recovery usb:1-1.2 product:x model:y device:z transport_id:5",
     Attached("device", "recovery", "y")),
    ("ABC\tsideload", Attached("ABC", "sideload", "")),
    ("ABC\tno permissions", Attached("ABC", "no permissions", "")),
    ("ABC\thibernating", Attached("ABC", "hibernating", "")),
    ("R58 device product:a b model:SM_A536B device:a53 transport_id:6",
     Attached("R58", "device", "SM_A536B")),
)  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
def test_lines_of_adb_devices(end: str) -> None:
    said = ["* daemon not running; starting now at tcp:5037", "* daemon started successfully"]
    said += ["List of devices attached", *(line for line, _ in LISTED), "", ""]
    assert parse_devices(end.join(said)) == [device for _, device in LISTED]


def test_a_serial_with_a_space_is_chosen_and_one_that_two_have_is_not() -> None:
    attached = [device for _, device in LISTED]
    assert choose_device(attached, LISTED[0][1].serial) == LISTED[0][1]
    with pytest.raises(TargetError, match="unplug all but one"):
        choose_device([LISTED[0][1]] * 2, LISTED[0][1].serial)
    with pytest.raises(TargetError, match="device my old device: is unauthorized; unlock it"):
        choose_device(attached, "my old device")
    with pytest.raises(TargetError, match="device device: is recovery; start Android"):
        choose_device(attached, "device")
