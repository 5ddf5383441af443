"""Commands that are killed, stopped or out of disk: outputs are whole, and nothing stays behind."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hub_stand_in
import numpy as np
import pytest
import stand_ins

from faults.command_server import OPENS, CommandServer, Hit
from faults.inputs import bundle_of

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandServer]:
    """Commands whose hub is a stand-in with a model ``u/a`` and a text encoder ``u/te``."""
    model = tmp_path_factory.mktemp("hub") / "a"
    unwanted = shutil.ignore_patterns("expected.npz", "*.md")
    shutil.copytree(REPOSITORY / "tests" / "data" / "parity_tiny", model, ignore=unwanted)
    with hub_stand_in.serve() as (hub, address):
        hub.repositories = {"u/a": model, "u/te": model / "text_encoder"}
        with CommandServer({"HF_ENDPOINT": address}) as started:
            yield started


@dataclass(frozen=True)
class Inputs:
    """Folders that commands read from."""

    checkpoint: Path
    onnx: Path
    native: Path
    for_native: Path
    sounds: Path


@pytest.fixture(scope="module")
def inputs(
    inputs_folder: Path, micro_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Inputs:
    import soundfile

    folder = tmp_path_factory.mktemp("commands")
    (folder / "sounds").mkdir()
    for name in ("a", "b"):
        soundfile.write(folder / "sounds" / f"{name}.wav", np.full((200, 2), 0.1), 44100)
        (folder / "sounds" / f"{name}.txt").write_text(f"tone {name}\n")
    return Inputs(
        checkpoint=micro_checkpoint,
        onnx=bundle_of("onnx"),
        native=stand_ins.make_dist(folder / "native", "host"),
        for_native=stand_ins.make_executorch_bundle(folder / "executorch"),
        sounds=folder / "sounds",
    )


# --- commands that write ------------------------------------------------------------------------


@dataclass(frozen=True)
class Writer:
    """A command that writes ``out`` into its folder, and whether what is there is whole.

    One that ``resumes`` may leave a part, hidden or in a folder that says so, and goes on from it.
    One that takes seconds is killed at ``every`` so many changes only.
    """

    arguments: Callable[[Inputs], list[object]]
    check: Callable[[Path], object]
    resumes: bool = False
    every: int = 1


def check_sounds(out: Path) -> None:
    import soundfile

    for path in out.glob("*"):
        assert soundfile.read(path)[0].shape == (120, 2)


def check_checkpoint(out: Path) -> None:
    from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound

    require_sound(CheckpointFolder.open(out))


def check_result(out: Path) -> None:
    from arcmobile.bench.result import BenchResult

    for path in out.iterdir():
        BenchResult.read(path)


def check_bundle(out: Path) -> None:
    from arcmobile.runtime.bundle import Bundle

    Bundle.open(out, verify=True)


def check_report(out: Path) -> None:
    assert json.loads((out / "report.json").read_text())
    assert (out / "report.md").read_text().strip()


def check_card(out: Path) -> None:
    for path in out.iterdir():
        assert path.read_text().startswith("---\n")


def check_latents(out: Path) -> None:
    """All sounds, or a folder that no training takes."""
    from arcmobile.posttrain.latents.cache import LatentCache
    from arcmobile.runtime.errors import InputError

    try:
        assert len(LatentCache(out)) == 2
    except InputError as error:
        assert "not complete" in str(error) or "no cached latents" in str(error)  # noqa: PT017


WRITERS = {
    "generate": Writer(
        lambda given: [
            *("generate", "rain", "--bundle", given.onnx, "--batch", 2, "--seed", 1),
            *("--steps", 1, "--threads", 1, "--out", "out/", "--overwrite"),
        ],
        check_sounds,
    ),
    "checkpoint init": Writer(
        lambda given: ["checkpoint", "init", "--preset", "tiny", "--out", "out", "--overwrite"],
        check_checkpoint,
        every=4,
    ),
    "bench run": Writer(
        lambda given: [
            *("bench", "run", "--bundle", given.for_native, "--native", given.native),
            *("--repeats", 1, "--warmup", 0, "--threads", 1, "--out", "out/a.json", "--overwrite"),
        ],
        check_result,
    ),
    "export": Writer(
        lambda given: [
            *("export", given.checkpoint, "--backend", "onnx", "--recipe", "fp32"),
            *("--cache", "cache", "--threads", 1, "--out", "out", "--overwrite"),
        ],
        check_bundle,
        every=10,
    ),
    "quant report": Writer(
        lambda given: [
            *("quant", "report", given.checkpoint, "--recipes", "fp16", "--frames", 8),
            *("--steps", 1, "--no-sensitivity", "--out", "out", "--overwrite"),
        ],
        check_report,
        every=10,
    ),
    "card": Writer(
        lambda given: ["card", given.onnx, "--out", "out/card.md", "--overwrite"], check_card
    ),
    "fetch": Writer(
        lambda given: [
            *("fetch", "--repo", "u/a", "--text-encoder", "u/te", "--out", "out", "--overwrite"),
        ],
        check_checkpoint,
        resumes=True,
        every=3,
    ),
    "posttrain latents": Writer(
        lambda given: [
            *("posttrain", "latents", "--checkpoint", given.checkpoint, "--threads", 1),
            *("--sounds", given.sounds, "--out", "out"),
        ],
        check_latents,
        resumes=True,
        every=2,
    ),
}


@pytest.fixture(params=WRITERS)
def writer(request: pytest.FixtureRequest) -> Writer:
    return WRITERS[request.param]


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def test_killed_before_each_change_of_names(
    writer: Writer, server: CommandServer, inputs: Inputs, tmp_path: Path
) -> None:
    arguments = writer.arguments(inputs)
    first = tmp_path / "first"
    first.mkdir()
    ended = server.run(arguments, first)
    assert ended.code == 0, ended.said
    for shard in (first / "out").glob("shard-*"):
        shard.unlink()  # or there is nothing to do
    for at in range(1, 60, writer.every):
        folder = Path(shutil.copytree(first, tmp_path / str(at)))
        ended = server.run(arguments, folder, hit=Hit(signal.SIGKILL, at))
        if not ended.was_hit:
            assert ended.code == 0, ended.said
            assert at > 1
            break
        assert ended.code == -signal.SIGKILL
        if (folder / "out").exists():
            writer.check(folder / "out")
        assert server.run(arguments, folder).code == 0
        writer.check(folder / "out")
        assert hidden(folder) == []
        shutil.rmtree(folder)


def is_one_line(said: str) -> bool:
    """Whether an error was said in one line, behind what a command tells of its progress."""
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    return len(errors) == 1 and "Traceback" not in said and said.endswith(errors[0] + "\n")


@pytest.mark.parametrize("file_bytes", [0, 100, 4000, 100_000])
def test_full_disk(
    file_bytes: int, writer: Writer, server: CommandServer, inputs: Inputs, tmp_path: Path
) -> None:
    ended = server.run(writer.arguments(inputs), tmp_path, file_bytes=file_bytes)
    if ended.code == 0:  # it was small enough
        writer.check(tmp_path / "out")
    elif writer.resumes:
        assert (ended.code, is_one_line(ended.said)) == (2, True), ended.said
        ended = server.run(writer.arguments(inputs), tmp_path)
        assert ended.code == 0, ended.said
        writer.check(tmp_path / "out")
    else:
        assert (ended.code, is_one_line(ended.said)) == (2, True), ended.said
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert hidden(tmp_path) == []


# --- signals ------------------------------------------------------------------------------------

# The place among the files opened, the signal, how often.
PLACES = (
    (1, signal.SIGINT, 1),
    (2, signal.SIGTERM, 1),
    (4, signal.SIGHUP, 1),
    (8, signal.SIGINT, 2),
    (16, signal.SIGTERM, 2),
    (32, signal.SIGHUP, 2),
)

# One call of each command of cli/main.py; {words} are fields of Inputs.
CALLS = {
    "export": "export {checkpoint} --backend onnx --recipe fp32 --out out",
    "generate": "generate rain --bundle {onnx} --seed 1 --steps 1 --threads 1 --out out.wav",
    "inspect": "inspect {onnx} --verify",
    "parity": f"parity {REPOSITORY}/tests/data/parity_tiny",
    "quant": "quant report {checkpoint} --frames 8 --no-sensitivity --out out",
    "bench": "bench run --bundle {for_native} --native {native} --repeats 1 --out out.json",
    "evaluate": "evaluate --checkpoint {checkpoint} --out out",
    "posttrain": "posttrain latents --checkpoint {checkpoint} --out out",
    "checkpoint": "checkpoint init --preset tiny --out out",
    "fetch": "fetch --repo nobody/nothing --out out",
    "card": "card {onnx} --out card.md",
    "publish": "publish {onnx} nobody/nothing --license cc0-1.0",
    "doctor": "doctor",
    "version": "version",
}


def test_every_command_is_called() -> None:
    from arcmobile.cli.main import COMMANDS

    assert list(CALLS) == list(COMMANDS)


@pytest.mark.parametrize("name", CALLS)
def test_stopped_by_signals(
    name: str, server: CommandServer, inputs: Inputs, tmp_path: Path
) -> None:
    arguments = CALLS[name].format(**vars(inputs)).split()
    stopped = 0
    # Between its files, doctor imports every engine in a process of its own, for seconds.
    for at, number, times in PLACES[:3] if name == "doctor" else PLACES:
        folder = tmp_path / str(at)
        folder.mkdir()
        ended = server.run(arguments, folder, hit=Hit(number, at, OPENS, times))
        if not ended.was_hit:
            break  # it opens fewer files
        stopped += ended.code == 130
        assert ended.code == 130, f"at {at}, {number!r}: {ended}"
        assert "Traceback" not in ended.said
        assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert stopped > 0 or name == "version"
