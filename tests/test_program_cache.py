"""Programs kept for the next export: what comes out is what went in, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from arcmobile.export.backends.base import Delegation, LoweringSummary
from arcmobile.export.program_cache import ProgramCache
from arcmobile.runtime.errors import OutputError
from arcmobile.runtime.output_claims import PARTIAL, claim_file, sibling

PROGRAM = bytes(range(256)) * 8000  # more than one block
SUMMARY = LoweringSummary(
    bytes=len(PROGRAM),
    seconds=1.5,
    peak_memory=7,
    delegation={"main": Delegation(2, {"aten.add": 3})},
)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "dit.pte"
    path.write_bytes(PROGRAM)
    return path


def test_a_program_comes_back_as_a_file_of_its_own(tmp_path: Path, program: Path) -> None:
    cache = ProgramCache(tmp_path / "deep" / "cache")
    cache.keep("key", program, SUMMARY)
    taken = tmp_path / "taken.pte"
    assert cache.take("key", taken) == SUMMARY
    assert taken.read_bytes() == PROGRAM
    taken.write_bytes(b"changed")  # neither of the others follows
    program.write_bytes(b"changed")
    assert cache.take("key", tmp_path / "again.pte") == SUMMARY
    assert (tmp_path / "again.pte").read_bytes() == PROGRAM
    assert [path.name for path in (tmp_path / "deep" / "cache").iterdir()] == ["key"]


@pytest.mark.parametrize("place", [0, 30, 200, 5000, -1])
@pytest.mark.parametrize("change", ["flip", "cut", "grow"])
def test_a_damaged_entry_is_no_entry(
    tmp_path: Path, program: Path, place: int, change: str
) -> None:
    cache = ProgramCache(tmp_path / "cache")
    cache.keep("key", program, SUMMARY)
    entry = tmp_path / "cache" / "key"
    data = bytearray(entry.read_bytes())
    if change == "flip":
        data[place] ^= 4
    elif change == "cut":
        del data[place:]
    else:
        data.append(0)
    entry.write_bytes(data)
    taken = tmp_path / "taken.pte"
    found = cache.take("key", taken)
    assert found is None or taken.read_bytes() == PROGRAM  # a digit of the seconds may differ
    assert found is not None or not taken.exists()
    cache.keep("key", program, SUMMARY)
    assert cache.take("key", taken) == SUMMARY


def test_an_unknown_key_is_no_entry(tmp_path: Path) -> None:
    cache = ProgramCache(tmp_path / "cache")
    assert cache.take("key", tmp_path / "taken.pte") is None
    (tmp_path / "cache" / "folder").mkdir()
    assert cache.take("folder", tmp_path / "taken.pte") is None


def test_two_exports_that_store_the_same_do_not_meet(tmp_path: Path, program: Path) -> None:
    cache = ProgramCache(tmp_path / "cache")
    other = claim_file(sibling(tmp_path / "cache" / "key", PARTIAL))
    other.path.write_bytes(b"half of it")
    cache.keep("key", program, SUMMARY)
    assert cache.take("key", tmp_path / "taken.pte") is None
    assert other.path.read_bytes() == b"half of it"
    other.remove()
    other.close()
    cache.keep("key", program, SUMMARY)
    assert cache.take("key", tmp_path / "taken.pte") == SUMMARY


def test_a_folder_that_cannot_be_made_is_named(program: Path) -> None:
    with pytest.raises(OutputError, match=rf"--cache {program}/x: cannot be made"):
        ProgramCache(program / "x")
