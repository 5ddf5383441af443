"""What the native runner does with what is broken or in the way: one line, and nothing left."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import random
import resource
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from contract import vectors
from faults.inputs import BundleCopy
from native_binaries import HOST, call, require

from arcmobile.runtime.bundle import MANIFEST_NAME
from arcmobile.runtime.output_claims import OLD, PARTIAL

SHORT = ("--seed", 1, "--steps", 1, "--threads", 1, "--seconds", 0.005)


def run(bundle: Path, *options: object, prompt: str = "rain") -> subprocess.CompletedProcess[str]:
    return call("arcmobile-run", (bundle, prompt, *SHORT, *options))


def refusal(bundle: Path, *options: object, prompt: str = "rain") -> str:
    """The one line of a run that has to be refused."""
    done = run(bundle, *options, prompt=prompt)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    return line.removeprefix("error: ")


def start(*command: object, **options: Any) -> subprocess.Popen[bytes]:
    program = require(HOST / "dist" / "arcmobile-run")
    return subprocess.Popen([program, *map(str, command)], stderr=subprocess.PIPE, **options)


@pytest.fixture
def copy(micro_bundles: dict[str, Path], tmp_path: Path) -> BundleCopy:
    return BundleCopy(micro_bundles["mobile"], tmp_path / "bundle")


@pytest.fixture
def bundle(micro_bundles: dict[str, Path]) -> Path:
    return micro_bundles["mobile"]


# --- what comes from outside --------------------------------------------------------------------


def test_flipped_bits_are_found_by_their_digest(copy: BundleCopy) -> None:
    chance = random.Random(5)
    for name in copy.programs:
        whole = copy.read(name)
        for place in (chance.randrange(64), chance.randrange(len(whole)), len(whole) - 1):
            data = bytearray(whole)
            data[place] ^= 1 << chance.randrange(8)
            copy.put(name, bytes(data), recorded=False)
            assert f"{name}: sha256 differs" in refusal(copy.folder)
        copy.restore()


def test_a_compared_file_is_read_again_once_it_changes(copy: BundleCopy) -> None:
    program = copy.folder / copy.programs[0]
    before = program.stat()
    assert run(copy.folder).returncode == 0
    data = bytearray(program.read_bytes())
    data[100] ^= 1
    program.write_bytes(data)
    os.utime(program, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "sha256 differs" in refusal(copy.folder)


@pytest.mark.parametrize("load", ["mmap", "file"])
def test_broken_programs_never_crash_the_runner(load: str, copy: BundleCopy) -> None:
    chance = random.Random(7)
    for _ in range(16):
        name = chance.choice(copy.programs)
        data = bytearray(copy.read(name))
        for _ in range(chance.choice((1, 3, 20))):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        copy.put(name, bytes(data))
        done = run(copy.folder, "--load", load)
        assert done.returncode in (0, 2), (name, done.returncode, done.stderr)
        assert done.returncode == 0 or len(done.stderr.splitlines()) == 1
        copy.restore()


def test_a_program_cut_while_it_is_used(copy: BundleCopy, tmp_path: Path) -> None:
    out = tmp_path / "a.wav"
    process = start(copy.folder, "rain", "--steps", 64, "--out", out)
    while not list(tmp_path.glob(f".*{PARTIAL}")) and process.poll() is None:
        time.sleep(0.0005)
    for name in copy.programs:
        os.truncate(copy.folder / name, 0)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 2), said
    assert process.returncode == 0 or said.count(b"\n") == 1
    assert not list(tmp_path.glob(".*"))


def test_links_may_not_leave_the_bundle(copy: BundleCopy, tmp_path: Path) -> None:
    name = copy.programs[0]
    elsewhere = tmp_path / "elsewhere"
    (copy.folder / name).rename(elsewhere)
    (copy.folder / name).symlink_to(elsewhere)
    assert "leaves the bundle folder" in refusal(copy.folder)
    (copy.folder / name).unlink()
    elsewhere.rename(copy.folder / "inside")
    (copy.folder / name).symlink_to("inside")
    assert run(copy.folder).returncode == 0
    assert run(copy.folder / MANIFEST_NAME).returncode == 0


def edited(copy: BundleCopy, edit: Callable[[dict[str, Any]], None]) -> Path:
    document = json.loads(copy.read("tokenizer.json"))
    edit(document)
    copy.put("tokenizer.json", json.dumps(document, ensure_ascii=False).encode())
    return copy.folder


def added(content: str, **flags: bool) -> dict[str, Any]:
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {"id": 3, "content": content, **{name: flags.get(name, False) for name in names}}


def test_an_empty_special_token_is_passed_over(copy: BundleCopy) -> None:
    folder = edited(copy, lambda document: document["added_tokens"].insert(0, added("")))
    assert run(folder, prompt="soft rain").returncode == 0


def nested(document: dict[str, Any]) -> None:
    for _ in range(200):
        document["decoder"] = [document.get("decoder")]


def growing(document: dict[str, Any]) -> None:
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 200}
    document["normalizer"] = {"type": "Sequence", "normalizers": [step] * 60}


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (nested, "brackets"),
        (growing, "too long"),
        (lambda d: d.update(normalizer={"type": "NFKC"}), "normalizer.type"),
        (lambda d: d.update(dropout=0.1), "dropout: unknown field"),
        (lambda d: d["model"].update(type="BPE"), "model"),
        (lambda d: d["model"].update(unk_id=10**6), "unk_id"),
        (lambda d: d["model"]["vocab"].append(["x"]), "is not [text, score]"),
        (lambda d: d["model"]["vocab"].append(["x" * 300, 0.0]), "too long"),
        (lambda d: d["added_tokens"].append({"content": "x"}), "added_tokens["),
        (lambda d: d["normalizer"].update(precompiled_charsmap="AAAA"), "precompiled_charsmap"),
        (lambda d: d["post_processor"]["single"].append(d["post_processor"]["single"][0]), "once"),
    ],
)
def test_broken_tokenizers(
    edit: Callable[[dict[str, Any]], None], said: str, copy: BundleCopy
) -> None:
    line = refusal(edited(copy, edit), prompt="a rainy day")
    assert "tokenizer.json: " in line
    assert said in line


@pytest.mark.parametrize("name", ["pad_id", "eos_id"])
def test_ids_outside_the_vocabulary(name: str, copy: BundleCopy) -> None:
    copy.manifest["tokenizer"][name] = 1_000_000
    (copy.folder / MANIFEST_NAME).write_text(json.dumps(copy.manifest))
    line = refusal(copy.folder)
    assert "1000000" in line
    assert f"tokenizer.{name}" in line


def test_a_flow_model_says_so(copy: BundleCopy) -> None:
    copy.manifest["objective"] = "rectified_flow"
    (copy.folder / MANIFEST_NAME).write_text(json.dumps(copy.manifest))
    (line,) = run(copy.folder).stderr.splitlines()
    assert line.startswith("note: a flow model: 1 step")


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        ("--seconds", ["0.005", "5e-3", ".005"], ["0x1p-9", "+1", "0_1", " 1", "1e", ""]),
        ("--seed", ["7", "007", str(2**64 - 1)], ["1.0", "+5", "1_000", "0x7", "5 ", "", "five"]),
        ("--steps", ["1", "01"], ["0x1", "+1", "1.0", "1e0", ""]),
        ("--threads", ["1"], ["0x1", "+1", "1025", "100000", "99999999999999999999"]),
    ],
)  # fmt: skip
def test_numbers_are_decimal(option: str, good: list[str], bad: list[str], bundle: Path) -> None:
    for text in good:
        assert call("arcmobile-run", (bundle, "rain", f"{option}={text}", "-q")).returncode == 0
    for text in bad:
        done = call("arcmobile-run", (bundle, "rain", f"{option}={text}"))
        assert done.returncode == 2, text
        assert len(done.stderr.splitlines()) == 1
        assert option in done.stderr


def test_threads_that_cannot_be_started(bundle: Path) -> None:
    def bound() -> None:  # the stack of a thread: 4 TB are more than a process can have a few of
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 42, resource.RLIM_INFINITY))

    process = start(bundle, "rain", "--threads", 1024, preexec_fn=bound)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said.startswith(b"error: --threads 1024: only ")
    assert said.count(b"\n") == 1


# --- what goes out ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.flac", "a", "a.wav.tmp", ".wav", "wav"])
def test_other_names_are_refused(name: str, bundle: Path, tmp_path: Path) -> None:
    assert "must end in .wav" in refusal(bundle, "--out", tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_folders_are_made_and_files_have_the_usual_mode(bundle: Path, tmp_path: Path) -> None:
    out, stats, trace = (tmp_path / name for name in ("a/b/c.WAV", "d/stats.json", "e/trace"))
    before = os.umask(0o027)
    try:
        done = run(bundle, "--out", out, "--stats-file", stats, "--etdump", trace)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".WAV", ".json", ".etdp"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}


def test_unfinished_files_of_dead_runs_go(bundle: Path, tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for name in (f".a.wav{PARTIAL}", f".other.wav{PARTIAL}", f".a.wav.partial-{ended.pid}"):
        (tmp_path / name).write_bytes(b"dead")
    (tmp_path / f".bundle{PARTIAL}").mkdir()
    (tmp_path / f".bundle{PARTIAL}" / "dit.pte").write_bytes(b"dead")
    kept = tmp_path / f".a.wav.partial-{os.getpid()}"
    kept.write_bytes(b"alive")
    assert run(bundle, "--out", tmp_path / "a.wav").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [kept.name, "a.wav"]
    assert kept.read_bytes() == b"alive"


def test_folders_that_a_dead_run_moved_aside_come_back(bundle: Path, tmp_path: Path) -> None:
    for name in ("gone", "there", "busy"):
        (tmp_path / f".{name}{OLD}").mkdir()
        (tmp_path / f".{name}{OLD}" / "dit.pte").write_bytes(b"old")
    (tmp_path / "there").mkdir()
    (tmp_path / f".gone{PARTIAL}").mkdir()  # what the dead run was writing
    with (tmp_path / f".busy{PARTIAL}").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run(bundle, "--out", tmp_path / "a.wav").returncode == 0
    left = [".busy" + OLD, ".busy" + PARTIAL, "a.wav", "gone", "there"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    assert (tmp_path / "gone" / "dit.pte").read_bytes() == b"old"
    assert list((tmp_path / "there").iterdir()) == []


def test_a_second_writer_is_refused(bundle: Path, tmp_path: Path) -> None:
    partial = tmp_path / f".a.wav{PARTIAL}"
    with partial.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another process is writing it" in refusal(bundle, "--out", tmp_path / "a.wav")
        assert run(bundle, "--out", tmp_path / "b.wav").returncode == 0
        assert partial.exists()


def test_a_planted_link_is_not_followed(bundle: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / f".a.wav{PARTIAL}").symlink_to(victim)
    assert run(bundle, "--out", tmp_path / "a.wav").returncode == 0
    assert victim.read_bytes() == b"mine"
    assert not (tmp_path / "a.wav").is_symlink()


def test_what_appears_meanwhile_is_kept(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.wav"
    process = start(bundle, "rain", "--steps", 64, "--out", out)
    while not list(tmp_path.iterdir()) and process.poll() is None:
        time.sleep(0.0005)
    out.write_bytes(b"mine")
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.count(b"exists already")) == (2, 1)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.wav", b"mine")]


def test_pipes_are_written_into(bundle: Path, tmp_path: Path) -> None:
    out, pipe = tmp_path / "a.wav", tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    assert run(bundle, "--out", out).returncode == 0
    process = start(bundle, "rain", *SHORT, "--out", pipe)
    assert pipe.read_bytes() == out.read_bytes()
    assert process.wait(60) == 0
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    done = run(bundle, "--stats-file", "/dev/stdout")
    assert json.loads(done.stdout)["seed"] == 1


def test_the_file_that_a_link_leads_to_is_replaced(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "link.wav").symlink_to("a.wav")
    (tmp_path / "a.wav").write_bytes(b"old")
    assert run(bundle, "--out", tmp_path / "link.wav", "--overwrite").returncode == 0
    assert (tmp_path / "link.wav").is_symlink()
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RIFF"


def test_sixteen_bits(bundle: Path, tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    cases = vectors("pcm16")["cases"]
    stored = np.array([int(case["bits"], 16) for case in cases], np.uint32).view(np.float32)
    samples = np.concatenate([stored, chance.normal(0, 0.5, 4000).astype(np.float32)])
    printed = subprocess.run(
        [require(HOST / "arcmobile-probe"), "pcm16"],
        input=samples.tobytes(), capture_output=True, check=True,
    ).stdout  # fmt: skip
    expected = np.clip(np.rint(samples.astype(np.float64) * 32768), -32768, 32767)
    np.testing.assert_array_equal(np.array(printed.split(), np.int64), expected)
    assert expected[: len(cases)].tolist() == [case["sample"] for case in cases]


def test_a_plain_header(bundle: Path, tmp_path: Path) -> None:
    for name, options, width in (("a.wav", (), 2), ("b.wav", ("--format", "float"), 4)):
        assert run(bundle, "--out", tmp_path / name, *options).returncode == 0
        data = (tmp_path / name).read_bytes()
        assert data[:4] + data[8:16] + data[36:40] == b"RIFFWAVEfmt data"
        info = soundfile.info(tmp_path / name)
        assert len(data) == 44 + info.frames * info.channels * width


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000, 70_001])
def test_sha256(size: int) -> None:
    data = random.Random(size).randbytes(size)
    printed = subprocess.run(
        [require(HOST / "arcmobile-probe"), "sha256"], input=data, capture_output=True, check=True
    ).stdout
    assert printed.decode().split() == [hashlib.sha256(data).hexdigest()] * 2


# --- signals ------------------------------------------------------------------------------------


@pytest.fixture
def long_run(micro_bundles: dict[str, Path], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run with many steps, in the middle of them."""
    out = tmp_path / "a.wav"
    process = start(micro_bundles["fp32"], "rain", "--steps", 64, "--out", out)
    while not list(tmp_path.iterdir()) and process.poll() is None:
        time.sleep(0.0005)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_nothing(
    number: signal.Signals, long_run: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    long_run.send_signal(number)
    _, said = long_run.communicate(timeout=60)
    assert (long_run.returncode, said) == (130, b"stopped\n")
    assert not list(tmp_path.iterdir())


def test_a_signal_ends_the_wait_for_a_reader(bundle: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    process = start(bundle, "rain", *SHORT, "--out", pipe)
    # The runner waits in open() once nothing else is left to do; a signal before that counts too.
    time.sleep(0.2)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, b"stopped\n")


def test_nohup_is_heeded(micro_bundles: dict[str, Path], tmp_path: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    out = tmp_path / "a.wav"
    process = start(micro_bundles["fp32"], "rain", "--steps", 32, "--out", out, preexec_fn=ignore)
    while not list(tmp_path.iterdir()) and process.poll() is None:
        time.sleep(0.0005)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.exists()


@pytest.mark.parametrize("blocks", [1, 16])
def test_a_limit_on_file_sizes(blocks: int, bundle: Path, tmp_path: Path) -> None:
    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (blocks, blocks))

    process = start(bundle, "rain", *SHORT, "--out", tmp_path / "a.wav", preexec_fn=bound)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert os.strerror(errno.EFBIG).encode() in said
    assert not list(tmp_path.iterdir())


def test_closed_streams_get_no_output_of_others(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.wav"
    program = require(HOST / "dist" / "arcmobile-run")
    words = [str(word) for word in (program, bundle, "rain", *SHORT, "--stats", "text")]
    closed = ["bash", "-c", 'exec "$@" <&- >&- 2>&-', "-"]
    assert subprocess.run([*closed, *words, "--out", out]).returncode == 0
    again = tmp_path / "b.wav"
    assert run(bundle, "--out", again).returncode == 0
    assert out.read_bytes() == again.read_bytes()


def test_messages_are_one_line(bundle: Path, tmp_path: Path) -> None:
    for name in ("no\nfolder", "\x1b[31mred", "a\u2028b"):
        line = refusal(tmp_path / name)
        assert line.isprintable()
    assert "must end in .wav" in refusal(bundle, "--out", tmp_path / "a\nb")
    assert "character 6" in refusal(bundle, prompt="rain \udcff")
    assert "at most 65536" in refusal(bundle, prompt="r" * 65537)
