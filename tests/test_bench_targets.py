"""Targets: this machine, an emulated core, and a board behind a real sshd on loopback.

What runs there, what is refused, and that nothing of ours stays.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import onnx_bundle
import pytest
import stand_ins
from stand_ins import ODD_PROMPT, REQUEST, Dists, eventually, refused, run_once

from arcmobile.bench.targets import make_target, runner_dist
from arcmobile.bench.targets.base import TargetOptions
from arcmobile.bench.targets.host import HostTarget
from arcmobile.bench.targets.qemu import QemuTarget
from arcmobile.bench.targets.ssh import SshTarget
from arcmobile.runtime.bundle import Bundle
from arcmobile.runtime.errors import InputError, TargetError

EMULATED = f"qemu-aarch64 -L {stand_ins.SYSROOT}"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(stand_ins.make_executorch_bundle(tmp_path_factory.mktemp("b") / "tiny"))


@pytest.fixture(scope="module")
def dists(tmp_path_factory: pytest.TempPathFactory) -> Dists:
    return Dists(tmp_path_factory)


# --- choosing -----------------------------------------------------------------------------------


def test_unknown_target_and_stray_options() -> None:
    with pytest.raises(InputError, match=r"--target fpga: unknown; known: .*qemu"):
        make_target("fpga", TargetOptions())
    with pytest.raises(InputError, match=r"--serial.*--target qemu"):
        make_target("qemu", TargetOptions(serial="1"))
    with pytest.raises(InputError, match="needs --host"):
        make_target("ssh", TargetOptions())
    with pytest.raises(InputError, match="needs --host"):
        make_target("ssh", TargetOptions(host="-oProxyCommand=id"))
    with pytest.raises(InputError, match="--exec-prefix"):
        make_target("host", TargetOptions(exec_prefix="taskset '"))
    with pytest.raises(InputError, match="--device-folder"):
        make_target("adb", TargetOptions(device_folder="here"))


def test_missing_runner_names_its_build(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = TargetOptions(native=tmp_path)
    refused(HostTarget(empty), bundle, str(tmp_path / "arcmobile-run"), "check --native")
    monkeypatch.setattr(runner_dist, "_BUILD", tmp_path)
    refused(HostTarget(TargetOptions(runner="native")), bundle, "build it: make native")
    refused(QemuTarget(TargetOptions()), bundle, "build it: make native-arm64")
    warned: list[str] = []
    chosen = HostTarget(TargetOptions(warn=warned.append))
    chosen.prepare(bundle)
    assert chosen.runner == "python"
    assert warned == ["no native runner here (build it: make native); measuring the Python one"]


def test_bundle_of_another_backend_and_wrong_abi(
    bundle: Bundle, dists: Dists, tmp_path: Path
) -> None:
    other = Bundle.open(onnx_bundle.make_bundle(tmp_path / "onnx"))
    options = TargetOptions(native=dists("linux-arm64"))
    refused(QemuTarget(options), other, "backend onnx", "--runner python")
    native = replace(options, runner="native")
    refused(HostTarget(native), bundle, "Linux aarch64", "needs Linux x86_64")
    refused(QemuTarget(TargetOptions(native=dists("host"))), bundle, "needs Linux aarch64")
    refused(QemuTarget(TargetOptions(native=dists("android-arm64"))), bundle, "Android aarch64")
    (tmp_path / "arcmobile-run").write_text("#!/bin/sh\n")
    refused(HostTarget(TargetOptions(native=tmp_path)), bundle, "is not a program")


# --- this machine, and an emulated core ---------------------------------------------------------


def test_host_runs_any_prompt(bundle: Bundle, dists: Dists) -> None:
    target = HostTarget(TargetOptions(native=dists("host"), exec_prefix="env A=1"))
    with target:
        target.prepare(bundle)
        record = target.run(REQUEST, cold=True)
        scratch = Path(target.scratch)
        assert scratch.is_dir()
    assert not scratch.exists()
    assert record.stats.prompt == ODD_PROMPT
    assert record.stats.load_seconds == {"conditioner": 0.5, "dit": 0.5, "decoder": 0.5}
    assert record.stats.calls("dit") == (0.2, 0.2, 0.2)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("crash", ["SIGSEGV"]),
        ("refuse", ["dit.pte: is damaged"]),
        ("rubbish", ["printed stats", "not JSON"]),
        ("other seed", ["seed 99, not 7"]),
        ("chatter", ["arcmobile-run: printed more than 16 MB"]),
        ("complaint", ["arcmobile-run: printed more than 16 MB"]),
    ],
)
def test_a_runner_that_misbehaves(
    bundle: Bundle, dists: Dists, prompt: str, words: list[str]
) -> None:
    target = HostTarget(TargetOptions(native=dists("host")))
    refused(target, bundle, *words, request=replace(REQUEST, prompt=prompt))
    assert stand_ins.processes_with(str(dists("host"))) == []


def test_a_run_that_takes_too_long_is_killed(bundle: Bundle, dists: Dists) -> None:
    target = HostTarget(TargetOptions(native=dists("host"), timeout=0.5))
    refused(target, bundle, "0.5 s", "--timeout", request=replace(REQUEST, prompt="hang"))
    assert stand_ins.processes_with(str(dists("host"))) == []


def test_qemu_runs_the_arm_build(bundle: Bundle, dists: Dists, tmp_path: Path) -> None:
    options = TargetOptions(native=dists("linux-arm64"), cpu="cortex-a53,pmu=off")
    log = tmp_path / "system-calls"
    target = QemuTarget(options, ["-strace", "-D", str(log)])
    assert run_once(target, bundle).prompt == ODD_PROMPT
    assert "exit_group" in log.read_text()
    with target:
        environment = target.environment()
        assert target.state().hottest is None
    assert (environment.emulated, environment.architecture) == (True, "aarch64")
    assert environment.cpu == "cortex-a53,pmu=off, emulated"
    assert environment.features == ("asimd", "asimddp")


def test_emulator_mistakes(
    bundle: Bundle, dists: Dists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TargetOptions(native=dists("linux-arm64"))
    refused(QemuTarget(replace(options, cpu="m68k")), bundle, "--cpu m68k", "cortex-a53")
    refused(QemuTarget(replace(options, cpu="max,wings=on")), bundle, "wings")
    monkeypatch.setenv("QEMU_LD_PREFIX", str(tmp_path))
    refused(QemuTarget(options), bundle, str(tmp_path), "apt-get install")
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(QemuTarget(options), bundle, "qemu-aarch64 is not installed", "qemu-user")


# --- a board, through ssh -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TargetOptions]:
    """A real sshd on loopback, as this user, with keys of its own; options that reach it."""
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host_key", "user_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    (folder / "authorized").write_text((folder / "user_key.pub").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized\nUsePAM no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    (folder / "ssh_config").write_text(f"UserKnownHostsFile {folder}/known_hosts\n")
    (folder / "scratch").mkdir()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd drops its rights there
    # sshd wants its full path, because it starts itself again for every connection.
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert program is not None, "these tests need openssh-server"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [program, "-D", "-e", "-p", str(port), "-f", str(folder / "sshd_config")], stderr=log
        )
    try:
        assert eventually(lambda: b"listening" in (folder / "log").read_bytes())
        yield TargetOptions(
            host=f"{getpass.getuser()}@127.0.0.1",
            port=port,
            identity=folder / "user_key",
            ssh_config=folder / "ssh_config",
            device_folder=str(folder / "scratch"),
        )
    finally:
        server.terminate()
        server.wait()


def left_on(board: TargetOptions) -> list[Path]:
    assert board.device_folder is not None
    return list(Path(board.device_folder).iterdir())


def test_board_runs_the_arm_build(
    bundle: Bundle, dists: Dists, board: TargetOptions, tmp_path: Path
) -> None:
    options = replace(board, native=dists("linux-arm64"), exec_prefix=EMULATED)
    target = SshTarget(options)
    with target:
        target.prepare(bundle)
        (scratch,) = left_on(board)
        names = {str(path.relative_to(scratch)) for path in scratch.rglob("*") if path.is_file()}
        stats = target.run(REQUEST).stats
        environment = target.environment()
    assert names >= {"runner/arcmobile-run", "runner/lib/libstand_in.so", "bundle/manifest.json"}
    assert stats.prompt == ODD_PROMPT
    assert (environment.target, environment.architecture) == ("ssh", "aarch64")
    assert environment.emulated
    assert environment.cores >= 1
    assert left_on(board) == []
    assert runs_on(board) == []


def test_board_brings_only_what_is_not_there(
    bundle: Bundle, dists: Dists, board: TargetOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = SshTarget(replace(board, native=dists("host")))
    pushed: list[list[str]] = []
    push = target._push
    monkeypatch.setattr(target, "_push", lambda files: pushed.append([*files]) or push(files))
    with target:
        target.prepare(bundle)
        target.prepare(bundle)
        (scratch,) = left_on(board)
        (scratch / "bundle/dit.onnx").write_bytes(b"something else")
        target.prepare(bundle)
    assert len(pushed[0]) > 5
    assert pushed[1:] == [["bundle/dit.onnx"]]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("crash", ["SIGSEGV"]),
        ("refuse", ["dit.pte: is damaged"]),
        ("chatter", ["printed more than 16 MB"]),
    ],
)
def test_board_is_clean_after_a_failure(
    bundle: Bundle, dists: Dists, board: TargetOptions, prompt: str, words: list[str]
) -> None:
    target = SshTarget(replace(board, native=dists("host")))
    refused(target, bundle, *words, request=replace(REQUEST, prompt=prompt))
    assert left_on(board) == []


def runs_on(board: TargetOptions) -> list[str]:
    """What runs of our scratch folders."""
    assert board.device_folder is not None
    return stand_ins.processes_with(f"{board.device_folder}/arcmobile-")


def once_it_hangs(board: TargetOptions, action: Callable[[], object]) -> None:
    """Does something as soon as a runner hangs."""

    def wait() -> None:
        if eventually(lambda: any(line.endswith(" hang ") for line in runs_on(board))):
            action()

    threading.Thread(target=wait).start()


@pytest.mark.parametrize("how", ["too long", "interrupted", "line cut"])
def test_board_is_clean_when_a_run_is_broken_off(
    bundle: Bundle, dists: Dists, board: TargetOptions, how: str
) -> None:
    timeout = 1.0 if how == "too long" else 60.0
    target = SshTarget(replace(board, native=dists("host"), timeout=timeout))
    expected = KeyboardInterrupt if how == "interrupted" else TargetError
    with pytest.raises(expected) as caught, target:  # noqa: PT012 (the block is the run)
        target.prepare(bundle)
        if how == "interrupted":
            waiting = threading.get_ident()  # not just any thread, or it would go on waiting
            once_it_hangs(board, lambda: signal.pthread_kill(waiting, signal.SIGINT))
        elif how == "line cut":
            assert target._guard is not None
            once_it_hangs(board, target._guard.kill)
        target.run(replace(REQUEST, prompt="hang"))
    if how == "too long":
        assert "within 1 s" in str(caught.value)
    if how == "line cut":
        assert "the connection is gone" in str(caught.value)
    assert eventually(lambda: left_on(board) == [])
    assert eventually(lambda: runs_on(board) == [])


def test_board_out_of_reach_or_full(
    bundle: Bundle, dists: Dists, board: TargetOptions, tmp_path: Path
) -> None:
    options = replace(board, native=dists("host"))
    stranger = replace(options, identity=tmp_path / "none")
    refused(SshTarget(stranger), bundle, "Permission denied", "--identity")
    (tmp_path / "config").write_text(f"UserKnownHostsFile {tmp_path}/none\n")
    unknown = replace(options, ssh_config=tmp_path / "config")
    refused(SshTarget(unknown), bundle, "Host key verification failed", "connect once by hand")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        refused(
            SshTarget(replace(options, port=taken.getsockname()[1])), bundle, "Connection refused"
        )
    refused(SshTarget(replace(options, device_folder="/proc")), bundle, "mktemp")
    refused(SshTarget(replace(options, native=dists("linux-arm64"))), bundle, "needs Linux x86_64")
    assert left_on(board) == []
