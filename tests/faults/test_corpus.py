"""Small inputs of every kind that once did harm: each is accepted, or refused in one line.

The folder of an input says which: ``refused``, ``accepted``, or ``either`` where both are right.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from arcmobile.runtime.errors import ArcMobileError
from faults.inputs import bundle_of

CORPUS = Path(__file__).parent / "corpus"


def read_prompts(path: Path) -> None:
    from arcmobile.cli.sounds import read_requests
    from arcmobile.runtime.bundle import Bundle
    from arcmobile.runtime.request import GenerationRequest, make_plan

    manifest = Bundle.open(bundle_of("onnx")).manifest
    requests = read_requests(GenerationRequest(prompt="", seed=1), None, path)
    for request in requests:
        make_plan(request, manifest)
    # Nothing of the file's form has become part of a prompt.
    assert not any(set(request.prompt) & set('{"\ufeff\0') for request in requests)


def read_tokenizer(path: Path) -> None:
    from arcmobile.runtime.errors import BundleError
    from arcmobile.runtime.tokenizer import PromptTokenizer

    try:
        text = path.read_bytes().decode("utf-8")
        tokenizer = PromptTokenizer(text, max_length=8, pad_id=0, eos_id=1)
    except ValueError as error:  # which a bundle's reader turns into its own
        raise BundleError(str(error)) from error
    assert tokenizer("warm rain").input_ids.shape == (1, 8)


def read_sound(path: Path) -> None:
    from arcmobile.runtime.audio import read_init_audio

    read = read_init_audio(path, sample_rate=44_100, channels=2, samples=500)
    assert read.audio.shape == (2, 500)


def read_checkpoint(path: Path) -> None:
    from arcmobile.export.checkpoint.folder import TorchSource

    source = TorchSource(path)
    for name in source.names():
        source.read(name)


READERS: dict[str, Callable[[Path], None]] = {
    "prompts": read_prompts,
    "tokenizer": read_tokenizer,
    "sound": read_sound,
    "checkpoint": read_checkpoint,
}
FILES = sorted(path.relative_to(CORPUS) for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.usefixtures("inputs_folder")
@pytest.mark.parametrize("file", FILES, ids=str)
def test_corpus(file: Path, tmp_path: Path) -> None:
    kind, verdict, _ = file.parts
    path = Path(shutil.copy(CORPUS / file, tmp_path))
    line = None
    try:
        READERS[kind](path)
    except ArcMobileError as error:
        line = str(error)
    assert verdict == "either" or verdict == ("accepted" if line is None else "refused"), line
    assert line is None or len(line.splitlines()) == 1
