"""Manifests, bundle folders, tokenizers and programs, read by Python and by the native runner."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any, Final

from arcmobile.runtime.bundle import MANIFEST_NAME, SENTENCEPIECE_NAME, TOKENIZER_NAME
from faults.inputs import BundleCopy, bundle_of, run_native
from faults.mutations import flip_bits, mutate_bytes, mutate_json
from faults.readers import Attempt, reader

_PROMPTS: Final = (
    "soft rain",
    "",
    "</s> <pad>",
    "A\u030a \u2028 \U0001f469\u200d\U0001f4bb",
    "x" * 2000,
)
# Headers and instructions of a program are at its start; weights fill the rest.
_PROGRAM_BYTES: Final = 60_000


def _open(folder: Path) -> None:
    """All that happens before a program is loaded."""
    from arcmobile.runtime.bundle import Bundle
    from arcmobile.runtime.request import GenerationRequest, make_plan
    from arcmobile.runtime.tokenizer import PromptTokenizer

    bundle = Bundle.open(folder)
    tokenizer = PromptTokenizer.from_bundle(bundle)
    make_plan(GenerationRequest(prompt="rain", seed=1), bundle.manifest)
    for prompt in _PROMPTS:
        tokenizer(prompt)


def _generate(folder: Path) -> None:
    from arcmobile.runtime.engine import EngineOptions
    from arcmobile.runtime.generate import GenerationRequest, Pipeline

    with Pipeline.open(folder, EngineOptions(1)) as pipeline:
        pipeline.generate(GenerationRequest(prompt="rain", seed=1, steps=1))


def _manifests(source: Path, folder: Path, read: Any) -> Attempt:
    copy = BundleCopy(source, folder / "bundle")
    read(copy.folder)

    def attempt(rng: random.Random) -> None:
        if rng.random() < 0.9:
            broken = mutate_json(rng, copy.manifest)
        else:
            broken = mutate_bytes(rng, copy.read(MANIFEST_NAME))
        (copy.folder / MANIFEST_NAME).write_bytes(broken)
        read(copy.folder)

    return attempt


@reader("manifest")
def manifest(folder: Path) -> Attempt:
    return _manifests(bundle_of("onnx"), folder, _open)


@reader("manifest-native")
def manifest_native(folder: Path) -> Attempt:
    return _manifests(bundle_of("executorch"), folder, run_native)


def _tokenizers(source: Path, folder: Path, names: tuple[str, ...], read: Any) -> Attempt:
    copy = BundleCopy(source, folder / "bundle")
    read(copy.folder)

    def attempt(rng: random.Random) -> None:
        name = rng.choice(names)
        good = copy.read(name)
        if name == TOKENIZER_NAME and rng.random() < 0.85:
            broken = mutate_json(rng, json.loads(good))
        elif name == SENTENCEPIECE_NAME and rng.random() < 0.6:
            broken = _mutate_sentencepiece(rng, good)
        else:
            broken = mutate_bytes(rng, good)
        copy.put(name, broken)
        try:
            read(copy.folder)
        finally:
            copy.put(name, good)

    return attempt


def _mutate_sentencepiece(rng: random.Random, data: bytes) -> bytes:
    """Edits of the message's fields."""
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    model = ModelProto.FromString(data)
    piece = rng.choice(model.pieces)
    edit = rng.randrange(8)
    if edit == 0:
        piece.score = rng.choice((float("nan"), float("inf"), -float("inf"), 1e38, 0.0))
    elif edit == 1:
        piece.piece = rng.choice(
            ("", "\0", "\u2581" * 5, rng.choice(model.pieces).piece, "x" * 9999)
        )
    elif edit == 2:
        piece.type = rng.choice((1, 2, 3, 4, 5, 6))
    elif edit == 3:
        del model.pieces[rng.randrange(len(model.pieces)) :]
    elif edit == 4:
        model.normalizer_spec.precompiled_charsmap = rng.randbytes(rng.choice((0, 3, 4, 400)))
    elif edit == 5:
        field = rng.choice(("unk_id", "bos_id", "eos_id", "pad_id", "vocab_size", "model_type"))
        value = rng.choice((-1, 0, 3, 4) if field == "model_type" else (-1, 0, 5, 2**31 - 1))
        if field != "model_type" or value > 0:
            setattr(model.trainer_spec, field, value)
    elif edit == 6:
        model.pieces.extend([piece] * rng.choice((1, 50_000)))
    else:
        model.trainer_spec.byte_fallback = not model.trainer_spec.byte_fallback
    return model.SerializeToString()


@reader("tokenizer")
def tokenizer(folder: Path) -> Attempt:
    names = (TOKENIZER_NAME, TOKENIZER_NAME, SENTENCEPIECE_NAME)
    return _tokenizers(bundle_of("executorch"), folder, names, _open)


@reader("tokenizer-native")
def tokenizer_native(folder: Path) -> Attempt:
    names = (TOKENIZER_NAME, SENTENCEPIECE_NAME)
    return _tokenizers(bundle_of("executorch"), folder, names, run_native)


def _break_folder(rng: random.Random, copy: BundleCopy) -> None:
    name = rng.choice(sorted(path.name for path in copy.folder.iterdir()))
    path = copy.folder / name
    data = path.read_bytes()
    path.unlink()
    way = rng.randrange(10)
    if way == 0:
        path.mkdir()
    elif way == 1:
        os.mkfifo(path)
    elif way == 2:
        targets = (name, "nowhere", "/dev/zero", "/etc/passwd", "..", MANIFEST_NAME)
        path.symlink_to(rng.choice(targets))
    elif way == 3:
        path.write_bytes(b"")
    elif way == 4:
        outside = copy.folder.parent / "outside"
        outside.write_bytes(data)
        path.symlink_to(outside)
    elif way == 5:
        path.write_bytes(rng.choice((b"\0", data)) * 2)
    elif way < 9:
        path.write_bytes(mutate_bytes(rng, data, keep_size=True))


@reader("bundle-folder")
def bundle_folder(folder: Path) -> Attempt:
    return _folders(bundle_of("onnx"), folder, _generate)


@reader("bundle-folder-native")
def bundle_folder_native(folder: Path) -> Attempt:
    return _folders(bundle_of("executorch"), folder, run_native)


def _folders(source: Path, folder: Path, read: Any) -> Attempt:
    copy = BundleCopy(source, folder / "bundle")
    read(copy.folder)

    def attempt(rng: random.Random) -> None:
        copy.restore()
        _break_folder(rng, copy)
        read(copy.folder)

    return attempt


def _programs(backend: str, folder: Path, read: Any) -> Attempt:
    """Programs with flipped bits whose digests in the manifest are right again."""
    copy = BundleCopy(bundle_of(backend), folder / "bundle")
    read(copy.folder)

    def attempt(rng: random.Random) -> None:
        name = rng.choice(copy.programs)
        good = copy.read(name)
        if rng.random() < 0.7:
            broken = flip_bits(rng, good, within=_PROGRAM_BYTES)
        else:
            broken = mutate_bytes(rng, good)
        copy.put(name, broken)
        try:
            read(copy.folder)
        finally:
            copy.put(name, good)

    return attempt


@reader("programs-native", cases=60)
def programs_native(folder: Path) -> Attempt:
    return _programs("executorch", folder, run_native)


# The package ends the process (an assertion of its own) for about 1 in 150 of these programs; it
# takes a manifest made for the broken program, the digests of a bundle that was damaged refuse it.
@reader("programs-executorch", cases=0)
def programs_executorch(folder: Path) -> Attempt:
    return _programs("executorch", folder, _generate)


@reader("programs-onnx", cases=60)
def programs_onnx(folder: Path) -> Attempt:
    return _programs("onnx", folder, _generate)


@reader("programs-litert", cases=60)
def programs_litert(folder: Path) -> Attempt:
    return _programs("litert", folder, _generate)
