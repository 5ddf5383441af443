"""Whole files and folders: killed at every change of the disk, two writers, odd destinations."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import killed_at
import pytest

from arcmobile.runtime import output_claims
from arcmobile.runtime.errors import OutputError
from arcmobile.runtime.whole_output import whole_file, whole_folder, write_whole_text

NAME = "mark.json"

WRITE_FOLDER = """
from arcmobile.runtime import output_claims
from arcmobile.runtime.whole_output import whole_folder
content, swap = sys.argv[1:]
if swap == "aside":
    output_claims.exchange = lambda one, other: False
    import arcmobile.runtime.whole_output as module
    module.exchange = output_claims.exchange
arm()
with whole_folder("out", replaceable="mark.json", overwrite=True) as folder:
    (folder / "mark.json").write_text(content)
    (folder / "sub").mkdir()
    (folder / "sub" / "data").write_text(content)
"""
WRITE_FILE = """
from arcmobile.runtime.whole_output import write_whole_text
content, overwrite = sys.argv[1:]
arm()
write_whole_text("out.txt", content, overwrite=overwrite == "overwrite")
"""
HOLD = """
import sys
from arcmobile.runtime.whole_output import whole_file, whole_folder
kind, name = sys.argv[1:]
block = (
    whole_file(name, overwrite=True)
    if kind == "file"
    else whole_folder(name, replaceable="mark.json", overwrite=True)
)
with block as path:
    print("holds", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("swap", ["exchange", "aside"])
def test_a_folder_is_old_or_new_wherever_its_writer_is_killed(tmp_path: Path, swap: str) -> None:
    assert killed_at.run(WRITE_FOLDER, "old", swap, cwd=tmp_path) == 0
    for point in killed_at.kill_points(WRITE_FOLDER, "new", swap, cwd=tmp_path):
        found = tmp_path / "out" / NAME
        if found.exists():
            assert found.read_text() == (found.parent / "sub" / "data").read_text()
        # The next run puts the folder in order, whatever it is there for; this one fails.
        with pytest.raises(RuntimeError), swept(tmp_path), whole_out(tmp_path / "out"):
            raise RuntimeError
        assert names(tmp_path) == ["out"], f"killed at {point}"
        assert found.read_text() in ("old", "new")
        assert killed_at.run(WRITE_FOLDER, "old", swap, cwd=tmp_path) == 0
    assert found.read_text() == "new"


@pytest.mark.parametrize("overwrite", ["overwrite", "new"])
def test_a_file_is_old_or_new_wherever_its_writer_is_killed(tmp_path: Path, overwrite: str) -> None:
    out = tmp_path / "out.txt"
    if overwrite == "overwrite":
        out.write_text("old")
    for point in killed_at.kill_points(WRITE_FILE, "new", overwrite, cwd=tmp_path):
        assert not out.exists() or out.read_text() in ("old", "new")
        with swept(tmp_path):
            write_whole_text(tmp_path / "other", "", overwrite=True)
        assert set(names(tmp_path)) <= {"out.txt", "other"}, f"killed at {point}"
        if overwrite == "new":
            out.unlink(missing_ok=True)
    assert out.read_text() == "new"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_second_writer_is_refused(tmp_path: Path, kind: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, kind, "out"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    with process:
        assert process.stdout.readline() == b"holds\n"
        with pytest.raises(OutputError, match="another process is writing it"):
            enter(whole_file if kind == "file" else whole_out, tmp_path / "out")
        with swept(tmp_path):
            write_whole_text(tmp_path / "beside", "", overwrite=False)  # sweeps the dead only
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.wait() == 0
    assert names(tmp_path) == ["beside", "out"]


def test_of_two_without_overwrite_the_first_to_end_stays(tmp_path: Path) -> None:
    out = tmp_path / "sound"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / NAME).touch()
    with pytest.raises(OutputError, match="appeared meanwhile"), whole_file(out, overwrite=False):
        out.write_text("of another")
    assert out.read_text() == "of another"
    with pytest.raises(OutputError, match="appeared"), whole_out(tmp_path / "b", overwrite=False):
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert names(tmp_path) == ["a", "b", "sound"]


def test_devices_fifos_and_links_stay_what_they_are(tmp_path: Path) -> None:
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    (tmp_path / "target").write_text("old")
    link.symlink_to("target")
    terminal, device = os.openpty()
    write_whole_text(os.ttyname(device), "figures", overwrite=False)
    assert os.read(terminal, 100) == b"figures"
    assert os.ttyname(device)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write_whole_text(fifo, "figures", overwrite=False)
    assert os.read(reader, 100) == b"figures"
    for descriptor in (reader, terminal, device):
        os.close(descriptor)
    write_whole_text(link, "new", overwrite=True)
    assert link.is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    with pytest.raises(OutputError, match="disk is full"):
        write_whole_text("/dev/full", "figures", overwrite=False)


def test_standard_output_goes_on_where_the_shell_has_sent_it(tmp_path: Path) -> None:
    code = "from arcmobile.runtime.whole_output import write_whole_text as write\n"
    code += "write('/dev/stdout', 'second\\n', overwrite=False)"
    command = f"echo first; '{sys.executable}' -c \"{code}\"; echo third"
    with (tmp_path / "log").open("w") as log:
        subprocess.run(["sh", "-c", command], stdout=log, check=True)
    assert (tmp_path / "log").read_text() == "first\nsecond\nthird\n"


def test_a_link_at_the_hidden_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    output_claims.sibling(tmp_path / "out", output_claims.PARTIAL).symlink_to("precious")
    write_whole_text(tmp_path / "out", "text", overwrite=False)
    assert (tmp_path / "precious").read_text() == "precious"
    assert names(tmp_path) == ["out", "precious"]


def test_outputs_take_their_mode_from_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole_text(tmp_path / "a", "", overwrite=False)
        with whole_file(tmp_path / "b", overwrite=False) as unfinished:
            own = tmp_path / "own"
            own.touch(0o600)  # as safetensors does it
            own.replace(unfinished)
        with whole_out(tmp_path / "c") as folder:
            (folder / NAME).touch()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o750


def test_a_size_limit_ends_in_one_line(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OutputError, match="ulimit -f") as raised:
            write_whole_text(tmp_path / "out", "x" * 2000, overwrite=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(raised.value)
    assert names(tmp_path) == []


def test_a_download_is_kept_for_the_next_run_and_from_sweeps(tmp_path: Path) -> None:
    def fetch(folder: Path) -> None:
        with whole_folder(
            folder, replaceable=NAME, overwrite=False, keep_partial=True
        ) as unfinished:
            if not (unfinished / NAME).exists():
                (unfinished / NAME).write_text("half")
                raise ConnectionError

    with pytest.raises(ConnectionError):
        fetch(tmp_path / "model")
    with swept(tmp_path):
        write_whole_text(tmp_path / "beside", "", overwrite=False)
    fetch(tmp_path / "model")
    assert (tmp_path / "model" / NAME).read_text() == "half"
    assert names(tmp_path) == ["beside", "model"]


def test_leftovers_of_older_releases_go_once_nobody_has_them_open(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".a.wav.partial-0123abcd", tmp_path / ".b.wav.partial-0123abcd"
    dead.touch()
    with alive.open("w"), swept(tmp_path):
        write_whole_text(tmp_path / "beside", "", overwrite=False)
    assert names(tmp_path) == [alive.name, "beside"]


def test_a_folder_that_is_not_ours_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    monkeypatch.chdir(tmp_path / "photos")
    for name, message in (("../photos", "working folder"), ("/proc", "mount point")):
        with pytest.raises(OutputError, match=message):
            enter(whole_out, Path(name))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="other files"):
        enter(whole_out, tmp_path / "photos")
    assert names(tmp_path) == ["photos"]


@contextmanager
def whole_out(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    with whole_folder(path, replaceable=NAME, overwrite=overwrite) as folder:
        yield folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def enter(writer: object, path: Path) -> None:
    with writer(path, overwrite=True):  # type: ignore[operator]
        raise AssertionError("nobody was to write here")


@contextmanager
def swept(folder: Path) -> Iterator[None]:
    """A process sweeps a folder once; in the block it does so again."""
    output_claims._swept.discard(folder)
    yield
