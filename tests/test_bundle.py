"""The bundle: opened only when sound, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx_bundle
import pytest

from arcmobile.runtime.bundle import MANIFEST_NAME, Bundle, record_file, write_bundle
from arcmobile.runtime.errors import BundleError, ExportError, OutputError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_bundle.make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "tiny")


def edit(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = bundle / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def refused(bundle: Path, *words: str, verify: bool = False) -> None:
    with pytest.raises(BundleError) as caught:
        Bundle.open(bundle, verify=verify)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_round_trip(bundle: Path) -> None:
    opened = Bundle.open(bundle, verify=True)
    assert Bundle.open(bundle / MANIFEST_NAME).manifest == opened.manifest
    dit = opened.manifest.components["dit"]
    assert opened.file(dit) == bundle / "dit.onnx"
    assert dit.windows == (6, 30)
    assert dit.entry_for(7) is None
    on_disk = sum(path.stat().st_size for path in bundle.iterdir())
    assert opened.size == on_disk - (bundle / MANIFEST_NAME).stat().st_size


def test_missing_folder_and_manifest(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere", "no such folder")
    refused(tmp_path, MANIFEST_NAME)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[1]", b'{"schema_version": NaN}'])
def test_broken_manifest(bundle: Path, text: bytes) -> None:
    (bundle / MANIFEST_NAME).write_bytes(text)
    refused(bundle, MANIFEST_NAME)


@pytest.mark.parametrize("version", [0, 1, 3, "2", None])
def test_unknown_schema_version(bundle: Path, version: object) -> None:
    edit(bundle, lambda manifest: manifest.update(schema_version=version))
    refused(bundle, "schema_version", "known: 2", "export the bundle again", "upgrade")


@pytest.mark.parametrize(
    "name", ["../dit.onnx", "/etc/passwd", "sub/dit.onnx", "", "..", "a\\b", MANIFEST_NAME]
)
def test_file_name_that_leaves_the_folder(bundle: Path, name: str) -> None:
    edit(bundle, lambda manifest: manifest["components"]["dit"].update(file=name))
    refused(bundle, MANIFEST_NAME, "components.dit.file")


def test_link_that_leaves_the_folder(bundle: Path) -> None:
    outside = bundle.parent / "outside.onnx"
    (bundle / "dit.onnx").rename(outside)
    (bundle / "dit.onnx").symlink_to(outside)
    refused(bundle, "dit.onnx", "link")


def test_missing_file(bundle: Path) -> None:
    (bundle / "decoder_2.onnx").unlink()
    refused(bundle, "decoder_2.onnx", "missing")


def test_wrong_size_is_always_seen(bundle: Path) -> None:
    path = bundle / "dit.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    refused(bundle, "dit.onnx", "bytes")


def flip_a_bit(path: Path) -> None:
    """Changes the content, not the size or the time of the last change."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("opened_before", [False, True])
def test_changed_content_is_seen_when_opened(bundle: Path, opened_before: bool) -> None:
    if opened_before:
        Bundle.open(bundle)
    flip_a_bit(bundle / "dit.onnx")
    refused(bundle, "dit.onnx", "sha256")
    refused(bundle, "dit.onnx", "sha256")


def test_files_are_read_once_and_again_to_verify(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCMOBILE_CACHE", str(tmp_path / "cache"))
    opened = Bundle.open(bundle)
    path = bundle / "dit.onnx"
    stamp = tmp_path / "cache/verified" / hashlib.sha256(str(path).encode()).hexdigest()
    found = path.stat()
    assert stamp.read_text() == (
        f"arcmobile-verified-1 {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} "
        f"{found.st_ino} {found.st_dev} {opened.manifest.components['dit'].sha256}\n"
    )
    # A broken file whose stamp says otherwise: who believes the stamp has not read the file.
    flip_a_bit(path)
    found = path.stat()
    stamp.write_text(
        f"arcmobile-verified-1 {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} "
        f"{found.st_ino} {found.st_dev} {opened.manifest.components['dit'].sha256}\n"
    )
    Bundle.open(bundle)
    refused(bundle, "dit.onnx", "sha256", verify=True)
    stamp.write_text(stamp.read_text().replace("verified-1", "verified-2"))
    refused(bundle, "dit.onnx", "sha256")


def test_a_cache_that_cannot_be_written_only_costs_time(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ARCMOBILE_CACHE", str(tmp_path / "file"))
    Bundle.open(bundle)
    Bundle.open(bundle)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (b"{", b"\xef\xbb\xbf{", "byte order mark"),
        (b'"schema_version":', b'"recipe": "x", "schema_version":', "'recipe' stands twice"),
        (b'"schema_version": 2', b'"schema_version": 2.0', "schema_version 2.0 is unknown"),
        (b'"schema_version": 2', b'"schema_version": true', "schema_version True"),
        (b'"latent_channels": ', b'"latent_channels": 3.0, "x": ', "audio.latent_channels"),
        (b'"max_abs_error": 0.0', b'"max_abs_error": Infinity', "inf is not a finite"),
        (b'"max_abs_error": 0.0', b'"max_abs_error": 1e999', "inf is not a finite"),
        (b'"model_id": "', b'"model_id": "\x00', "not JSON"),
        (b'"model_id": "', b'"model_id": "\\ud800', "Invalid JSON"),
        (b'"model_id": "', b'"model_id": "\xff', "not UTF-8"),
        (b'"numbers": [', b'"numbers": ' + b"[" * 5000, "deeper than 32"),
        (b'"samples_per_frame": ', b'"samples_per_frame": ' + b"9" * 5000, ""),
        (b'"samples_per_frame": ', b'"samples_per_frame": ' + b"9" * 400, "samples_per_frame"),
        (b'"max_length": ', b'"max_length": 4611686018427387904', "max_length"),
        (b'"eos_id": ', b'"eos_id": -', "eos_id"),
        (b'"audio": {', b'"audio": {"a\\nb": 1, ', "audio"),
        (b"{", b"{" + b" " * (4 << 20), "larger than"),
    ],
)
def test_manifests_that_only_some_would_read(
    bundle: Path, old: bytes, new: bytes, word: str
) -> None:
    path = bundle / MANIFEST_NAME
    text = json.dumps(json.loads(path.read_bytes())).encode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1))
    refused(bundle, MANIFEST_NAME, word)


def test_what_is_no_file(bundle: Path) -> None:
    program, manifest = bundle / "dit.onnx", bundle / MANIFEST_NAME
    program.unlink()
    program.symlink_to(program.name)
    refused(bundle, "dit.onnx", "links")
    program.unlink()
    os.mkfifo(program)  # opening it would wait for a writer
    refused(bundle, "dit.onnx", "not a file")
    edit(bundle, lambda manifest: set_in(manifest, "components.dit.file", "x" * 300))
    refused(bundle, "xxx")
    manifest.unlink()
    os.mkfifo(manifest)
    refused(bundle, MANIFEST_NAME, "not a file")
    manifest.unlink()
    manifest.mkdir()
    refused(bundle, MANIFEST_NAME, "directory")
    refused(Path("\0"), "no such folder")
    refused(Path("x" * 5000), "no such folder")


def set_in(manifest: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    for key in parents:
        manifest = manifest[int(key) if key.isdigit() else key]
    manifest[last] = value


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("audio.sample_rate", 0, "audio.sample_rate"),
        ("audio.sample_rate", "44100", "audio.sample_rate"),
        ("surprise", 1, "surprise"),
        ("components.dit.sha256", "abc", "components.dit.sha256"),
        ("frame_counts", [6, 31], "no entry for frame_counts [31]"),
        ("components", {}, "components.conditioner: is missing"),
        ("tokenizer.max_length", 9, "input_ids is (1, 12), not (1, 9)"),
        ("numbers", [], "entries[0].inputs: are"),
        ("audio.latent_channels", 4, "not (1, 4, 6)"),
        ("audio.samples_per_frame", 3, "audio is (1, 2, 24), not (1, 2, 18)"),
        ("components.dit.entries.0.outputs.0.name", "speed", "outputs: are ['speed']"),
    ],
)
def test_parts_that_disagree(bundle: Path, path: str, value: object, word: str) -> None:
    edit(bundle, lambda manifest: set_in(manifest, path, value))
    refused(bundle, MANIFEST_NAME, word)


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("windowing.decoder", [], "windowing.decoder"),
        ("windowing.decoder.0.component", "decoder_2", "not decoder_1 and on"),
        ("windowing.decoder.1.component", "decoder", "not decoder_1 and on"),
        ("windowing.decoder.0.frames_per_latent", 2, "decoder_1 has odd frames_per_latent"),
        ("windowing.decoder.1.frames_per_latent", 3, "features is (1, 4, 12), for 18 frames"),
        ("audio.samples_per_frame", 3, "decoder_2 has odd frames_per_latent"),
        ("audio.samples_per_frame", 2, "audio is (1, 2, 18), for 9 frames or samples"),
        ("audio.channels", 1, "audio is (1, 2, 18)"),
        ("components.decoder_1.entries.0.frames", None, "entries[0].frames: is missing"),
        ("components.decoder_1.entries.0.outputs.0.name", "audio", "outputs: are ['audio']"),
        ("components.decoder_1.entries.1.outputs.0.shape", [1, 4, 21], "is (1, 4, 21), for 22"),
        ("components.decoder_2.entries.0.inputs.0.shape", [1, 5, 9], "(1, 5, 9), not (1, 4, 9)"),
        ("components.decoder_2.entries.0.outputs.0.shape", [1, 2, 19], "audio is (1, 2, 19)"),
        ("components.decoder_2.entries.0.outputs.0.shape", [2, 18], "audio is (2, 18)"),
    ],
)
def test_decoder_parts_that_disagree(bundle: Path, path: str, value: object, word: str) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["components"].pop("encoder")  # it would be found first
        set_in(manifest, path, value)

    edit(bundle, change)
    refused(bundle, MANIFEST_NAME, word)


def test_parts_out_of_order_or_not_named(bundle: Path) -> None:
    edit(bundle, lambda manifest: manifest["windowing"]["decoder"].reverse())
    refused(bundle, "['decoder_2', 'decoder_1'], not decoder_1 and on")
    edit(bundle, lambda manifest: manifest["windowing"]["decoder"].pop(0))
    refused(bundle, "components.decoder_2: is unknown")


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def half(error: BaseException) -> None:
        with write_bundle(tmp_path / "new") as writer:
            writer.path("dit.onnx").write_bytes(b"half")
            raise error

    for error in (RuntimeError("lowering failed"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            half(error)
        assert list(tmp_path.iterdir()) == []


def write_and_touch(destination: Path, name: str) -> None:
    """Writes a bundle, but changes or adds one file after the others were recorded."""
    with write_bundle(destination) as writer:
        manifest = onnx_bundle.fill(writer)
        writer.path(name).write_bytes(b"x")
        writer.finish(manifest)


def test_unfinished_or_unrecorded_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no manifest"), write_bundle(tmp_path / "new"):
        pass
    for name in ("stray", "dit.onnx"):
        with pytest.raises(ExportError, match=name):
            write_and_touch(tmp_path / "new", name)
    assert list(tmp_path.iterdir()) == []


def test_overwrite_only_when_asked_and_only_bundles(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="already exists"), write_bundle(bundle):
        pytest.fail("the block must not run")
    with pytest.raises(RuntimeError), write_bundle(bundle, overwrite=True):
        raise RuntimeError("the old bundle must survive this")
    Bundle.open(bundle, verify=True)
    with write_bundle(bundle, overwrite=True) as writer:
        writer.finish(onnx_bundle.fill(writer, encoder=False))
    assert "encoder" not in Bundle.open(bundle, verify=True).manifest.components
    assert not (bundle / "encoder.onnx").exists()

    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.jpg").write_bytes(b"meow")
    for overwrite in (False, True):
        with (
            pytest.raises(OutputError, match="other files"),
            write_bundle(folder, overwrite=overwrite),
        ):
            pytest.fail("the block must not run")
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "photos"}


def test_full_disk_and_unwritable_folder(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OutputError, match="disk is full"), write_bundle(tmp_path / "new"):
        raise full
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="file"), write_bundle(tmp_path / "file" / "new"):
        pytest.fail("the block must not run")


def test_other_errors_of_the_block_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), write_bundle(tmp_path / "new"):
        (tmp_path / "weights.safetensors").read_bytes()


def test_record_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    record = record_file(tmp_path / "a.bin")
    assert (record.file, record.bytes) == ("a.bin", 3)
    # FIPS 180-2, appendix B.1
    assert record.sha256.startswith("ba7816bf8f01cfea414140de5dae2223")
