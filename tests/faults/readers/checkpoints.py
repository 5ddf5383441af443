"""Checkpoints: configs, weight files and tokenizers, and the answers of a hub."""

from __future__ import annotations

import json
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from faults.mutations import mutate_bytes, mutate_json
from faults.readers import Attempt, reader

_DATA: Final = Path(__file__).parents[2] / "data"
_CALLS: Final = (
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"cbuiltins\nbytearray\n", b"ctorch\nload\n",
    b"c__builtin__\nset\n", b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_qtensor\n",
)  # fmt: skip


def _check(folder: Path) -> None:
    """What `checkpoint check` does, and building the part that computes with a config's sizes."""
    from arcmobile.export.checkpoint.folder import CheckpointFolder, require_sound

    opened = CheckpointFolder.open(folder)
    require_sound(opened)


def _copied(name: str, folder: Path) -> Path:
    copy = folder / "checkpoint"
    shutil.copytree(_DATA / name, copy, ignore=shutil.ignore_patterns("*.npz"))
    _check(copy)
    return copy


def _json_file(name: str, share_of_bytes: float = 0.1) -> Callable[[Path], Attempt]:
    def prepare(folder: Path) -> Attempt:
        copy = _copied("parity_tiny", folder)
        path = copy / name
        data = path.read_bytes()
        document = json.loads(data)

        def attempt(rng: random.Random) -> None:
            whole = rng.random() < share_of_bytes
            path.write_bytes(mutate_bytes(rng, data) if whole else mutate_json(rng, document))
            _check(copy)

        return attempt

    return prepare


reader("model config", cases=60)(_json_file("model_config.json"))
reader("text encoder config", cases=40)(_json_file("text_encoder/config.json"))
reader("checkpoint tokenizer", cases=40)(_json_file("text_encoder/tokenizer.json"))


@reader("sentencepiece model", cases=40)
def sentencepiece_model(folder: Path) -> Attempt:
    copy = _copied("parity_tiny", folder)
    path = copy / "text_encoder/spiece.model"
    data = path.read_bytes()

    def attempt(rng: random.Random) -> None:
        path.write_bytes(mutate_bytes(rng, data))
        _check(copy)

    return attempt


@reader("safetensors", cases=50)
def safetensors(folder: Path) -> Attempt:
    copy = _copied("parity_tiny", folder)
    path = copy / "model.safetensors"
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]

    def attempt(rng: random.Random) -> None:
        if rng.random() < 0.2:
            head = mutate_bytes(rng, data[: 8 + length])
        else:
            text = mutate_json(rng, header)
            text += b" " * (-len(text) % 8)
            size = len(text) if rng.random() < 0.9 else rng.choice((0, 2**20, 2**63, 2**64 - 1))
            head = struct.pack("<Q", size) + text
        path.write_bytes(head + body)
        _check(copy)

    return attempt


@reader("torch checkpoint", cases=50)
def torch_checkpoint(folder: Path) -> Attempt:
    """Archives of PyTorch, and bare pickles of older releases."""
    import torch

    copy = _copied("parity_variant", folder)
    path = copy / "model.ckpt"
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    content = torch.load(path, weights_only=True)
    torch.save(content, folder / "bare", _use_new_zipfile_serialization=False)
    whole, bare = path.read_bytes(), (folder / "bare").read_bytes()

    def attempt(rng: random.Random) -> None:
        kind = rng.randrange(4)
        if kind == 0:
            path.write_bytes(mutate_bytes(rng, whole))
        elif kind == 1:
            # The pickles are at the start, the bytes of the tensors behind them.
            path.write_bytes(mutate_bytes(rng, bare[:60_000]) + bare[60_000:])
        else:
            _write_archive(rng, path, entries)
        _check(copy)

    return attempt


def _write_archive(rng: random.Random, path: Path, entries: dict[str, bytes]) -> None:
    """An archive whose pickle is broken in its opcodes, or whose entries are not those it names."""
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            if name.endswith("data.pkl"):
                data = _broken_pickle(rng, data)
            elif rng.random() < 0.02:
                data = data[: rng.randrange(len(data) + 1)]
            if rng.random() > 0.01:
                archive.writestr(name, data)


def _broken_pickle(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.3:
        at = rng.randrange(len(data))
        return data[:at] + rng.choice(_CALLS) + data[at:]
    broken = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(broken))
        # Opcodes, small numbers, and single bits.
        broken[at] = rng.choice((*b"(.}]{RbQqhjXK\x85\x86\x87\x81\x8a", 0, 255, broken[at] ^ 1))
    return bytes(broken)


@reader("hub", cases=20)
def hub(folder: Path) -> Attempt:
    from hub_stand_in import Fault, serve
    from huggingface_hub import constants

    from arcmobile.export.checkpoint.hub import ModelSource, fetch_checkpoint

    model = _copied("parity_tiny", folder)
    stand_in = ExitStack()  # kept by the attempt, or the hub would stop at once
    served, address = stand_in.enter_context(serve())
    served.repositories = {"u/a": model, "u/te": model / "text_encoder"}
    constants.ENDPOINT = address
    constants.HF_HUB_ETAG_TIMEOUT = 1
    constants.HF_HUB_DOWNLOAD_TIMEOUT = 1
    files = [f"u/a:{path.name}" for path in model.iterdir() if path.is_file()]
    keys = [*files, "u/a:api", "u/te:api", "u/te:config.json", "u/te:model.safetensors"]
    about = {"sha": "0" * 40, "siblings": [{"rfilename": key[4:]} for key in files]}

    fetch_checkpoint(folder / "got", ModelSource("u/a"), "u/te")

    def fault(rng: random.Random, key: str) -> Fault:
        body: bytes | None = None
        if rng.random() < 0.5:
            body = mutate_json(rng, about) if key.endswith("api") else rng.randbytes(3000)
        odd: list[dict[str, Any]] = [
            {},
            {"ETag": rng.choice(("", '""', "W/x", "é", "0" * 64, "f" * 40))},
            {"Content-Length": rng.choice(("-1", "0", "7", "99999999999999999999", "x", None))},
            {"X-Repo-Commit": rng.choice((None, "", "main"))},
            {"Content-Encoding": rng.choice(("gzip", "br", "zstd"))},
            {"Location": rng.choice(("/", "http://[", "file:///etc/passwd"))},
        ]
        return Fault(
            status=rng.choice((200, 200, 200, 206, 204, 302, 304, 404, 416, 500, 503, 599)),
            keep=rng.choice((None, None, 0, 1, 1000)),
            body=body,
            headers=rng.choice(odd),
            methods=rng.choice((("GET",), ("HEAD",), ("GET", "HEAD"))),
        )

    def attempt(rng: random.Random, _stand_in: ExitStack = stand_in) -> None:
        broken = rng.sample(keys, rng.choice((1, 1, 2)))
        served.faults = {key: fault(rng, key) for key in broken}
        served.asked.clear()
        try:
            fetch_checkpoint(folder / "got", ModelSource("u/a"), "u/te", overwrite=True)
            _check(folder / "got")
        finally:
            shutil.rmtree(folder / ".got.arcmobile-kept", ignore_errors=True)

    return attempt
